//! `cargo run --release -p benches --bin fsck`: what a check of very many records takes of memory and time, and how fast
//! a deep one hashes beside what the processor can.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clap::Parser;
use futures_executor::block_on;
use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, Kv, Lifetimes, Location, StoreError, Txn};
use registry_core::{BlobRead, Digest};
use registry_storage::kv::{EmbeddedKv, Options};
use registry_storage::records::Records;
use registry_storage::records::check::{self, Report, Told};
use sha2::Digest as _;

/// Checks records of blobs that were never pushed, written straight into the embedded store, and then hashes files. Exits
/// with an error if the memory's peak or the rate is not within its limit.
#[derive(Parser)]
struct Arguments {
    /// Blobs that there are records of; each tenth of them makes a manifest.
    #[arg(long, default_value_t = 100_000)]
    blobs: u64,
    /// Where the stores are made; a new directory below it is removed at the end.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Bytes of files that are hashed, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Limit for the peak of RssAnon, in MiB.
    #[arg(long, default_value_t = 512)]
    limit_mib: u64,
    /// Least ratio of the deep check's rate to one thread's SHA-256.
    #[arg(long, default_value_t = 0.8)]
    ratio: f64,
}

const MIB: u64 = 1 << 20;
/// Length of every blob that has no file.
const LENGTH: u64 = 4096;
/// Blobs of a manifest.
const LAYERS: u64 = 10;
/// Manifests of a repository.
const MANIFESTS: u64 = 1000;
/// Manifests written in one transaction.
const AT_ONCE: u64 = 500;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    let mut failed = Vec::new();

    let began = Instant::now();
    let kv = EmbeddedKv::open(directory.path().join("synthetic"), Options::default())?;
    let records = block_on(fill(&kv, arguments.blobs))?;
    println!(
        "{records} records of {} blobs written in {:.1} s",
        arguments.blobs,
        began.elapsed().as_secs_f64()
    );
    let idle = anonymous_memory()?;
    let checked = check(Arc::new(kv), &Imagined(arguments.blobs), false)?;
    println!(
        "check: {} records, {} blobs, {} locations in {:.1} s, {:.0} blobs/s; RssAnon {:.1} MiB before, {:.1} MiB at its peak",
        checked.report.records,
        checked.report.blobs,
        checked.report.files,
        checked.time.as_secs_f64(),
        arguments.blobs as f64 / checked.time.as_secs_f64(),
        idle as f64 / MIB as f64,
        checked.peak as f64 / MIB as f64
    );
    if checked.report.findings > 0 || checked.report.blobs != arguments.blobs {
        failed.push(format!("the check is wrong: {:?}", checked.report));
    }
    if checked.peak > arguments.limit_mib * MIB {
        failed.push(format!("beyond the limit of {} MiB", arguments.limit_mib));
    }

    let (deep, single) = hash_files(directory.path(), arguments.mib)?;
    let rate = |time: Duration| arguments.mib as f64 / time.as_secs_f64();
    let (deep, single) = (rate(deep), rate(single));
    let ratio = deep / single;
    println!(
        "deep: {deep:.0} MiB/s; SHA-256 of one thread on bytes in memory: {single:.0} MiB/s; ratio {ratio:.2}"
    );
    if ratio < arguments.ratio {
        failed.push(format!("below the ratio of {}", arguments.ratio));
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("; ").into()),
    }
}

struct Checked {
    report: Report,
    time: Duration,
    /// Of RssAnon, in bytes.
    peak: u64,
}

fn check(kv: Arc<dyn Kv>, blobs: &dyn BlobStore, deep: bool) -> Result<Checked, Failure> {
    let records = Records::new(kv, Threads::shared(), Lifetimes::default());
    let (peak, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watcher = {
        let (peak, ended) = (Arc::clone(&peak), Arc::clone(&ended));
        std::thread::spawn(move || -> io::Result<()> {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_memory()?, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })
    };
    let options = check::Options {
        deep,
        ..check::Options::default()
    };
    let began = Instant::now();
    let report = block_on(records.check(blobs, options, &mut |told| {
        if let Told::Found(finding) = told {
            eprintln!("{finding}");
        }
    }));
    let time = began.elapsed();
    ended.store(true, Ordering::Relaxed);
    watcher.join().map_err(|_| "the watcher panicked")??;
    Ok(Checked {
        report: report?,
        time,
        peak: peak.load(Ordering::Relaxed),
    })
}

/// What the process holds that is in no file, in bytes.
fn anonymous_memory() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("the system does not tell"))
}

/// Digests come in order, so that the engine is filled fast.
fn blob_name(n: u64) -> String {
    format!("sha256:{n:016x}{:048x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn file_name(n: u64) -> String {
    let name = format!(
        "{:032x}",
        u128::from(n) << 80 | u128::from(n.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    );
    format!("{}/{name}", &name[..2])
}

/// Writes the records of images that name all of these blobs. How many records.
async fn fill(kv: &EmbeddedKv, blobs: u64) -> Result<u64, Failure> {
    let (mut records, mut txn) = (0, Txn::new());
    let manifests = blobs / LAYERS;
    for m in 0..manifests {
        let id = format!("{:032x}", m / MANIFESTS + 1);
        if m.is_multiple_of(MANIFESTS) {
            let name = format!("bench/{}", m / MANIFESTS);
            txn = txn
                .put(
                    format!("repository/{name}"),
                    format!(r#"{{"v":1,"id":"{id}","created":1}}"#),
                )
                .put(format!("named/{id}"), format!(r#"{{"v":1,"name":"{name}"}}"#));
            records += 2;
        }
        let layers: Vec<String> = (m * LAYERS..(m + 1) * LAYERS).map(blob_name).collect();
        let descriptor =
            |digest: &String| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{LENGTH}}}"#);
        let shown: Vec<String> = layers[1..].iter().map(descriptor).collect();
        let (media_type, config) = (
            "application/vnd.oci.image.manifest.v1+json",
            descriptor(&layers[0]),
        );
        let content = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{config},"layers":[{}]}}"#,
            shown.join(",")
        );
        let (digest, put) = (Digest::sha256(content.as_bytes()), format!("{m:032x}"));
        for (at, layer) in layers.iter().enumerate() {
            let file = file_name(m * LAYERS + at as u64);
            txn = txn
                .put(
                    format!("blob/{layer}"),
                    format!(r#"{{"v":1,"size":{LENGTH},"location":{{"file":"{file}"}},"state":"live"}}"#),
                )
                .put(
                    format!("edge/{layer}/{id}/{put}"),
                    format!(r#"{{"v":1,"manifest":"{digest}"}}"#),
                );
        }
        let size = content.len();
        let named = serde_json::json!({ "blobs": layers, "manifests": [] });
        txn = txn
            .put(
                format!("manifest/{id}/{digest}"),
                format!(r#"{{"v":1,"media_type":"{media_type}","size":{size},"put":"{put}"}}"#),
            )
            .put(format!("content/{id}/{digest}"), content)
            .put(format!("children/{id}/{digest}"), named.to_string());
        records += 2 * LAYERS + 3;
        if (m + 1).is_multiple_of(AT_ONCE) || m + 1 == manifests {
            kv.commit(std::mem::take(&mut txn)).await?;
        }
    }
    Ok(records)
}

/// As many blobs of one length as the records say, of which no byte is anywhere.
struct Imagined(u64);

#[async_trait]
impl BlobStore for Imagined {
    async fn read(&self, location: &Location, _: Range<u64>) -> Result<BlobRead, StoreError> {
        Err(StoreError::Missing(location.clone()))
    }

    async fn size(&self, _: &Location) -> Result<Option<u64>, StoreError> {
        Ok(Some(LENGTH))
    }

    async fn unlink(&self, _: &Location) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        let first = match after {
            Some(Location::File(name)) => {
                let hex = name.split('/').nth(1).unwrap_or_default();
                let number = u128::from_str_radix(hex, 16).unwrap_or(u128::MAX);
                (number >> 80) as u64 + 1
            }
            _ => 0,
        };
        let page = first..self.0.min(first + limit as u64);
        Ok(page.map(|n| Location::File(file_name(n))).collect())
    }
}

/// Hashes files of some MiB by a deep check, and as many bytes in memory by one thread: the best of three runs of each,
/// in turns.
fn hash_files(directory: &Path, mib: u64) -> Result<(Duration, Duration), Failure> {
    let stores = registry_storage::open(directory.join("files"), Threads::shared())?;
    let kv = Arc::new(stores.kv);
    let each = 64.min(mib);
    let block: Vec<u8> = (0..MIB)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let (mut txn, mut files) = (Txn::new(), Vec::new());
    for n in 0..mib / each {
        let (name, mut hasher) = (file_name(n), sha2::Sha256::new());
        let path = directory.join("files/blobs").join(&name);
        std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        let mut file = File::create(&path)?;
        for at in 0..each {
            let mut block = block.clone();
            block[..8].copy_from_slice(&(n * each + at).to_le_bytes());
            hasher.update(&block);
            io::Write::write_all(&mut file, &block)?;
        }
        let hex: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let blob = format!(
            r#"{{"v":1,"size":{},"location":{{"file":"{name}"}},"state":"live"}}"#,
            each * MIB
        );
        txn = txn.put(format!("blob/sha256:{hex}"), blob).put(
            // Far ahead, so that nothing of this is found to be without a hold.
            format!("pending/{:016}/sha256:{hex}", u64::from(u32::MAX) * 1000),
            r#"{"v":1}"#,
        );
        files.push(path);
    }
    block_on(kv.commit(txn))?;
    let (mut deep, mut single) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let began = Instant::now();
        for _ in 0..mib {
            std::hint::black_box(sha2::Sha256::digest(std::hint::black_box(&block)));
        }
        single = single.min(began.elapsed());
        let checked = check(Arc::clone(&kv) as _, &stores.bytes, true)?;
        let report = checked.report;
        if report.findings > 0 || report.hashed != files.len() as u64 * each * MIB {
            return Err(format!("the deep check is wrong: {report:?}").into());
        }
        deep = deep.min(checked.time);
    }
    Ok((deep, single))
}
