//! What the check of a store finds, and that it finds nothing in a sound one.

mod beside;
mod blobs;
mod collections;
mod corruptions;
mod gaps;
mod house;
mod looks;
mod orphans;
mod records;
mod scene;
mod sound;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;

use registry_core::Digest;
use registry_storage::records::check::FindingKind as Kind;
use registry_storage::testkit::block_on;

use house::{CONFIG, House, LAYER, assert_found, image, open};

/// Does harm to a store that is sound otherwise; the check must find it, name it, and find nothing without it.
#[track_caller]
fn finds(kind: Kind, deep: bool, harm: impl AsyncFnOnce(&House) -> String) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let (before, _) = house.check(true).await;
        assert_eq!(before, [], "before any harm");
        let naming = harm(&house).await;
        let (findings, _) = house.check(deep).await;
        assert_found(&findings, kind, &naming);
    });
}

fn layer() -> Digest {
    Digest::sha256(LAYER)
}

fn config() -> Digest {
    Digest::sha256(CONFIG)
}

fn manifest() -> Digest {
    Digest::sha256(image(LAYER, "").as_bytes())
}

/// Opens a blob's file for harm, sealed as it is.
async fn unsealed(house: &House, digest: &Digest) -> fs::File {
    let path = house.file(digest).await;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}
