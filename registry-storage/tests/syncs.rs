//! Which syncs an operation costs: each earns its place, and none is made twice.

use std::sync::{Arc, Mutex};

use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, UploadStore};
use registry_core::{Algorithm, Digest, UploadId, once};
use registry_storage::fs::FsBytes;
use registry_storage::testkit::block_on;
use registry_storage::testkit::disk::{DiskOp, SimulatedDisk, files_on};
use registry_storage::{Durability, Omission};

const SHA256: Algorithm = Algorithm::Sha256;

/// A store, and the syncs that were made since it was last asked for them.
struct Counted {
    store: FsBytes,
    log: Arc<Mutex<Vec<DiskOp>>>,
}

fn counted(durability: Durability, omission: Option<Omission>) -> Counted {
    let log = Arc::new(Mutex::new(Vec::new()));
    let told = log.clone();
    let disk = SimulatedDisk::recorded_by(Arc::new(move |op| told.lock().unwrap().push(op)));
    let store = files_on(Arc::new(disk), Threads::shared(), durability, omission);
    Counted { store, log }
}

impl Counted {
    /// Of files, and of directories.
    fn syncs(&self) -> (usize, usize) {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        let files = |op: &&DiskOp| matches!(op, DiskOp::SyncAll { .. } | DiskOp::SyncData { .. });
        let directories = |op: &&DiskOp| matches!(op, DiskOp::SyncDir { .. });
        (
            log.iter().filter(files).count(),
            log.iter().filter(directories).count(),
        )
    }

    /// A push in one piece, one in three, and what is left of a blob that goes.
    async fn costs(&self) -> [(usize, usize); 5] {
        let (one, parts) = (UploadId::new(1), UploadId::new(2));
        let digest = Digest::sha256(b"all of it");
        let finish = async |id, at, bytes: &'static str| {
            let finished = self.store.finish(id, SHA256, at, once(bytes), &digest).await;
            finished.unwrap()
        };
        finish(&one, Some(0), "all of it").await;
        let whole = self.syncs();
        self.store
            .append(&parts, SHA256, Some(0), once("all "))
            .await
            .unwrap();
        let first = self.syncs();
        self.store
            .append(&parts, SHA256, Some(4), once("of "))
            .await
            .unwrap();
        self.store.received(&parts).await.unwrap();
        let second = self.syncs();
        finish(&parts, Some(7), "it").await;
        let last = self.syncs();
        self.store.unlink(&self.store.location(&one)).await.unwrap();
        [whole, first, second, last, self.syncs()]
    }
}

#[test]
fn bytes_are_synced_once_for_each_answer_and_directories_once_for_each_file() {
    block_on(async {
        let strict = counted(Durability::Strict, None).costs().await;
        // The first file's directory is new too, and with it the entry that names it.
        assert_eq!(strict, [(1, 2), (1, 1), (1, 0), (1, 0), (0, 1)]);
    });
}

#[test]
fn relaxed_syncs_no_bytes_and_no_directory() {
    block_on(async {
        assert_eq!(counted(Durability::Relaxed, None).costs().await, [(0, 0); 5]);
    });
}

#[test]
fn an_omission_leaves_out_its_own_kind_of_sync_and_no_other() {
    block_on(async {
        for (omission, costs) in [
            (Omission::File, [(0, 2), (1, 1), (1, 0), (0, 0), (0, 1)]),
            (Omission::Directory, [(1, 0), (1, 0), (1, 0), (1, 0), (0, 0)]),
            (Omission::UploadState, [(1, 2), (0, 1), (0, 0), (1, 0), (0, 1)]),
            (Omission::Records, [(1, 2), (1, 1), (1, 0), (1, 0), (0, 1)]),
        ] {
            let left_out = counted(Durability::Strict, Some(omission)).costs().await;
            assert_eq!(left_out, costs, "without {}", omission.name());
        }
    });
}
