//! One spelling for each identifier, and the values that are none.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use crate::id::{EXTERNAL, Namespace};
use crate::value::nfc;

/// The longest value that counts as an identifier, in bytes.
const LONGEST: usize = 1_024;

/// Values that stand for "nobody" in any namespace, in lower case and without quotes.
const BLOCKED: [&str; 21] = [
    "",
    "null",
    "none",
    "undefined",
    "unknown",
    "anonymous",
    "guest",
    "n/a",
    "nan",
    "id",
    "email",
    "distinct_id",
    "distinctid",
    "0",
    "-1",
    "true",
    "false",
    "test@test.com",
    "[object object]",
    "not_authenticated",
    "00000000000000000000000000000000",
];

/// The form in which values are compared with blocked ones: without surrounding white space and quotes, in
/// lower case.
pub(crate) fn folded(value: &str) -> Cow<'_, str> {
    // Most are.
    if is_bare(value) && value.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(value);
    }
    let quotes = ['"', '\'', '`', '\\', '´', '“', '”', '‘', '’', '«', '»'];
    // Marks that nobody sees: zero-width spaces and joiners, and the byte order mark.
    let unseen = |c: char| matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}');
    let dressed = |c: char| c.is_whitespace() || unseen(c) || quotes.contains(&c);
    if value.is_ascii() {
        let bare = value.trim_matches(dressed);
        let is_lower = !bare.bytes().any(|byte| byte.is_ascii_uppercase());
        if is_lower { Cow::Borrowed(bare) } else { Cow::Owned(bare.to_ascii_lowercase()) }
    } else {
        // Before the form is made, which takes some quotes apart.
        let bare: String = value.trim_matches(dressed).nfkc().collect();
        Cow::Owned(bare.trim_matches(dressed).to_lowercase())
    }
}

/// Whether a value begins and ends with a letter or a digit of ASCII, so that nothing stands around it.
fn is_bare(value: &str) -> bool {
    let ends = value.as_bytes().first().zip(value.as_bytes().last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
}

/// Whether a [`folded`] value stands for nobody, whatever the application's rules say.
pub(crate) fn stands_for_nobody(folded: &str) -> bool {
    let nil_uuid = folded.len() == 36 && folded.bytes().all(|b| b == b'0' || b == b'-');
    nil_uuid || BLOCKED.contains(&folded)
}

/// The one spelling of `value` in `namespace`, or why it cannot be an identifier of that namespace.
///
/// E-mail addresses: NFKC, lower case, one `@` between a local part and a domain of at least two labels, bare. Phone
/// numbers: E.164. Advertising ids and device ids that look like UUIDs: lower case. All: trimmed, NFC.
pub(crate) fn normalise<'v>(
    namespace: &Namespace,
    value: &'v str,
    region: Option<&str>,
) -> Result<Cow<'v, str>, &'static str> {
    let value = if is_bare(value) { value } else { value.trim() };
    if value.len() > LONGEST {
        return Err("longer than 1024 bytes");
    }
    if namespace.as_str().strip_prefix(EXTERNAL).is_some_and(|kind| kind.is_empty() || kind.contains(':')) {
        return Err("the type of an external id must not be empty or contain a colon");
    }
    match namespace {
        n if *n == Namespace::EMAIL => email(value).map(Cow::Owned),
        n if *n == Namespace::PHONE => phone(value, region).map(Cow::Owned),
        n if *n == Namespace::ADVERTISING_ID => Ok(lower(value)),
        n if *n == Namespace::DEVICE_ID && looks_like_uuid(value) => Ok(lower(value)),
        _ => Ok(nfc(value)),
    }
}

fn lower(value: &str) -> Cow<'_, str> {
    match nfc(value) {
        Cow::Borrowed(value) if !value.bytes().any(|b| b.is_ascii_uppercase()) && value.is_ascii() => {
            Cow::Borrowed(value)
        }
        value => Cow::Owned(value.to_lowercase()),
    }
}

fn looks_like_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn email(value: &str) -> Result<String, &'static str> {
    // Lower case can leave NFKC, so it comes first and the form is made of the result.
    let address: String = value.nfkc().collect::<String>().to_lowercase().nfkc().collect();
    let shaped = address.split_once('@').is_some_and(|(local, domain)| {
        // What stands around addresses in headers, lists and links is none of them.
        !local.is_empty()
            && !local.contains(['<', '>', '(', ')', '[', ']', ',', ';', ':', '\\'])
            && domain.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.".contains(c))
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
    });
    if shaped && !address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Ok(address)
    } else {
        Err("not an e-mail address")
    }
}

/// Source of the form: ITU-T E.164, a plus sign and at most 15 digits.
fn phone(value: &str, region: Option<&str>) -> Result<String, &'static str> {
    let plain: String = value.nfkc().collect();
    let plain = plain.strip_prefix("tel:").unwrap_or(&plain).trim();
    match plain.strip_prefix('+') {
        Some(international) => international_phone(international),
        None => national_phone(plain, region),
    }
}

/// What stands between the digits of a phone number.
const SEPARATORS: [char; 10] = [' ', '-', '.', '/', '(', ')', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}'];

/// A number whose country calling code is there needs no knowledge of countries.
fn international_phone(number: &str) -> Result<String, &'static str> {
    // The trunk prefix in brackets, as in +44 (0)20, is for those who dial from within.
    let number = number.replacen("(0)", "", 1);
    let digits: String = number.chars().filter(|c| !SEPARATORS.contains(c)).collect();
    let shaped = (7..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    if shaped { Ok(format!("+{digits}")) } else { Err("not a phone number") }
}

#[cfg(feature = "phonenumber")]
fn national_phone(number: &str, region: Option<&str>) -> Result<String, &'static str> {
    if !number.chars().all(|c| c.is_ascii_digit() || SEPARATORS.contains(&c)) {
        return Err("not a phone number");
    }
    let region =
        region.ok_or("a phone number without a country code, and the rules name no default region")?;
    let region = region.parse().map_err(|_| "the default region is unknown")?;
    let number = phonenumber::parse(Some(region), number).map_err(|_| "not a phone number")?;
    let number = number.format().mode(phonenumber::Mode::E164).to_string();
    // One number has one spelling, so a national one must be what it would be with its country code.
    international_phone(number.trim_start_matches('+'))
}

#[cfg(not(feature = "phonenumber"))]
fn national_phone(_number: &str, _region: Option<&str>) -> Result<String, &'static str> {
    Err("a phone number without a country code, which only the feature `phonenumber` can read")
}

/// Whether `region` is one that [`normalise`] can read national phone numbers of.
pub(crate) fn check_region(region: &str) -> Result<(), &'static str> {
    #[cfg(feature = "phonenumber")]
    return match region.parse::<phonenumber::country::Id>() {
        Ok(_) => Ok(()),
        Err(_) => Err("unknown region, expected two capital letters of ISO 3166-1 (\"CN\")"),
    };
    #[cfg(not(feature = "phonenumber"))]
    {
        let _ = region;
        Err("needs the crate's feature `phonenumber`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(namespace: &Namespace, region: Option<&str>, cases: &[(&str, Option<&str>)]) {
        for (raw, expected) in cases {
            let got = normalise(namespace, raw, region).ok();
            assert_eq!(got.as_deref(), *expected, "{namespace} {raw:?}");
        }
    }

    #[test]
    fn an_address_has_one_spelling() {
        check(
            &Namespace::EMAIL,
            None,
            &[
                (" Xiao.Ming@Example.COM ", Some("xiao.ming@example.com")),
                ("ｘ＠ｅｘａｍｐｌｅ．ｃｏｍ", Some("x@example.com")),
                ("x@example", None),
                ("x@.example.com", None),
                ("x@example.com.", None),
                ("x@@example.com", None),
                ("x y@example.com", None),
                ("@example.com", None),
                ("<x@example.com>", None),
                ("x@example.com>", None),
                ("mailto:x@example.com", None),
                ("x,y@example.com", None),
                ("x@[127.0.0.1]", None),
                ("o'neil+tag@beispiel-ä.example", Some("o'neil+tag@beispiel-ä.example")),
                ("x", None),
            ],
        );
    }

    #[test]
    fn a_phone_number_has_one_spelling() {
        check(
            &Namespace::PHONE,
            None,
            &[
                ("+86 138 0000 0002", Some("+8613800000002")),
                ("tel:+1-650-253-0000", Some("+16502530000")),
                ("+44 (0)20 7946 0958", Some("+442079460958")),
                ("＋８６ １３８ ００００ ０００２", Some("+8613800000002")),
                ("138 0000 0002", None),
                ("+012345678", None),
                ("+1234567890123456", None),
                ("+86 138 CALL ME", None),
            ],
        );
    }

    #[cfg(feature = "phonenumber")]
    #[test]
    fn a_default_region_completes_national_numbers() {
        check(
            &Namespace::PHONE,
            Some("CN"),
            &[
                ("138 0000 0002", Some("+8613800000002")),
                ("0086 138 0000 0002", Some("+8613800000002")),
                ("+1 650 253 0000", Some("+16502530000")),
                ("hello", None),
                ("110", None),
                ("1-800-FLOWERS", None),
                ("138 0000 0002 x12", None),
            ],
        );
        check(&Namespace::PHONE, Some("GB"), &[("020 7946 0958", Some("+442079460958"))]);
        assert!(check_region("CN").is_ok());
        assert!(check_region("XX").is_err());
    }

    #[test]
    fn only_uuid_like_device_ids_lose_their_case() {
        check(
            &Namespace::DEVICE_ID,
            None,
            &[
                ("B5372DB0-C21E-11E4-8DFC-AA07A5B093DB", Some("b5372db0-c21e-11e4-8dfc-aa07a5b093db")),
                ("Device-A", Some("Device-A")),
            ],
        );
        check(&Namespace::ADVERTISING_ID, None, &[("ABC-Def", Some("abc-def"))]);
        check(&Namespace::USER_ID, None, &[(" Ab\u{301} ", Some("A\u{62}\u{301}"))]);
        check(&Namespace::external("a:b"), None, &[("x", None)]);
    }

    #[test]
    fn values_that_stand_for_nobody_do_so_in_any_dress() {
        for value in [
            "",
            "  ",
            "NULL",
            "'null'",
            "\"None\"",
            "\\\"undefined\\\"",
            "N/A",
            "NaN",
            "0",
            "-1",
            "True",
            "[object Object]",
            "00000000-0000-0000-0000-000000000000",
            "Test@Test.com",
            "“guest”",
            "ｎｕｌｌ",
            "\u{FEFF}null\u{200B}",
            "«null»",
            "not_authenticated",
        ] {
            assert!(stands_for_nobody(&folded(value)), "{value:?}");
        }
        for value in ["u1", "00", "10", "nobody", "idle", "000000000000000000000000-0000-0000-0001"] {
            assert!(!stands_for_nobody(&folded(value)), "{value:?}");
        }
    }
}
