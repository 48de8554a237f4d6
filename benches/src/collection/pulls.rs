//! Pulls while the collector works, and while it has nothing to do.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use registry_core::Timestamp;
use registry_core::store::Kv;
use serde::Serialize;
use server_hyper::TokioRuntime;
use sha2::{Digest, Sha256};
use trials::server::{Berth, Client};

use super::store::{self, Next};
use super::{failed, median, must};
use crate::load::meter::Meter;

/// Clients that pull at once, at most.
const CLIENTS: usize = 16;

/// The sizes of an image's blobs: a small one that is kept in the records, and files.
const BLOBS: [usize; 4] = [2 << 10, 64 << 10, 64 << 10, 256 << 10];

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Pairs of one measurement without and one during a collection.
    pub pairs: usize,
    /// How long each takes.
    pub lasting: Duration,
    /// What part of the measured capacity is asked for.
    pub share: f64,
    /// Steps in a second that the collector is to take: there is garbage for all of the time.
    pub rate: u32,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Pulls.
    pub pulls: usize,
    /// Latencies in milliseconds, from the moment at which each was to begin.
    pub p50: f64,
    /// The same.
    pub p99: f64,
    /// Seconds of processors that the server took.
    pub cpu: f64,
    /// Steps that the collector took meanwhile.
    pub steps: u64,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub struct Pulls {
    /// Pulls in a second that the server and its clients manage without a pause.
    pub capacity: f64,
    /// Pulls in a second that were asked for.
    pub offered: f64,
    /// Without a collection.
    pub without: Vec<Measured>,
    /// During one.
    pub during: Vec<Measured>,
}

impl Pulls {
    /// The median of the pairs' ratios of the 99th percentile.
    pub fn ratio(&self) -> f64 {
        let pairs = self.during.iter().zip(&self.without);
        median(pairs.map(|(during, without)| during.p99 / without.p99))
    }
}

/// An image as a client pulls it: the paths of its requests.
struct Image {
    paths: Vec<String>,
}

impl Image {
    fn push(address: SocketAddr) -> io::Result<Image> {
        let mut client = Client::connect(address)?;
        let mut paths = vec!["/v2/pulled/image/manifests/latest".to_owned()];
        let mut descriptors = Vec::new();
        for (n, size) in BLOBS.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|at| (at * (n + 3) % 251) as u8).collect();
            let digest = digest(&bytes);
            let path = format!("/v2/pulled/image/blobs/uploads/?digest={digest}");
            let length = bytes.len() as u64;
            client
                .send("POST", &path, "", length, |stream| stream.write_all(&bytes))?
                .expect(201)?;
            paths.push(format!("/v2/pulled/image/blobs/{digest}"));
            descriptors.push(format!(
                r#"{{"mediaType":"application/x","digest":"{digest}","size":{size}}}"#
            ));
        }
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            descriptors[0],
            descriptors[1..].join(",")
        );
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        client
            .send("PUT", &paths[0], kind, manifest.len() as u64, |stream| {
                stream.write_all(manifest.as_bytes())
            })?
            .expect(201)?;
        Ok(Image { paths })
    }

    fn pull(&self, client: &mut Client) -> io::Result<()> {
        for path in &self.paths {
            client.get("GET", path)?.expect(200)?;
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Runs `work` in each of the clients at once.
fn clients<T: Send>(
    address: SocketAddr,
    work: impl Fn(&mut Client) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| work(&mut Client::connect(address)?)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(failed("a client panicked"))))
            .collect()
    })
}

/// Pulls in a second when every client pulls without a pause.
fn capacity(address: SocketAddr, image: &Image, lasting: Duration) -> io::Result<f64> {
    let began = Instant::now();
    let pulls = clients(address, |client| {
        let mut pulls = 0_u64;
        while began.elapsed() < lasting {
            image.pull(client)?;
            pulls += 1;
        }
        Ok(pulls)
    })?;
    Ok(pulls.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

/// Latencies in milliseconds at an offered rate. Each pull has a moment at which it is to begin, whatever became of the
/// ones before: if the server stands still, all that were to begin meanwhile have waited.
fn offered(address: SocketAddr, image: &Image, rate: f64, lasting: Duration) -> io::Result<Vec<f64>> {
    let total = (rate * lasting.as_secs_f64()) as u64;
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let latencies = clients(address, |client| {
        let mut latencies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= total {
                return Ok(latencies);
            }
            let due = began + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            image.pull(client)?;
            latencies.push(due.elapsed().as_secs_f64() * 1000.0);
        }
    })?;
    let mut latencies = latencies.concat();
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// Opens the records of a store that nobody serves.
fn records(data: &Path) -> io::Result<std::sync::Arc<dyn Kv>> {
    let stores = registry_storage::open(data, TokioRuntime::shared()).map_err(failed)?;
    Ok(std::sync::Arc::new(stores.kv))
}

/// How many of these records have a time, as `at` tells it, that has come.
async fn count_due(kv: &dyn Kv, table: &str, at: impl Fn(&str, &[u8]) -> Option<u64>) -> io::Result<u64> {
    let now = Timestamp::system().0;
    let (mut due, mut after) = (0, None::<String>);
    loop {
        let page = kv.scan(table, after.as_deref(), 1000).await.map_err(failed)?;
        let Some((last, _)) = page.last() else {
            return Ok(due);
        };
        after = Some(last.clone());
        let has_come = |at: Option<u64>| at.is_some_and(|at| at <= now);
        due += page
            .iter()
            .filter(|(key, entry)| has_come(at(key, &entry.value)))
            .count() as u64;
    }
}

/// What the collector has to do: steps on blobs, and locations to unlink.
async fn due(kv: &dyn Kv) -> io::Result<u64> {
    let blobs = count_due(kv, "pending/", |key, _| key.split('/').nth(1)?.parse().ok());
    let locations = count_due(kv, "doomed/", |_, value| {
        let record: serde_json::Value = serde_json::from_slice(value).ok()?;
        record["not_before"].as_u64()
    });
    Ok(blobs.await? + locations.await?)
}

/// Measures pairs in turn, each on a server of its own that was just started; the one of each pair that comes first changes.
///
/// # Errors
/// If a server cannot be run, a pull fails, or the collector did not work all of the time.
pub fn measure(
    runtime: &tokio::runtime::Runtime,
    program: &Path,
    directory: &Path,
    load: Load,
) -> io::Result<Pulls> {
    // One in which there is never any garbage, and one that has more of it before each of its measurements.
    let [clean, dirty] = ["clean", "dirty"].map(|name| directory.join(name));
    std::fs::create_dir_all(&dirty)?;
    std::fs::create_dir_all(&clean)?;
    let berth = Berth::start(program, &dirty)?;
    let image = Image::push(berth.address)?;
    berth.stop()?;
    let berth = Berth::start(program, &clean)?;
    Image::push(berth.address)?;
    capacity(berth.address, &image, Duration::from_secs(1))?;
    let capacity = capacity(berth.address, &image, load.lasting.min(Duration::from_secs(5)))?;
    berth.stop()?;

    let mut pulls = Pulls {
        capacity,
        offered: capacity * load.share,
        without: Vec::new(),
        during: Vec::new(),
    };
    for pair in 0..load.pairs {
        for during in [pair % 2 == 1, pair % 2 == 0] {
            match during {
                true => {
                    let before = runtime.block_on(litter(&dirty, pair, load))?;
                    let mut measured = serve(program, &dirty, &image, pulls.offered, load)?;
                    let after = runtime.block_on(async { due(&*records(&dirty)?).await })?;
                    must(after > 0, || {
                        "the collector had nothing left to do at the end".into()
                    })?;
                    measured.steps = before.saturating_sub(after);
                    let expected = load.lasting.as_secs_f64() * f64::from(load.rate);
                    must(measured.steps as f64 > 0.5 * expected, || {
                        format!(
                            "the collector took {} steps, not about {expected}",
                            measured.steps
                        )
                    })?;
                    pulls.during.push(measured);
                }
                false => {
                    let measured = serve(program, &clean, &image, pulls.offered, load)?;
                    pulls.without.push(measured);
                }
            }
        }
    }
    Ok(pulls)
}

/// Makes garbage for longer than the measurement: a step for each moment and half as much again, of each kind. Gives how
/// many steps are due.
async fn litter(data: &Path, pair: usize, load: Load) -> io::Result<u64> {
    let kv = records(data)?;
    let steps = (load.lasting.as_secs_f64() + 2.0) * f64::from(load.rate) * 1.5;
    let quarter = (steps / 4.0) as usize;
    for (kind, count, waits) in [
        ("condemn", quarter, Next::Condemn),
        ("remove", quarter, Next::Remove),
        ("unlink", 2 * quarter, Next::Unlink),
    ] {
        let kind = format!("{kind} {pair}");
        store::garbage(
            &*kv,
            &data.join("blobs"),
            &kind,
            count,
            waits,
            Timestamp::system(),
        )
        .await?;
    }
    // Nor is the kernel still to write it while pulls are measured.
    rustix::fs::syncfs(std::fs::File::open(data)?)?;
    due(&*kv).await
}

/// Starts a server, and measures pulls from it.
fn serve(program: &Path, data: &Path, image: &Image, offer: f64, load: Load) -> io::Result<Measured> {
    let pace = format!("collector.rate={}", load.rate);
    let berth = Berth::start_with(program, data, |command| {
        // Nothing else is to work in the background.
        command.args(["--set", "scrub.interval=off", "--set", &pace]);
    })?;
    let meter = Meter::of(berth.id())?;
    let latencies = offered(berth.address, image, offer, load.lasting)?;
    let cpu = meter.spent().cpu;
    berth.stop()?;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Measured {
        pulls: latencies.len(),
        p50: at(0.50),
        p99: at(0.99),
        cpu,
        steps: 0,
    })
}
