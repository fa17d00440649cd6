//! An encrypted file tells nothing to who has not its passphrase, and is the same as any other to who has it.

use std::fs;
use std::path::Path;

use customerdb::{Cdp, CdpBuilder, Error, ManualClock};

use crate::erasure::{forget_definition, found_in, lives};
use crate::support::{NOW, builder, everybody, place, sound};

fn with(passphrase: &str) -> CdpBuilder {
    builder(&ManualClock::at(NOW)).passphrase(passphrase)
}

const PASSPHRASE: &str = "it's a 'secret' passphrase";

#[test]
fn nothing_of_an_encrypted_file_can_be_read_without_its_passphrase() {
    let (_folder, path) = place();
    let cdp = with(PASSPHRASE).open(&path).unwrap();
    let secrets = lives(&cdp);
    let names = ["SQLite format 3", "identifiers", "customers", PASSPHRASE].map(str::to_owned);
    assert!(fs::metadata(path.with_extension("db-wal")).unwrap().len() > 0);
    for texts in [&secrets[..], &names] {
        assert_eq!(found_in(&path, texts), Vec::<String>::new());
    }
    sound(&cdp);
    let before = everybody(&cdp);
    let reader = with(PASSPHRASE).open_read_only(&path).unwrap();
    assert_eq!(everybody(&reader), before);
    drop((cdp, reader));
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());

    let bytes = fs::read(&path).unwrap();
    for wrong in ["another", "it''s a ''secret'' passphrase"] {
        for result in [with(wrong).open(&path), with(wrong).open_read_only(&path)] {
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Definition(error) if error.path() == "passphrase"), "{error:?}");
            assert_eq!(error.to_string(), "passphrase: wrong, or the file is not encrypted");
        }
    }
    assert_eq!(with("").open(&path).unwrap_err().to_string(), "passphrase: must not be empty");
    for result in [Cdp::open(&path), Cdp::open_read_only(&path)] {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::NotACdpFile { .. }), "{error:?}");
        assert!(error.to_string().ends_with("it is no SQLite database, or an encrypted one"), "{error}");
    }
    assert!(fs::read(&path).unwrap() == bytes, "something was written");
    let cdp = with(PASSPHRASE).open(&path).unwrap();
    assert_eq!(everybody(&cdp), before);
    sound(&cdp);
}

#[test]
fn a_plain_file_is_not_taken_for_an_encrypted_one() {
    let (_folder, path) = place();
    drop(builder(&ManualClock::at(NOW)).open(&path).unwrap());
    let bytes = fs::read(&path).unwrap();
    let error = with(PASSPHRASE).open(&path).unwrap_err();
    assert_eq!(error.to_string(), "passphrase: wrong, or the file is not encrypted");
    assert!(fs::read(&path).unwrap() == bytes, "something was written");
    assert!(!format!("{:?}", with(PASSPHRASE)).contains("secret"));
}

#[test]
fn a_backup_is_encrypted_too_and_comes_back_without_who_was_erased() {
    let (_folder, path) = place();
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup.db");
    let cdp = with(PASSPHRASE).open(&path).unwrap();
    let secrets = lives(&cdp);
    forget_definition(&cdp);
    cdp.backup(&backup).unwrap();
    assert_eq!(found_in(&backup, &secrets), Vec::<String>::new());
    let before = everybody(&cdp);
    let copied = with(PASSPHRASE).open(&backup).unwrap();
    assert_eq!(everybody(&copied), before);
    drop(copied);
    assert!(cdp.erase("user_id:secret-user").unwrap().complete);
    let after = everybody(&cdp);
    cdp.maintain().unwrap();
    sound(&cdp);
    drop(cdp);
    let restore = |with: CdpBuilder, backup: &Path| with.restore(backup, &path);
    assert!(restore(with("another"), &backup).is_err());
    assert_eq!(restore(with(PASSPHRASE), &backup).unwrap().people, 1);
    let cdp = with(PASSPHRASE).open(&path).unwrap();
    assert_eq!(everybody(&cdp), after);
    sound(&cdp);
}
