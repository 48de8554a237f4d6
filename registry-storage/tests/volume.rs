//! What is not there because its volume is not, is not taken for lost.

use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, StoreError, UploadStore, Volume};
use registry_core::{Algorithm, Digest, UploadId, once};
use registry_storage::fs::FsBytes;
use registry_storage::testkit::{block_on, read_all};

#[test]
fn blobs_whose_volume_is_away_are_an_error_and_come_back_with_it() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (blobs, away) = (directory.path().join("blobs"), directory.path().join("away"));
        let store = FsBytes::open(&blobs, Threads::shared()).unwrap();
        let (blob, upload) = (UploadId::new(1 << 120), UploadId::new(2 << 120));
        let digest = Digest::sha256(b"bytes");
        let sent = || once(&b"bytes"[..]);
        store
            .finish(&blob, Algorithm::Sha256, Some(0), sent(), &digest)
            .await
            .unwrap();
        let location = store.location(&blob);

        std::fs::rename(&blobs, &away).unwrap();
        // With nothing in its place, and with the empty directory of a mount point.
        for mount_point in [false, true] {
            if mount_point {
                std::fs::create_dir(&blobs).unwrap();
            }
            let failed = |why: &StoreError| matches!(why, StoreError::Failed(_));
            assert!(store.size(&location).await.is_err_and(|why| failed(&why)));
            assert!(store.read(&location, 0..5).await.is_err_and(|why| failed(&why)));
            assert!(store.unlink(&location).await.is_err_and(|why| failed(&why)));
            assert!(store.received(&upload).await.is_err_and(|why| failed(&why)));
            let appended = store.append(&upload, Algorithm::Sha256, Some(0), sent()).await;
            assert!(appended.is_err_and(|why| failed(&why)));
        }
        assert_eq!(
            std::fs::read_dir(&blobs).unwrap().count(),
            0,
            "nothing is put there"
        );

        std::fs::remove_dir(&blobs).unwrap();
        std::fs::rename(&away, &blobs).unwrap();
        let read = store.read(&location, 0..5).await.unwrap();
        assert_eq!(read_all(read).await.unwrap(), &b"bytes"[..]);
        let appended = store.append(&upload, Algorithm::Sha256, Some(0), sent()).await;
        assert_eq!(appended.unwrap(), 5);
    });
}

/// A file that was read is kept open, and what is open can be read wherever it is.
#[test]
fn a_blob_whose_file_is_elsewhere_is_not_told_to_be_there_though_it_is_open() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (blobs, away) = (directory.path().join("blobs"), directory.path().join("away"));
        let store = FsBytes::open(&blobs, Threads::shared()).unwrap();
        let blob = UploadId::new(1 << 120);
        let digest = Digest::sha256(b"bytes");
        let sent = once(&b"bytes"[..]);
        let finish = store.finish(&blob, Algorithm::Sha256, Some(0), sent, &digest);
        finish.await.unwrap();
        let location = store.location(&blob);
        for _ in 0..2 {
            assert_eq!(store.size(&location).await.unwrap(), Some(5));
            read_all(store.read(&location, 0..5).await.unwrap())
                .await
                .unwrap();
        }

        let path = blobs.join(location.to_string().strip_prefix("file:").unwrap());
        std::fs::rename(&path, &away).unwrap();
        assert_eq!(store.size(&location).await.unwrap(), None);
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(store.size(&location).await.unwrap(), Some(5));
        std::fs::rename(&blobs, &away).unwrap();
        assert!(store.size(&location).await.is_err());
    });
}

#[test]
fn a_volume_is_there_if_it_is_the_one_that_the_records_are_of() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let store = registry_storage::open(&data, Threads::shared()).unwrap().bytes;
        let (blobs, away) = (data.join("blobs"), data.join("away"));
        let (identity, aside) = (blobs.join("STORE"), data.join("STORE"));
        assert!(matches!(store.volume().await, Volume::There));

        // Another registry's, none, and one whose directory is not there.
        let others = format!("{:032x}\n", 7);
        std::fs::rename(&identity, &aside).unwrap();
        std::fs::write(&identity, others).unwrap();
        assert!(matches!(store.volume().await, Volume::Gone(_)));
        std::fs::remove_file(&identity).unwrap();
        assert!(matches!(store.volume().await, Volume::Gone(_)));
        std::fs::rename(&aside, &identity).unwrap();
        std::fs::rename(&blobs, &away).unwrap();
        assert!(matches!(store.volume().await, Volume::Gone(_)));
        std::fs::rename(&away, &blobs).unwrap();
        assert!(matches!(store.volume().await, Volume::There));

        // Of bytes that are opened without records nobody knows whose they are, but where they were.
        let bare = directory.path().join("bare");
        let store = FsBytes::open(&bare, Threads::shared()).unwrap();
        assert!(matches!(store.volume().await, Volume::Unknown));
        std::fs::rename(&bare, &away).unwrap();
        assert!(matches!(store.volume().await, Volume::Gone(_)));
    });
}
