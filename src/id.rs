//! Names of people and things: identifiers, their namespaces, profile ids, and how they are masked.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::clock::Timestamp;
use crate::value::nfc;

/// What kind of identifier a value is: `user_id`, `email`, `external:crm`, or an application's own.
///
/// ```
/// use customerdb::Namespace;
///
/// assert_eq!(Namespace::EMAIL.as_str(), "email");
/// assert_eq!(Namespace::external("crm").as_str(), "external:crm");
/// assert_eq!(Namespace::new("loyalty_card").as_str(), "loyalty_card");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Cow<'static, str>);

impl Namespace {
    /// The application's own id of a known person (`userId`).
    pub const USER_ID: Self = Self(Cow::Borrowed("user_id"));
    /// An e-mail address.
    pub const EMAIL: Self = Self(Cow::Borrowed("email"));
    /// A phone number.
    pub const PHONE: Self = Self(Cow::Borrowed("phone"));
    /// A `WeChat` openid: a person within one official account or app.
    pub const OPENID: Self = Self(Cow::Borrowed("openid"));
    /// A `WeChat` unionid: a person across the accounts of one company.
    pub const UNIONID: Self = Self(Cow::Borrowed("unionid"));
    /// An advertising id of a device (IDFA, GAID, OAID).
    pub const ADVERTISING_ID: Self = Self(Cow::Borrowed("advertising_id"));
    /// The id of a device.
    pub const DEVICE_ID: Self = Self(Cow::Borrowed("device_id"));
    /// A browser's or an installation's id, made before anybody is known (`anonymousId`).
    pub const ANONYMOUS_ID: Self = Self(Cow::Borrowed("anonymous_id"));

    /// The built-in namespaces, strongest first. Namespaces of `externalIds`, and an application's own, stand
    /// between [`UNIONID`](Self::UNIONID) and [`ADVERTISING_ID`](Self::ADVERTISING_ID) unless the rules say
    /// otherwise.
    pub const BUILT_IN: [Self; 8] = [
        Self::USER_ID,
        Self::EMAIL,
        Self::PHONE,
        Self::OPENID,
        Self::UNIONID,
        Self::ADVERTISING_ID,
        Self::DEVICE_ID,
        Self::ANONYMOUS_ID,
    ];

    /// The namespace of that name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = nfc(&name.into()).into_owned();
        Self::BUILT_IN.iter().find(|built_in| built_in.0 == name).cloned().unwrap_or(Self(Cow::Owned(name)))
    }

    /// The namespace of `context.externalIds` of that type: `external:<type>`, or the type itself where that is
    /// the name of a built-in namespace.
    pub fn external(kind: &str) -> Self {
        let kind = &*nfc(kind.trim());
        match Self::BUILT_IN.iter().find(|built_in| built_in.0 == kind) {
            Some(built_in) => built_in.clone(),
            None => Self(Cow::Owned(format!("{EXTERNAL}{kind}"))),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an identifier of this namespace tells of a device or a browser only, not of a known person.
    pub fn is_anonymous(&self) -> bool {
        [Self::ADVERTISING_ID, Self::DEVICE_ID, Self::ANONYMOUS_ID].contains(self)
    }
}

/// What the names of external namespaces begin with.
pub(crate) const EXTERNAL: &str = "external:";

impl From<&str> for Namespace {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// One name that a person goes by: `namespace:value`.
///
/// `Display` and serialisation give it whole, `Debug` masks the value.
///
/// ```
/// use customerdb::{Identifier, Namespace};
///
/// let id: Identifier = "external:crm:4711".parse()?;
/// assert_eq!((id.namespace().as_str(), id.value()), ("external:crm", "4711"));
///
/// let phone = Identifier::new(Namespace::PHONE, "+8613800000002");
/// assert_eq!(phone.to_string(), "phone:+8613800000002");
/// assert_eq!(format!("{phone:?}"), "phone:+861****002");
/// # Ok::<(), customerdb::NotAnIdentifier>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    namespace: Namespace,
    value: String,
}

impl Identifier {
    /// The identifier of that namespace and value, taken as they are: rules normalise where identifiers are
    /// used, not here.
    pub fn new(namespace: impl Into<Namespace>, value: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), value: value.into() }
    }

    /// What kind of identifier it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The value within its namespace.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The error of reading an [`Identifier`] from text without a namespace or without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: {0:?}, expected namespace:value (\"user_id:u1\")")]
pub struct NotAnIdentifier(String);

impl FromStr for Identifier {
    type Err = NotAnIdentifier;

    /// The namespace ends at the first colon, or at the second where the text begins with `external:`.
    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        let start = if text.starts_with(EXTERNAL) { EXTERNAL.len() } else { 0 };
        match text[start..].split_once(':') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self::new(&text[..start + name.len()], value))
            }
            _ => Err(NotAnIdentifier(mask(text))),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.value)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, mask(&self.value))
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The id of a profile: a UUID that never changes and is never used again.
///
/// When two profiles join, the older one's id survives, and the other redirects to it for ever.
///
/// An id is no secret: it tells when it was made, and two of one moment lead to the others of that moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProfileId(Uuid);

/// What makes ids of profiles: UUIDs of version 7 (RFC 9562, section 6.2, method 2), each greater than the one before, also
/// within a moment and where the clock is set back. So they go to the end of their index, and not somewhere into it, each to a
/// page of its own.
#[derive(Debug, Default)]
pub(crate) struct ProfileIds(Mutex<Latest>);

/// The latest id that was made.
#[derive(Debug, Default)]
struct Latest {
    /// The moment, in milliseconds since 1970, and the 74 bits that tell ids of one moment apart.
    moment: u64,
    bits: u128,
    /// What is added to those for the next id of the moment; 0 before the first id of all. To ask the system for other bits each
    /// time took as long as half of what else a new profile takes.
    step: u128,
}

impl Latest {
    /// How many bits of an id are in its last eight bytes, behind the two that say which variant of UUIDs it is.
    const LOW: u32 = 62;

    /// Goes on to the next id.
    fn advance(&mut self, moment: u64) {
        if moment > self.moment || self.step == 0 {
            let random = Uuid::new_v4().as_u128();
            // Which of the bits say that it is of version 4 does not matter. The highest of the 74 is left for what is added.
            self.bits = random >> (u128::BITS - 73);
            self.step = 1 + (random & u128::from(u32::MAX));
            self.moment = moment;
        } else {
            self.bits += self.step;
        }
    }

    fn id(&self) -> Uuid {
        let high = u16::try_from(self.bits >> Self::LOW & 0xFFF).unwrap_or_default().to_be_bytes();
        let low = u64::try_from(self.bits & ((1 << Self::LOW) - 1)).unwrap_or_default().to_be_bytes();
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&high);
        bytes[2..].copy_from_slice(&low);
        Builder::from_unix_timestamp_millis(self.moment, &bytes).into_uuid()
    }
}

impl ProfileIds {
    /// A new id.
    pub(crate) fn next(&self, now: Timestamp) -> ProfileId {
        let moment = u64::try_from(now.as_micros()).unwrap_or(0) / 1_000;
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.advance(moment);
        ProfileId(latest.id())
    }
}

impl ProfileId {
    pub(crate) const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl FromStr for ProfileId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Hides the middle of a personal value, as errors, logs and `Debug` show it.
///
/// An address keeps its first letter and its domain; other values of at least nine characters their first four
/// and last three; shorter ones their first character at most.
///
/// ```
/// use customerdb::mask;
///
/// assert_eq!(mask("xiaoming@example.com"), "x***@example.com");
/// assert_eq!(mask("13800000002"), "1380****002");
/// assert_eq!(mask("u1"), "***");
/// ```
pub fn mask(value: &str) -> String {
    let first = |text: &str, n| text.chars().take(n).collect::<String>();
    let length = value.chars().count();
    match value.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
            format!("{}***@{}", first(local, 1), first(domain, 64))
        }
        _ if length >= 9 => {
            let last: String = value.chars().skip(length - 3).collect();
            format!("{}****{last}", first(value, 4))
        }
        _ if length >= 4 => format!("{}***", first(value, 1)),
        _ => "***".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_of_a_profile_is_greater_than_the_one_before_whatever_the_clock_says() {
        let ids = ProfileIds::default();
        let times = [5, 5, 5, 7, 6, 7, -1, 8].map(|second| Timestamp::from_millis(second * 1_000));
        let made = times.map(|time| ids.next(time));
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(made.iter().all(|id| id.as_uuid().get_version_num() == 7));
        assert!(made.iter().all(|id| id.as_uuid().get_variant() == uuid::Variant::RFC4122));
        let second = |id: &ProfileId| id.as_uuid().get_timestamp().unwrap().to_unix().0;
        assert_eq!(made.each_ref().map(second), [5, 5, 5, 7, 7, 7, 7, 8]);
    }

    /// A million of one moment; and by others who make some in the same moment.
    #[test]
    fn ids_of_a_moment_differ_among_all_who_make_them() {
        let moment = Timestamp::from_millis(1_790_000_000_000);
        let makers: Vec<ProfileIds> = (0..10).map(|_| ProfileIds::default()).collect();
        let mut made: Vec<ProfileId> =
            makers.iter().flat_map(|ids| (0..100_000).map(|_| ids.next(moment))).collect();
        assert!(made.chunks(100_000).all(|own| own.is_sorted_by(|a, b| a < b)));
        made.sort_unstable();
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_identifier_is_split_at_the_colon_that_ends_its_namespace() {
        for (text, namespace, value) in [
            ("user_id:u1", "user_id", "u1"),
            ("user_id:a:b:c", "user_id", "a:b:c"),
            ("external:crm:x:1", "external:crm", "x:1"),
            ("email:x@example.com", "email", "x@example.com"),
        ] {
            let id: Identifier = text.parse().unwrap();
            assert_eq!((id.namespace().as_str(), id.value()), (namespace, value), "{text}");
            assert_eq!(id.to_string(), text);
        }
        for bad in ["u1", ":u1", "user_id:", "external:crm", "external::1", "external:crm:", ""] {
            assert!(bad.parse::<Identifier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn masked_values_keep_neither_their_middle_nor_their_length() {
        assert_eq!(mask("+8613800000002"), "+861****002");
        assert_eq!(mask("张三丰张三丰张三丰"), "张三丰张****张三丰");
        assert_eq!(mask("12345678"), "1***");
        assert_eq!(mask("@x"), "***");
        assert_eq!(format!("{:?}", Identifier::new("email", "a@b.example")), "email:a***@b.example");
    }
}
