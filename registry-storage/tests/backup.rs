//! Backups and what is restored from them, on stores of this crate alone.

#[path = "check/house.rs"]
#[allow(dead_code, reason = "made for the check's tests; these use a part of it")]
mod house;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use registry_core::runtime::Threads;
use registry_core::store::{Kv, Reclaim, Txn};
use registry_core::{Digest, ErrorKind, Registry, Timestamp};
use registry_storage::backup::{self, BackupError, Copied, DumpError, Restoring, Source, Told, Written};
use registry_storage::clock::ManualClock;
use registry_storage::kv::{EmbeddedKv, OpenError, Options};
use registry_storage::testkit::block_on;

use house::{House, LAYER, image, name, open};

/// A store with some of everything, and room for backups beside it.
struct Scene {
    _directory: tempfile::TempDir,
    house: House,
    to: PathBuf,
    back: PathBuf,
}

async fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let house = open(&directory.path().join("data"));
    house.fill().await;
    Scene {
        house,
        to: directory.path().join("backup"),
        back: directory.path().join("back"),
        _directory: directory,
    }
}

impl Scene {
    fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        self.house.kv.dump(&mut dump).unwrap();
        dump
    }

    fn write(&self, dump: &[u8], blobs: bool) -> (Result<Written, BackupError>, Vec<String>) {
        let mut damaged = Vec::new();
        let blobs = blobs.then(|| self.house.directory.join("blobs"));
        let written = backup::write(
            &self.to,
            Cursor::new(dump),
            blobs.as_deref(),
            || Ok(()),
            &mut |told| {
                if let Told::Damaged(what) = told {
                    damaged.push(what.to_owned());
                }
            },
        );
        (written, damaged)
    }

    fn back_up(&self) -> Written {
        let (written, damaged) = self.write(&self.dump(), true);
        assert_eq!(damaged, Vec::<String>::new());
        written.unwrap()
    }

    fn restore(&self) -> Result<Copied, BackupError> {
        restore(&self.to, &self.back)
    }
}

fn restore(from: &Path, to: &Path) -> Result<Copied, BackupError> {
    let source = Source::open(from)?;
    let restoring = Restoring::begin(to)?;
    let copied = restoring.fill(&source, &source.blobs()?, Options::default(), &mut |_| {})?;
    restoring.finish()?;
    Ok(copied)
}

#[test]
fn what_is_restored_is_sound_and_is_what_was_there() {
    block_on(async {
        let scene = scene().await;
        let written = scene.back_up();
        assert_eq!((written.blobs.copied.count, written.blobs.damaged), (2, 0));
        let copied = scene.restore().unwrap();
        assert_eq!(copied.copied, written.blobs.copied);

        let back = open(&scene.back);
        assert_eq!(back.check(true).await.0, []);
        for table in [
            "repository/",
            "blob/",
            "inline/",
            "edge/",
            "lease/",
            "pending/",
            "manifest/",
            "content/",
            "tag/",
        ] {
            let (before, after) = (
                scene.house.kv.scan(table, None, 1000),
                back.kv.scan(table, None, 1000),
            );
            assert_eq!(
                before.await.unwrap(),
                after.await.unwrap(),
                "{table}, stamps included"
            );
        }
        let layer = Digest::sha256(LAYER);
        let read = back
            .registry
            .read_blob(&back.ctx, &name("a/app"), &layer, None)
            .await
            .unwrap();
        assert_eq!(
            registry_storage::testkit::read_all(read.read).await.unwrap(),
            LAYER
        );
    });
}

#[test]
fn stamps_and_the_clock_go_on_from_where_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    block_on(async {
        // A clock that was ahead of the system's.
        let ahead = Timestamp(Timestamp::system().0 + 100_000_000);
        let options = Options {
            clock: ManualClock::at(ahead).clock(),
            ..Options::default()
        };
        let kv = EmbeddedKv::open(path("records"), options).unwrap();
        let mut last = kv.commit(Txn::new().put("k", "1")).await.unwrap();
        for _ in 0..10 {
            last = kv.commit(Txn::new().put("gone", "1")).await.unwrap();
        }
        kv.commit(Txn::new().delete("gone")).await.unwrap();
        let mut dump = Vec::new();
        kv.dump(&mut dump).unwrap();
        backup::write(
            &path("backup"),
            Cursor::new(&dump),
            Some(&path("none")),
            || Ok(()),
            &mut |_| {},
        )
        .unwrap();
        restore(&path("backup"), &path("back")).unwrap();

        let back = EmbeddedKv::open(path("back/records"), Options::default()).unwrap();
        assert!(back.now().await.unwrap() >= ahead);
        let next = back.commit(Txn::new().put("gone", "2")).await.unwrap();
        assert!(next > last, "{next:?} after {last:?}");
        let mut again = Vec::new();
        back.dump(&mut again).unwrap();
        assert_ne!(dump, again);
    });
}

#[test]
fn uploads_that_were_under_way_are_unknown_afterwards() {
    block_on(async {
        let scene = scene().await;
        let upload = scene.house.key("upload/").await["upload/".len()..]
            .parse()
            .unwrap();
        let (ctx, app) = (&scene.house.ctx, name("a/app"));
        scene
            .house
            .registry
            .upload_status(ctx, &app, &upload)
            .await
            .unwrap();
        scene.back_up();
        scene.restore().unwrap();
        let back = open(&scene.back);
        let status = back.registry.upload_status(ctx, &app, &upload).await;
        assert_eq!(status.unwrap_err().kind(), ErrorKind::UploadUnknown);
        assert_eq!(back.keys("expiry/").await.len(), 0);
        assert_eq!(back.records.expired_uploads(None, 10).await.unwrap(), []);
    });
}

#[test]
fn a_second_backup_copies_only_what_is_new_and_takes_the_place_of_the_first() {
    block_on(async {
        let scene = scene().await;
        scene.back_up();
        scene.house.push("a/app", &[9; 50_000]).await;
        let second = scene.back_up();
        assert_eq!(
            (second.blobs.copied.count, second.blobs.copied.bytes),
            (1, 50_000)
        );
        assert_eq!(second.blobs.kept.count, 2);
        let dumps = fs::read_dir(&scene.to).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".dump")
        });
        assert_eq!(dumps.count(), 1);
        scene.restore().unwrap();
        assert_eq!(open(&scene.back).check(true).await.0, []);
    });
}

#[test]
fn a_backup_that_breaks_off_leaves_the_one_before_it() {
    block_on(async {
        let scene = scene().await;
        let first = scene.back_up().description;
        scene.house.push("a/app", &[9; 50_000]).await;
        let dump = scene.dump();
        let (cut, _) = scene.write(&dump[..dump.len() - 7], true);
        assert!(
            matches!(
                &cut,
                Err(BackupError::Dump {
                    source: DumpError::Truncated(_),
                    ..
                })
            ),
            "{cut:?}"
        );
        let blobs = scene.house.directory.join("blobs");
        let gone = || Err(std::io::ErrorKind::ConnectionReset.into());
        let let_go = backup::write(&scene.to, Cursor::new(&dump), Some(&blobs), gone, &mut |_| {});
        assert!(matches!(let_go, Err(BackupError::Released(_))), "{let_go:?}");
        assert_eq!(*Source::open(&scene.to).unwrap().description(), first);
        scene.restore().unwrap();
    });
}

#[test]
fn a_dump_that_was_cut_short_or_changed_is_refused_before_anything_is_made() {
    block_on(async {
        let scene = scene().await;
        let dump = scene.to.join(scene.back_up().description.records.file);
        let good = fs::read(&dump).unwrap();
        fs::write(&dump, &good[..good.len() / 2]).unwrap();
        let refused = scene.restore().unwrap_err();
        assert!(
            matches!(
                &refused,
                BackupError::Dump {
                    source: DumpError::Truncated(_),
                    ..
                }
            ),
            "{refused:?}"
        );
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 16;
        fs::write(&dump, &bad).unwrap();
        assert!(matches!(scene.restore(), Err(BackupError::Dump { .. })));
        // A whole dump, and not the one.
        fs::write(&dump, {
            scene.house.push("a/app", b"one more").await;
            scene.dump()
        })
        .unwrap();
        assert!(matches!(scene.restore(), Err(BackupError::NotABackup { .. })));
        fs::remove_file(scene.to.join("backup.json")).unwrap();
        assert!(matches!(scene.restore(), Err(BackupError::NotABackup { .. })));
        assert!(!scene.back.exists(), "nothing was made");
    });
}

#[test]
fn a_damaged_blob_is_told_and_the_rest_is_backed_up() {
    block_on(async {
        let scene = scene().await;
        let digest = Digest::sha256(LAYER);
        let file = scene.house.file(&digest).await;
        fs::remove_file(&file).unwrap();
        fs::write(&file, [8; 40_000]).unwrap();
        let (written, damaged) = scene.write(&scene.dump(), true);
        let written = written.unwrap();
        assert_eq!((written.blobs.damaged, written.blobs.copied.count), (1, 1));
        assert!(damaged[0].contains(&digest.to_string()), "{damaged:?}");
        // What is restored says so too, and has the rest.
        scene.restore().unwrap();
        let (findings, _) = open(&scene.back).check(true).await;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].message.contains(&digest.to_string()));
    });
}

#[test]
fn records_alone_are_restored_with_blobs_from_elsewhere_only() {
    block_on(async {
        let scene = scene().await;
        scene.write(&scene.dump(), false).0.unwrap();
        assert!(!scene.to.join("blobs").exists());
        let source = Source::open(&scene.to).unwrap();
        assert!(matches!(source.blobs(), Err(BackupError::NoBlobs(_))));
        let restoring = Restoring::begin(&scene.back).unwrap();
        let blobs = scene.house.directory.join("blobs");
        restoring
            .fill(&source, &blobs, Options::default(), &mut |_| {})
            .unwrap();
        restoring.finish().unwrap();
        assert_eq!(open(&scene.back).check(true).await.0, []);
    });
}

#[test]
fn a_restore_goes_into_nothing_and_nothing_opens_it_before_its_end() {
    block_on(async {
        let scene = scene().await;
        scene.back_up();
        fs::create_dir_all(&scene.back).unwrap();
        fs::write(scene.back.join("mine"), "kept").unwrap();
        assert!(matches!(scene.restore(), Err(BackupError::NotEmpty(_))));
        assert_eq!(fs::read_dir(&scene.back).unwrap().count(), 1, "as it was");
        fs::remove_file(scene.back.join("mine")).unwrap();

        let source = Source::open(&scene.to).unwrap();
        let restoring = Restoring::begin(&scene.back).unwrap();
        let is_refused = || {
            let opened = registry_storage::open(&scene.back, Threads::shared());
            assert!(matches!(opened, Err(OpenError::Restoring(_))), "{opened:?}");
        };
        is_refused();
        restoring
            .fill(&source, &source.blobs().unwrap(), Options::default(), &mut |_| {})
            .unwrap();
        is_refused();
        // Cut off here, it is not taken up again.
        assert!(matches!(scene.restore(), Err(BackupError::NotEmpty(_))));
        restoring.finish().unwrap();
        let back = open(&scene.back);
        back.tag("a/app", "v2", house::OCI, image(LAYER, "")).await;
    });
}

#[test]
fn a_dump_is_of_one_moment_while_others_write() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let kv =
            std::sync::Arc::new(EmbeddedKv::open(directory.path().join("a"), Options::default()).unwrap());
        let writer = {
            let kv = kv.clone();
            // Two records that always change together.
            tokio::spawn(async move {
                for n in 0..300 {
                    let value = n.to_string();
                    let txn = Txn::new().put("a", value.clone()).put("z", value);
                    kv.commit(txn.put(format!("m/{n}"), vec![0; 2000])).await.unwrap();
                }
            })
        };
        let mut n = 0;
        while !writer.is_finished() {
            let mut dump = Vec::new();
            kv.dump(&mut dump).unwrap();
            let into = EmbeddedKv::open(directory.path().join(format!("b{n}")), Options::default()).unwrap();
            let mut reader = backup::DumpReader::begin(dump.as_slice()).unwrap();
            into.load(&mut reader, |_| true).unwrap();
            let back = EmbeddedKv::open(directory.path().join(format!("b{n}")), Options::default()).unwrap();
            let (a, z) = (back.get("a").await.unwrap(), back.get("z").await.unwrap());
            assert_eq!(a, z);
            n += 1;
        }
        writer.await.unwrap();
        assert!(n > 0);
        // And only into records that hold nothing.
        let mut dump = Vec::new();
        kv.dump(&mut dump).unwrap();
        let full = EmbeddedKv::open(directory.path().join("b0"), Options::default()).unwrap();
        full.commit(Txn::new().put("k", "")).await.unwrap();
        let mut reader = backup::DumpReader::begin(dump.as_slice()).unwrap();
        assert!(matches!(
            full.load(&mut reader, |_| true),
            Err(DumpError::NotEmpty)
        ));
    });
}
