//! Stores that earlier versions wrote, and stores of which a part is missing.
//!
//! `formats/v1` was written by the last version that wrote format 1, and is never written again: an image with a
//! layer in a file and a config among the records, two records more, and what pushing them left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{Kv, Lifetimes, Location, Reclaim, Txn};
use registry_core::{Context, Digest, LocalRegistry, Options, Reference, Registry, RepositoryName};
use registry_storage::kv::{Apart, OpenError};
use registry_storage::records::Records;
use registry_storage::testkit::{block_on, read_all};
use registry_storage::{Embedded, open};
use tempfile::TempDir;

const LAYER: [u8; 300] = [b'l'; 300];
const CONFIG: &[u8] = b"small";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the store that was written in format 1.
fn version_1() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1"),
        directory.path(),
    );
    directory
}

fn opened(directory: &Path) -> Embedded {
    open(directory, Threads::shared()).unwrap()
}

fn identity(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join("blobs/STORE")).ok()
}

/// Reads all that is in the store of format 1.
fn holds_everything(stores: Embedded) {
    let (kv, bytes) = (Arc::new(stores.kv), Arc::new(stores.bytes));
    let records = Records::new(kv.clone(), Threads::shared(), Lifetimes::default());
    let registry = LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        Threads::shared(),
        Options::default(),
    );
    let ctx = Context::request(Identity::Anonymous, "test");
    let name: RepositoryName = "library/kept".parse().unwrap();
    block_on(async {
        assert_eq!(kv.get("fixture/first").await.unwrap().unwrap().value, "two");
        assert_eq!(
            kv.get("fixture/second").await.unwrap().unwrap().value,
            vec![7; 20_000]
        );
        let tag = Reference::Tag("v1".parse().unwrap());
        let manifest = registry.get_manifest(&ctx, &name, &tag).await.unwrap();
        for content in [&LAYER[..], CONFIG] {
            let digest = Digest::sha256(content);
            assert!(String::from_utf8_lossy(&manifest.bytes).contains(&digest.to_string()));
            let blob = registry.read_blob(&ctx, &name, &digest, None).await.unwrap();
            assert_eq!(read_all(blob.read).await.unwrap(), content);
        }
        let last = kv.get("fixture/first").await.unwrap().unwrap().stamp;
        assert!(kv.commit(Txn::new().put("fixture/new", "")).await.unwrap() > last);
    });
}

#[test]
fn a_store_of_format_1_is_opened_with_all_that_is_in_it_and_opens_again() {
    let directory = version_1();
    holds_everything(opened(directory.path()));
    let given = identity(directory.path()).unwrap();
    assert_eq!(given.trim_end().len(), 32);
    holds_everything(opened(directory.path()));
    assert_eq!(identity(directory.path()).unwrap(), given);
}

/// Which knew no order of their times.
#[test]
fn what_an_earlier_version_doomed_is_unlinked_when_its_time_has_come() {
    let directory = version_1();
    let kv = Arc::new(opened(directory.path()).kv);
    let location = Location::Object("left behind".to_owned());
    let value = |not_before: u64| {
        format!(r#"{{"v":1,"location":{{"object":"left behind"}},"not_before":{not_before}}}"#)
    };
    block_on(async {
        for (not_before, expected) in [(u64::MAX >> 12, 0), (1, 1)] {
            kv.commit(Txn::new().put(format!("doomed/{location}"), value(not_before)))
                .await
                .unwrap();
            let records = Records::new(kv.clone(), Threads::shared(), Lifetimes::default());
            let mut due = records.doomed(None, 10).await.unwrap();
            // Besides what the push has left.
            due.retain(|doomed| doomed.location == location);
            assert_eq!(due.len(), expected);
            for doomed in &due {
                records.clear_doomed(doomed).await.unwrap();
            }
        }
        assert_eq!(kv.get(&format!("doomed/{location}")).await.unwrap(), None);
    });
}

#[test]
fn a_crash_while_a_store_gets_its_identity_is_repaired_at_the_next_opening() {
    // While its file was written, and after that.
    for (file, content) in [
        ("STORE.new", "0123"),
        ("STORE", "000102030405060708090a0b0c0d0e0f\n"),
    ] {
        let directory = version_1();
        fs::write(directory.path().join("blobs").join(file), content).unwrap();
        holds_everything(opened(directory.path()));
        let given = identity(directory.path()).unwrap();
        assert_eq!(given == content, file == "STORE");
        holds_everything(opened(directory.path()));
        assert_eq!(identity(directory.path()).unwrap(), given);
    }
    // Of a new store, after the file was written.
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("blobs")).unwrap();
    let content = "000102030405060708090a0b0c0d0e0f\n";
    fs::write(directory.path().join("blobs/STORE"), content).unwrap();
    drop(opened(directory.path()));
    drop(opened(directory.path()));
    assert_eq!(identity(directory.path()).unwrap(), content);
}

fn refused(directory: &Path, expected: Apart) {
    // An opening that is refused leaves nothing that lets the next one pass.
    for _ in 0..2 {
        let error = open(directory, Threads::shared()).unwrap_err();
        assert!(
            matches!(error, OpenError::Apart { how, .. } if how == expected),
            "{error:?}"
        );
        let said = error.to_string();
        for part in ["records", "blobs"] {
            let path = directory.join(part).display().to_string();
            assert!(said.contains(&path), "{said}");
        }
    }
}

fn set_aside(directory: &Path, part: &str) -> PathBuf {
    let aside = directory.join(format!("{part}.aside"));
    fs::rename(directory.join(part), &aside).unwrap();
    aside
}

#[test]
fn records_whose_blobs_are_not_there_are_refused_until_they_are() {
    let directory = version_1();
    drop(opened(directory.path()));
    let aside = set_aside(directory.path(), "blobs");
    refused(directory.path(), Apart::NoBlobs);
    fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    fs::rename(aside, directory.path().join("blobs")).unwrap();
    holds_everything(opened(directory.path()));
}

#[test]
fn blobs_whose_records_are_not_there_are_refused_until_they_are() {
    let directory = version_1();
    drop(opened(directory.path()));
    let aside = set_aside(directory.path(), "records");
    refused(directory.path(), Apart::NoRecords);
    fs::remove_dir_all(directory.path().join("records")).unwrap();
    fs::rename(aside, directory.path().join("records")).unwrap();
    holds_everything(opened(directory.path()));
}

#[test]
fn records_and_blobs_of_different_stores_are_refused() {
    let (one, other) = (version_1(), version_1());
    drop(opened(one.path()));
    drop(opened(other.path()));
    let aside = set_aside(one.path(), "blobs");
    copy(&other.path().join("blobs"), &one.path().join("blobs"));
    refused(one.path(), Apart::Different);
    fs::remove_dir_all(one.path().join("blobs")).unwrap();
    fs::rename(aside, one.path().join("blobs")).unwrap();
    holds_everything(opened(one.path()));
}

#[test]
fn a_file_that_has_no_identity_in_it_is_refused() {
    for content in ["", "0123\n", "+00102030405060708090a0b0c0d0e0f\n", "no identity"] {
        let directory = version_1();
        fs::write(directory.path().join("blobs/STORE"), content).unwrap();
        let error = open(directory.path(), Threads::shared()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("STORE"), "{error}");
    }
}

#[test]
fn an_older_format_that_is_to_stay_is_refused_and_left_as_it_is() {
    let directory = version_1();
    let options = registry_storage::kv::Options {
        keep_format: true,
        ..registry_storage::kv::Options::default()
    };
    let data = directory.path().join("records/data.mdb");
    let before = fs::read(&data).unwrap();
    let refused = registry_storage::open_with(directory.path(), Threads::shared(), options.clone());
    assert!(
        matches!(refused, Err(OpenError::OlderFormat { found: 1, .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&data).unwrap(), before);
    assert_eq!(identity(directory.path()), None);
    // Once it is brought forward, there is nothing to keep from.
    drop(opened(directory.path()));
    registry_storage::open_with(directory.path(), Threads::shared(), options).unwrap();
}
