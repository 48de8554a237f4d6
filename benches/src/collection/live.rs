//! The same garbage among few and among many live blobs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry_core::Timestamp;
use registry_core::store::{BlobStore, Lifetimes, ManifestStore};
use registry_gc::{Collector, RunOptions, Settings, Stop};
use registry_storage::clock::ManualClock;
use registry_storage::kv::Options;
use registry_storage::records::Records;
use registry_storage::testkit::{Asked, Counting};
use serde::Serialize;
use server_hyper::TokioRuntime;

use super::store::{self, Next};
use super::{failed, median, must};

/// What one collection of all garbage took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Collection {
    /// What it asked of the records.
    pub asked: Asked,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A store, and what collecting in it took, time after time.
#[derive(Clone, Debug, Serialize)]
pub struct Among {
    /// Live blobs.
    pub live: usize,
    /// Records of them.
    pub records: u64,
    /// Blobs that were collected in each round.
    pub garbage: usize,
    /// The rounds.
    pub rounds: Vec<Collection>,
}

impl Among {
    /// Records read, the median of the rounds.
    pub fn read(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.asked.read as f64))
    }

    /// Transactions, the median of the rounds.
    pub fn commits(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.asked.commits as f64))
    }

    /// Seconds, the median of the rounds.
    pub fn seconds(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.seconds))
    }
}

struct House {
    kv: Arc<Counting>,
    blobs: std::path::PathBuf,
    clock: ManualClock,
    records: Arc<Records>,
    collector: Collector,
    among: Among,
}

impl House {
    async fn new(directory: &Path, live: usize, garbage: usize) -> io::Result<House> {
        let clock = ManualClock::at(Timestamp::system());
        let options = Options {
            clock: clock.clock(),
            ..Options::default()
        };
        let stores =
            registry_storage::open_with(directory, TokioRuntime::shared(), options).map_err(failed)?;
        let kv = Arc::new(Counting::new(Arc::new(stores.kv)));
        let records = Arc::new(Records::new(
            kv.clone(),
            TokioRuntime::shared(),
            Lifetimes::default(),
        ));
        let blobs: Arc<dyn BlobStore> = Arc::new(stores.bytes);
        // At the default pace both would take the same time, which is the pace's.
        let settings = Settings {
            rate: None,
            ..Settings::default()
        };
        let collector = Collector::new(records.clone(), blobs, TokioRuntime::shared(), settings);
        let written = store::live(&*kv, live, clock.now()).await?;
        Ok(House {
            kv,
            blobs: directory.join("blobs"),
            clock,
            records,
            collector,
            among: Among {
                live,
                records: written,
                garbage,
                rounds: Vec::new(),
            },
        })
    }

    /// Makes garbage, and collects it: condemns, removes and unlinks, in a pass each, as each is due.
    async fn round(&mut self, number: usize) -> io::Result<()> {
        let (kind, count) = (format!("garbage {number}"), self.among.garbage);
        store::garbage(
            &*self.kv,
            &self.blobs,
            &kind,
            count,
            Next::Condemn,
            self.clock.now(),
        )
        .await?;
        self.kv.take();
        let began = Instant::now();
        let mut done = [0; 3];
        for _ in 0..3 {
            let (options, stop) = (RunOptions::default(), Stop::new());
            let summary = self.collector.run(&options, &stop, &mut |_| {}).await;
            let counts = summary.map_err(failed)?.counts;
            done[0] += counts.condemned;
            done[1] += counts.removed;
            done[2] += counts.unlinked;
            // Past the second delay, and past the hold of what is doomed.
            self.clock
                .advance(Lifetimes::default().second_delay + Duration::from_secs(300));
        }
        self.among.rounds.push(Collection {
            seconds: began.elapsed().as_secs_f64(),
            asked: self.kv.take(),
        });
        must(done == [count as u64; 3], || {
            format!("of {count} blobs {done:?} were condemned, removed and unlinked")
        })?;
        for n in 0..count {
            let digest = store::digest(&kind, n);
            let left = self.records.blob_record(&digest).await.map_err(failed)?;
            must(left.is_none(), || format!("{digest} was not collected"))?;
        }
        let digest = store::digest("live", number);
        let live = self.records.blob_record(&digest).await.map_err(failed)?;
        must(live.is_some(), || format!("{digest} is live and was collected"))
    }
}

/// Collects `garbage` blobs among each number of live ones, in turn, `rounds` times.
///
/// # Errors
/// If a store cannot be made, or the collector leaves any garbage.
pub async fn measure(
    directory: &Path,
    live: [usize; 2],
    garbage: usize,
    rounds: usize,
) -> io::Result<[Among; 2]> {
    let [few, many] = live.map(|live| directory.join(format!("live-{live}")));
    let mut few = House::new(&few, live[0], garbage).await?;
    let mut many = House::new(&many, live[1], garbage).await?;
    for number in 0..rounds {
        few.round(number).await?;
        many.round(number).await?;
    }
    Ok([few.among, many.among])
}
