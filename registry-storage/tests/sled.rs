//! What records in sled promise beyond what those of any engine do: dumps, and a disk that others fill.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use registry_core::store::{Kv, KvError, Txn};
use registry_storage::backup::{DumpError, DumpReader, DumpWriter};
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::testkit::block_on;

fn open(directory: &Path, engine: EngineKind) -> EmbeddedKv {
    let options = Options {
        engine,
        ..Options::default()
    };
    EmbeddedKv::open(directory, options).unwrap()
}

#[test]
fn a_dump_of_long_values_loads_into_any_engine() {
    for (size, fill) in [(100, 7), (8 << 10, 7), (50_000, 7), (50_000, 0), (1 << 20, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let kv = open(&directory.path().join("from"), EngineKind::Sled);
        let value = vec![fill; size];
        block_on(kv.commit(Txn::new().put("long", value.clone()).put("short", "1"))).unwrap();
        let mut dump = Vec::new();
        kv.dump(&mut dump).unwrap();
        let mut dumps = Vec::new();
        for engine in EngineKind::ALL {
            let to = directory.path().join(engine.name());
            let mut reader = DumpReader::begin(dump.as_slice()).unwrap();
            open(&to, engine).load(&mut reader, |_| true).unwrap();
            let back = open(&to, engine);
            let found = block_on(back.get("long")).unwrap().unwrap();
            assert!(
                found.value == value,
                "{size} bytes of {fill} dumped and loaded into {engine}"
            );
            assert_eq!(block_on(back.scan("", None, 10)).unwrap().len(), 2);
            let mut again = Vec::new();
            back.dump(&mut again).unwrap();
            dumps.push(again);
        }
        assert!(
            dumps[0] == dumps[1],
            "the engines dump the same records differently"
        );
    }
}

#[test]
fn a_dump_with_a_key_that_an_engine_may_have_for_itself_is_refused() {
    for engine in EngineKind::ALL {
        for key in [&[2][..], &[3], &[0xff, 1]] {
            let mut dump = Vec::new();
            let mut writer = DumpWriter::begin(&mut dump, 2).unwrap();
            writer.put(key, b"value").unwrap();
            writer.end().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let mut reader = DumpReader::begin(dump.as_slice()).unwrap();
            let refused = open(directory.path(), engine).load(&mut reader, |_| true);
            assert!(matches!(refused, Err(DumpError::Damaged(_))), "{refused:?}");
        }
    }
}

/// A client that takes nothing until it is let.
struct Stalled {
    began: mpsc::Sender<()>,
    /// Ends when the other side is dropped.
    end: mpsc::Receiver<()>,
    taken: Vec<u8>,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _nobody_waits_any_more = self.began.send(());
        let _ended = self.end.recv();
        self.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn reads_and_commits_go_on_while_the_client_of_a_dump_takes_nothing() {
    for engine in EngineKind::ALL {
        let directory = tempfile::tempdir().unwrap();
        let kv = Arc::new(open(directory.path(), engine));
        block_on(kv.commit(Txn::new().put("k", "old").put("long", vec![1; 100_000]))).unwrap();
        let (began, begun) = mpsc::channel();
        let (go_on, end) = mpsc::channel();
        let dumping = std::thread::spawn({
            let kv = kv.clone();
            move || {
                let mut out = Stalled {
                    began,
                    end,
                    taken: Vec::new(),
                };
                // So much that the walk over the records has begun when it comes to the client.
                let dumped = kv.dump(io::BufWriter::with_capacity(64, &mut out)).unwrap();
                (dumped, out.taken)
            }
        });
        begun.recv().unwrap();
        let (done, answers) = mpsc::channel();
        let others = std::thread::spawn({
            let kv = kv.clone();
            move || {
                block_on(kv.commit(Txn::new().put("k", "new"))).unwrap();
                done.send(block_on(kv.get("k")).unwrap().unwrap().value).unwrap();
            }
        });
        let found = answers.recv_timeout(Duration::from_secs(20));
        drop(go_on);
        others.join().unwrap();
        let (dumped, taken) = dumping.join().unwrap();
        assert_eq!(
            found.expect("they do not wait for the client of the dump"),
            "new",
            "{engine}"
        );

        let mut reader = DumpReader::begin(taken.as_slice()).unwrap();
        let to = tempfile::tempdir().unwrap();
        assert_eq!(
            open(to.path(), EngineKind::Lmdb)
                .load(&mut reader, |_| true)
                .unwrap(),
            dumped
        );
        let back = open(to.path(), EngineKind::Lmdb);
        assert_eq!(block_on(back.get("long")).unwrap().unwrap().value.len(), 100_000);
    }
}

/// A small file system in memory, unmounted on drop.
struct Small(PathBuf);

impl Small {
    /// `None` where this user may not mount.
    fn mount(at: &Path, mebibytes: u32) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(at)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _stays_mounted = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn readers_on_a_full_disk_do_not_end_the_writes_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&directory.path().join("small"), 160) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let kv = open(&small.0.join("kv"), EngineKind::Sled);
    let name = |round: u32, n: u32| format!("k{round:03}{:08x}", n.wrapping_mul(2_654_435_761));
    for round in 0..6 {
        for n in 0..150 {
            let mut txn = Txn::new();
            for k in 0..8 {
                txn = txn.put(name(round, n * 8 + k), vec![n as u8; 200]);
            }
            if n > 20 {
                for k in 0..6 {
                    txn = txn.delete(name(round, (n - 15) * 8 + k));
                }
            }
            block_on(kv.commit(txn)).unwrap();
        }
        let filler = small.0.join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write(&[1; 1 << 16]).is_ok_and(|written| written > 0) {}
        let refused = block_on(kv.commit(Txn::new().put("x", "y")));
        assert!(matches!(refused, Err(KvError::Full(_))), "{refused:?}");
        read_all(&kv);
        std::fs::remove_file(&filler).unwrap();
        drop(file);
        block_on(kv.commit(Txn::new().put("x", "y"))).unwrap();
    }
    drop(kv);
}

/// Reads each record, from several threads.
fn read_all(kv: &EmbeddedKv) {
    let readers = 3;
    let together = Barrier::new(readers);
    std::thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                together.wait();
                let mut after: Option<String> = None;
                loop {
                    let page = block_on(kv.scan("k", after.as_deref(), 100)).unwrap();
                    for (key, _) in &page {
                        block_on(kv.get(key)).unwrap().unwrap();
                    }
                    let Some((last, _)) = page.into_iter().last() else {
                        break;
                    };
                    after = Some(last);
                }
            });
        }
    });
}
