//! `cargo run --release -p benches --bin abandoned`: what uploads cost that nobody goes on with.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use sha2::{Digest, Sha256};
use trials::server::{Berth, Client};

/// Begins many uploads, sends a little to each and leaves them. Compares starts after SIGKILL, and anonymous memory,
/// with those of a store without them, in turn; then lets the uploads expire, and waits until their files are gone. Exits
/// with an error if starting takes longer, memory grows, or anything stays.
#[derive(Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// Uploads to abandon.
    #[arg(long, default_value_t = 10_000)]
    uploads: usize,
    /// Starts to take the median of, before and after.
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// How many milliseconds the median may be longer after than before.
    #[arg(long, default_value_t = 3.0)]
    limit_ms: f64,
    /// How many MiB of anonymous memory there may be more, in a running server and after a start.
    #[arg(long, default_value_t = 8.0)]
    limit_mib: f64,
    /// Do not wait for the files to be given back, which takes more than a minute.
    #[arg(long)]
    no_wait: bool,
}

/// Clients that begin uploads at once.
const CLIENTS: usize = 16;

/// Uploads that are begun, by as many clients, before memory is compared.
const FIRST: usize = 500;

/// Bytes that are sent to each upload: more than what is kept in the records.
const SENT: usize = 20_000;

/// How long the files may take to go. A doomed location is held for the longest write and a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// Settings under which abandoned uploads are given back soon, though not before the starts were measured. A claim
/// keeps the lifetime under which it was made.
const SOON: [&str; 3] = [
    "lifetimes.upload_idle=30s",
    "lifetimes.longest_write=1s",
    "collector.interval=1s",
];

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let (without, with) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (without, data) = (without.path(), with.path());
    let program = &arguments.berth;
    let berth = Berth::start(program, without)?;
    put_manifest(&berth)?;
    berth.kill()?;

    let berth = Berth::start_with(program, data, soon)?;
    put_manifest(&berth)?;
    // What a server sets up once for clients that come at once is not what the number of uploads costs.
    begin(&berth, FIRST)?;
    let idle = mib(&berth)?;
    let began = Instant::now();
    begin(&berth, arguments.uploads)?;
    let loaded = mib(&berth)?;
    println!(
        "{} uploads begun in {:.1} s; files: {}; anonymous memory {idle:.1} -> {loaded:.1} MiB",
        arguments.uploads,
        began.elapsed().as_secs_f64(),
        files(data)?
    );
    berth.kill()?;
    let [before, after] = starts(program, [without, data], arguments.starts)?;
    println!(
        "process start to first manifest, median of {} after SIGKILL: {:.2} ms without, {:.2} ms with them; anonymous memory then {:.1} and {:.1} MiB",
        arguments.starts, before.millis, after.millis, before.mib, after.mib
    );
    let mut broken = Vec::new();
    if after.millis > before.millis + arguments.limit_ms {
        broken.push(format!(
            "starting takes {:.1} ms longer",
            after.millis - before.millis
        ));
    }
    // A server that has served has buffers; what counts is what the number of uploads adds.
    for (what, grown) in [
        ("while serving", loaded - idle),
        ("after a start", after.mib - before.mib),
    ] {
        if grown > arguments.limit_mib {
            broken.push(format!("anonymous memory grew by {grown:.1} MiB {what}"));
        }
    }
    if !arguments.no_wait {
        let (took, peak, left) = given_back(program, data)?;
        println!(
            "expired and given back in {:.1} s, with at most {peak:.1} MiB; files left: {left}",
            took.as_secs_f64()
        );
        if left > 0 {
            broken.push(format!("{left} files stay"));
        }
        if peak - before.mib > arguments.limit_mib {
            broken.push(format!("giving back took {:.1} MiB", peak - before.mib));
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        broken => Err(io::Error::other(broken.join("; "))),
    }
}

/// What a start costs: the median time to the first manifest, and the largest anonymous memory then.
struct Starts {
    millis: f64,
    mib: f64,
}

fn starts(program: &Path, stores: [&Path; 2], count: usize) -> io::Result<[Starts; 2]> {
    let mut found = [const { (Vec::new(), 0.0_f64) }; 2];
    for _ in 0..count {
        // In turn, so that a busy machine is as busy for both.
        for ((times, largest), data) in found.iter_mut().zip(stores) {
            let began = Instant::now();
            let berth = Berth::start(program, data)?;
            Client::connect(berth.address)?
                .get("GET", "/v2/kept/manifests/v1")?
                .expect(200)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            *largest = largest.max(mib(&berth)?);
            berth.kill()?;
        }
    }
    Ok(found.map(|(mut times, mib)| {
        times.sort_by(f64::total_cmp);
        Starts {
            millis: times[times.len() / 2],
            mib,
        }
    }))
}

/// Sets [`SOON`].
fn soon(berth: &mut Command) {
    berth.args(SOON.iter().flat_map(|setting| ["--set", setting]));
}

fn mib(berth: &Berth) -> io::Result<f64> {
    Ok(berth.anonymous_memory()? as f64 / f64::from(1 << 20))
}

fn put_manifest(berth: &Berth) -> io::Result<()> {
    let manifest =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let media_type = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";
    let mut client = Client::connect(berth.address)?;
    let length = manifest.len() as u64;
    let put = client.send("PUT", "/v2/kept/manifests/v1", media_type, length, |stream| {
        stream.write_all(manifest)
    })?;
    put.expect(201)?;
    // Once around the way that a blob takes, so that its buffers are there before memory is compared.
    let blob = vec![7; SENT];
    let digest = Sha256::digest(&blob);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = format!("/v2/kept/blobs/uploads/?digest=sha256:{digest}");
    client
        .send("POST", &path, "", SENT as u64, |stream| stream.write_all(&blob))?
        .expect(201)
        .map(drop)
}

fn begin(berth: &Berth, uploads: usize) -> io::Result<()> {
    let address = berth.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|first| {
            std::thread::spawn(move || -> io::Result<()> {
                let mut client = Client::connect(address)?;
                let bytes = vec![first as u8; SENT];
                for _ in (first..uploads).step_by(CLIENTS) {
                    let begun = client.get("POST", "/v2/left/blobs/uploads/")?.expect(202)?;
                    let location = begun
                        .location
                        .ok_or_else(|| io::Error::other("an upload without a Location"))?;
                    client
                        .send("PATCH", &location, "", SENT as u64, |stream| {
                            stream.write_all(&bytes)
                        })?
                        .expect(202)?;
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client
            .join()
            .map_err(|_| io::Error::other("a client panicked"))??;
    }
    Ok(())
}

/// Starts a server that looks often, and waits for the files to go: how long that takes, the largest
/// anonymous memory meanwhile, and the files that are left beside the one blob.
fn given_back(program: &Path, data: &Path) -> io::Result<(Duration, f64, usize)> {
    let berth = Berth::start_with(program, data, soon)?;
    let (began, mut peak) = (Instant::now(), 0.0_f64);
    loop {
        peak = peak.max(mib(&berth)?);
        let left = files(data)?.saturating_sub(1);
        if left == 0 || began.elapsed() > PATIENCE {
            let took = began.elapsed();
            berth.stop()?;
            return Ok((took, peak, left));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Files of blobs and uploads.
fn files(data: &Path) -> io::Result<usize> {
    let mut count = 0;
    for directory in std::fs::read_dir(data.join("blobs"))? {
        let directory = directory?;
        if directory.file_type()?.is_dir() {
            count += std::fs::read_dir(directory.path())?.count();
        }
    }
    Ok(count)
}
