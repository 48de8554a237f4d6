//! Disks that fail, at every operation in turn: callers are told, nothing acknowledged is lost, and the store goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, Lifetimes, Reclaim, StoreError, UploadStore};
use registry_core::{
    Algorithm, Context, Digest, Error, ErrorKind, LocalRegistry, Options, Registry, RepositoryName, Result,
    Runtime, Timestamp, UploadId, once,
};
use registry_storage::Durability;
use registry_storage::clock::ManualClock;
use registry_storage::fs::FsBytes;
use registry_storage::fs::disk::Disk;
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::disk::{
    Dice, DiskOp, Fault, FaultyDisk, Platter, SimulatedDisk, Survival, files_on,
};
use registry_storage::testkit::{block_on, content, read_all};

/// Does blocking work at once, on a clock that stands still.
struct Inline(ManualClock);

impl Runtime for Inline {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn spawn(&self, _: BoxFuture<'static, ()>) {
        unreachable!("stores spawn no tasks")
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// A registry on a disk.
struct House {
    registry: LocalRegistry,
    records: Records,
    bytes: Arc<FsBytes>,
    kv: Arc<MemoryKv>,
    clock: ManualClock,
    ctx: Context,
    name: RepositoryName,
}

fn house(kv: Arc<MemoryKv>, clock: ManualClock, disk: Arc<dyn Disk>) -> House {
    let runtime: Arc<dyn Runtime> = Arc::new(Inline(clock.clone()));
    let records = Records::new(kv.clone(), runtime.clone(), Lifetimes::default());
    let bytes = Arc::new(files_on(disk, runtime.clone(), Durability::Strict, None));
    let registry = LocalRegistry::new(
        Arc::new(records.clone()),
        bytes.clone(),
        bytes.clone(),
        runtime,
        Options {
            inline_max: 0,
            ..Options::default()
        },
    );
    House {
        registry,
        records,
        bytes,
        kv,
        clock,
        ctx: Context::system(),
        name: "a".parse().unwrap(),
    }
}

impl House {
    async fn begin(&self) -> UploadId {
        let begun = self.registry.begin_upload(&self.ctx, &self.name, None).await;
        begun.expect("records do not fail here").id
    }

    async fn append(&self, id: &UploadId, at: u64, bytes: Bytes) -> Result<u64> {
        let registry = &self.registry;
        let status = registry.append_upload(&self.ctx, &self.name, id, Some(at), once(bytes));
        Ok(status.await?.received)
    }

    async fn finish(&self, id: &UploadId, at: u64, bytes: &Bytes) -> Result<()> {
        let (digest, rest) = (Digest::sha256(bytes), once(bytes.slice(at as usize..)));
        let registry = &self.registry;
        registry
            .finish_upload(&self.ctx, &self.name, id, Some(at), rest, &digest)
            .await
            .map(drop)
    }

    async fn received(&self, id: &UploadId) -> Result<u64> {
        let status = self.registry.upload_status(&self.ctx, &self.name, id).await;
        Ok(status?.received)
    }

    async fn read(&self, bytes: &Bytes) -> Result<Bytes> {
        let digest = Digest::sha256(bytes);
        let blob = self
            .registry
            .read_blob(&self.ctx, &self.name, &digest, None)
            .await?;
        read_all(blob.read).await.map_err(Error::internal)
    }

    async fn push(&self, bytes: &Bytes) -> Result<()> {
        let id = self.begin().await;
        self.finish(&id, 0, bytes).await
    }

    /// Lets the doomed go. Whether all of them did.
    async fn unlink(&self) -> bool {
        self.clock.advance(Duration::from_secs(4 * 3600));
        let mut all = true;
        for doomed in self.records.doomed(None, 100).await.unwrap() {
            match self.bytes.unlink(&doomed.location).await {
                Ok(()) => self.records.clear_doomed(&doomed).await.unwrap(),
                Err(_) => all = false,
            }
        }
        all
    }
}

/// A house on a disk that can fail, and all that was done to the disk.
struct Trial {
    house: House,
    disk: FaultyDisk,
    simulated: SimulatedDisk,
    log: Arc<Mutex<Vec<DiskOp>>>,
}

impl Trial {
    fn new() -> Trial {
        let log = Arc::new(Mutex::new(Vec::new()));
        let told = log.clone();
        let simulated = SimulatedDisk::recorded_by(Arc::new(move |op| told.lock().unwrap().push(op)));
        let disk = FaultyDisk::around(Arc::new(simulated.clone()));
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
        Trial {
            house: house(kv, clock, Arc::new(disk.clone())),
            disk,
            simulated,
            log,
        }
    }

    /// Another process, on the same disk.
    fn restarted(&self) -> House {
        let (kv, clock) = self.records();
        house(kv, clock, Arc::new(self.simulated.clone()))
    }

    /// Another process, after the power was cut.
    fn after_a_cut(&self, survival: Survival, dice: &mut Dice) -> House {
        let mut platter = Platter::new();
        self.log.lock().unwrap().iter().for_each(|op| platter.apply(op));
        let (kv, clock) = self.records();
        house(kv, clock, Arc::new(platter.cut(survival, dice)))
    }

    fn records(&self) -> (Arc<MemoryKv>, ManualClock) {
        let clock = ManualClock::at(self.house.clock.now());
        (Arc::new(self.house.kv.fork(clock.clock())), clock)
    }
}

/// What one client came to.
#[derive(Default)]
struct Outcome {
    /// Contents that were acknowledged.
    pushed: Vec<Bytes>,
    /// An upload that is not finished, its content, and what was acknowledged of it.
    open: Vec<(UploadId, Bytes, u64)>,
    /// Uploads of which a sync failed, or of which nothing had been acknowledged yet.
    lost: Vec<(UploadId, Bytes)>,
}

/// Calls for which there may be no room.
const NEED_ROOM: [&str; 6] = ["create", "mkdir", "mark", "write", "sync", "sync directory"];

/// Checks what an operation on an upload answered against what the disk did meanwhile.
#[track_caller]
fn answered<T>(disk: &FaultyDisk, fault: Fault, answer: Result<T>) -> (Option<T>, bool) {
    let failed = disk.take_failed();
    let sync = failed.iter().any(|call| call.starts_with("sync"));
    match (answer, failed.is_empty() || fault == Fault::Short) {
        (Ok(answer), true) => (Some(answer), false),
        (Ok(_), false) => panic!("{failed:?} failed, and the caller was told that all is well"),
        (Err(why), true) => panic!("nothing failed, and the caller was told {why:?}"),
        (Err(why), false) => {
            let expected = match fault {
                // No system says this of a call that needs no room.
                Fault::Full if !failed.iter().any(|call| NEED_ROOM.contains(call)) => return (None, sync),
                Fault::Full => (ErrorKind::Unavailable, "no room"),
                _ => (ErrorKind::Internal, "the registry failed"),
            };
            assert_eq!(why.kind(), expected.0, "{failed:?}: {why:?}");
            assert!(why.message().contains(expected.1), "{why:?}");
            (None, sync)
        }
    }
}

impl Outcome {
    /// A push in one piece, one in parts with its two answers, one that is given up, and a reader.
    async fn of_work(trial: &Trial, fault: Fault) -> Outcome {
        let (house, disk) = (&trial.house, &trial.disk);
        let mut outcome = Outcome::default();

        let (whole, id) = (content(1, 5000), house.begin().await);
        let finished = house.finish(&id, 0, &whole).await;
        let answer = answered(disk, fault, finished);
        outcome.settle(house, answer, id, whole, 0).await;

        let (parts, id) = (content(2, 4000), house.begin().await);
        let (mut at, mut syncs) = (0, true);
        for end in [1500, 3000] {
            let appended = house.append(&id, at, parts.slice(at as usize..end)).await;
            match answered(disk, fault, appended) {
                (Some(received), _) => at = received,
                (None, true) => syncs = false,
                // Whatever else failed: the client asks, and goes on from there.
                (None, false) => match house.received(&id).await {
                    Ok(received) => at = received,
                    Err(why) => {
                        assert_eq!((why.kind(), at), (ErrorKind::UploadUnknown, 0), "{why:?}");
                        syncs = false;
                    }
                },
            }
            if !syncs {
                break;
            }
        }
        if syncs {
            let finished = house.finish(&id, at, &parts).await;
            let answer = answered(disk, fault, finished);
            outcome.settle(house, answer, id, parts, at).await;
        } else {
            outcome.lost.push((id, parts));
        }

        let (given_up, id) = (content(3, 1000), house.begin().await);
        let appended = house.append(&id, 0, given_up).await;
        let _whatever = answered(disk, fault, appended);
        let cancelled = house.registry.cancel_upload(&house.ctx, &house.name, &id).await;
        if let Err(why) = cancelled {
            assert_eq!(
                why.kind(),
                ErrorKind::UploadUnknown,
                "giving up never fails for the bytes' sake"
            );
        }
        house.unlink().await;
        disk.take_failed();

        let kept = content(9, 3000);
        if let Ok(found) = house.read(&kept).await {
            assert_eq!(found, kept);
        }
        outcome.pushed.push(kept);
        disk.take_failed();
        outcome
    }

    async fn settle(
        &mut self,
        house: &House,
        (answer, sync): (Option<()>, bool),
        id: UploadId,
        bytes: Bytes,
        at: u64,
    ) {
        match (answer, sync) {
            (Some(()), _) => self.pushed.push(bytes),
            (None, true) => self.lost.push((id, bytes)),
            (None, false) => match house.received(&id).await {
                Ok(_) => self.open.push((id, bytes, at)),
                // Of one of which nothing was acknowledged, nothing is left.
                Err(why) => {
                    assert_eq!((why.kind(), at), (ErrorKind::UploadUnknown, 0), "{why:?}");
                    self.lost.push((id, bytes));
                }
            },
        }
    }

    /// Everything acknowledged is there, and whatever was not can be pushed.
    async fn check(&self, house: &House) {
        for bytes in &self.pushed {
            assert_eq!(house.read(bytes).await.unwrap(), bytes);
        }
        for (id, bytes, acknowledged) in &self.open {
            let received = house.received(id).await.unwrap();
            assert!(received >= *acknowledged, "{received} of {acknowledged}");
            house.finish(id, received, bytes).await.unwrap();
            assert_eq!(house.read(bytes).await.unwrap(), bytes);
        }
        for (_, bytes) in &self.lost {
            house.push(bytes).await.unwrap();
            assert_eq!(house.read(bytes).await.unwrap(), bytes);
        }
        assert!(house.unlink().await, "what is doomed can be unlinked");
    }

    /// An upload whose sync failed never ends well, nor is it told to be anywhere.
    async fn nothing_pretends(&self, house: &House) {
        for (id, bytes) in &self.lost {
            assert!(house.received(id).await.is_err(), "its length cannot be known");
            for at in [0, bytes.len() as u64] {
                assert!(
                    house.finish(id, at, bytes).await.is_err(),
                    "a sync that failed is final"
                );
            }
            assert!(house.append(id, 0, bytes.clone()).await.is_err());
        }
    }
}

/// Runs the work with the fault at every operation in turn, and looks at it from all sides.
fn sweep(fault: Fault) -> usize {
    block_on(async {
        let mut dice = Dice::new(11);
        for at in 0.. {
            let trial = Trial::new();
            trial.house.push(&content(9, 3000)).await.unwrap();
            trial.disk.take_failed();
            let before = trial.disk.operations();
            trial.disk.fail(at, fault);
            let outcome = Outcome::of_work(&trial, fault).await;
            if trial.disk.operations() - before <= at {
                assert!(outcome.open.is_empty() && outcome.lost.is_empty());
                return at;
            }
            for survival in [Survival::Nothing, Survival::Any, Survival::Any] {
                outcome.check(&trial.after_a_cut(survival, &mut dice)).await;
            }
            outcome.nothing_pretends(&trial.restarted()).await;
            outcome.nothing_pretends(&trial.house).await;
            outcome.check(&trial.house).await;
        }
        unreachable!("the work comes to an end")
    })
}

#[test]
fn an_input_output_error_anywhere_is_told_and_loses_nothing_acknowledged() {
    assert!(sweep(Fault::Io) > 30);
}

#[test]
fn no_room_anywhere_is_told_as_such_and_loses_nothing_acknowledged() {
    assert!(sweep(Fault::Full) > 30);
}

#[test]
fn short_writes_and_interruptions_are_nobodys_business() {
    assert!(sweep(Fault::Short) > 30);
}

#[test]
fn a_disk_that_fills_refuses_what_needs_room_and_goes_on_once_it_has_some() {
    block_on(async {
        let trial = Trial::new();
        let house = &trial.house;
        let (kept, half, fresh) = (content(1, 3000), content(2, 3000), content(3, 3000));
        house.push(&kept).await.unwrap();
        let id = house.begin().await;
        assert_eq!(house.append(&id, 0, half.slice(..1000)).await.unwrap(), 1000);
        let given_up = house.begin().await;
        house.append(&given_up, 0, half.slice(..10)).await.unwrap();

        trial.disk.set_full(true);
        for _ in 0..50 {
            let refused = house.push(&fresh).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
            assert!(refused.message().contains("no room"), "{refused:?}");
        }
        let refused = house.append(&id, 1000, half.slice(1000..2000)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
        assert_eq!(house.read(&kept).await.unwrap(), kept);
        assert_eq!(house.received(&id).await.unwrap(), 1000);
        let cancelled = house.registry.cancel_upload(&house.ctx, &house.name, &given_up);
        cancelled.await.expect("giving up gives room back");

        trial.disk.set_full(false);
        house.finish(&id, 1000, &half).await.unwrap();
        house.push(&fresh).await.unwrap();
        for bytes in [&kept, &half, &fresh] {
            assert_eq!(house.read(bytes).await.unwrap(), bytes);
        }
    });
}

#[test]
fn a_file_that_cannot_be_opened_for_a_moment_costs_no_acknowledged_byte() {
    block_on(async {
        let trial = Trial::new();
        let (bytes, id) = (content(1, 100_000), trial.house.begin().await);
        let appended = trial.house.append(&id, 0, bytes.slice(..60_000)).await;
        assert_eq!(appended.unwrap(), 60_000);
        // Another process has no session of it, so it opens the file.
        let disk = FaultyDisk::around(Arc::new(trial.simulated.clone()));
        let (kv, clock) = trial.records();
        let after = house(kv, clock, Arc::new(disk.clone()));
        disk.fail(0, Fault::Io);
        let refused = after.finish(&id, 60_000, &bytes).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal, "{refused:?}");
        assert_eq!(disk.take_failed(), ["open"]);
        assert_eq!(after.received(&id).await.unwrap(), 60_000);
        after.finish(&id, 60_000, &bytes).await.unwrap();
        assert_eq!(after.read(&bytes).await.unwrap(), bytes);
    });
}

/// A request that read the claim just before it was consumed asks how long the upload is, just after.
#[test]
fn a_late_question_on_a_failing_disk_leaves_a_published_blob_readable() {
    block_on(async {
        let disk = SimulatedDisk::recorded_by(Arc::new(|_| {}));
        let faulty = FaultyDisk::around(Arc::new(disk.clone()));
        let bytes = files_on(
            Arc::new(faulty.clone()),
            Threads::shared(),
            Durability::Strict,
            None,
        );
        let (id, digest) = (UploadId::new(7), Digest::sha256(b"bytes"));
        bytes
            .finish(&id, Algorithm::Sha256, Some(0), once(&b"bytes"[..]), &digest)
            .await
            .unwrap();
        let location = bytes.location(&id);
        let mut failed = 0;
        for at in 0..12 {
            faulty.fail(at, Fault::Io);
            let _late = bytes.received(&id).await;
            failed += faulty.take_failed().len();
        }
        assert!(failed > 0);
        let read = bytes.read(&location, 0..5).await.unwrap();
        assert_eq!(read_all(read).await.unwrap(), &b"bytes"[..]);
        let name = location.to_string();
        let path = format!("/blobs/{}", name.strip_prefix("file:").unwrap());
        let mode = disk.info(std::path::Path::new(&path)).unwrap().mode;
        assert_eq!(mode, 0o444, "{mode:o}");
    });
}

/// Another process comes to an upload with no descriptors left for a moment, and then with no room.
#[test]
fn a_lack_of_descriptors_ends_no_upload_and_costs_none_of_its_acknowledged_bytes() {
    block_on(async {
        let bytes = content(1, 100_000);
        for at in 0.. {
            let trial = Trial::new();
            let id = trial.house.begin().await;
            let appended = trial.house.append(&id, 0, bytes.slice(..60_000)).await;
            assert_eq!(appended.unwrap(), 60_000);
            let disk = FaultyDisk::around(Arc::new(trial.simulated.clone()));
            let files = files_on(
                Arc::new(disk.clone()),
                Threads::shared(),
                Durability::Strict,
                None,
            );
            disk.fail(at, Fault::Descriptors);
            let told = files.received(&id).await;
            if disk.take_failed().is_empty() {
                assert_eq!(told.unwrap(), 60_000);
                assert!(at > 3, "the question took {at} operations");
                return;
            }
            assert!(matches!(told, Err(StoreError::Failed(_))), "{at}: {told:?}");
            disk.set_full(true);
            let refused = files
                .append(&id, Algorithm::Sha256, Some(60_000), once(bytes.slice(60_000..)))
                .await;
            assert!(matches!(refused, Err(StoreError::Full(_))), "{at}: {refused:?}");
            disk.set_full(false);
            assert_eq!(files.received(&id).await.unwrap(), 60_000, "{at}");
        }
    });
}
