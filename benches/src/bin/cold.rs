//! `cargo run --release -p benches --bin cold`: what pulls that wait for the disk cost those that do not.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::place::Place;
use clap::Parser;
use registry_core::Digest;
use registry_core::store::forget_cached;
use trials::server::{Berth, Client};

/// Measures manifests, which are in memory, alone and while large blobs are pulled of which nothing is in memory, in turn. A
/// server whose polling threads wait for the disk makes the manifests wait too.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Large blobs, each pulled by a client of its own
    #[arg(long, default_value_t = 4)]
    pulls: usize,
    /// Size of each, in MiB
    #[arg(long, default_value_t = 128)]
    mib: usize,
    /// Pairs of one measurement alone and one during pulls
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each takes, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Measured {
    during: bool,
    /// In milliseconds.
    p50: f64,
    p99: f64,
    p999: f64,
    /// Megabytes a second of what was not in memory.
    cold: f64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cold: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let data = tempfile::tempdir_in(&arguments.place.directory)?;
    let berth = Berth::start_with(&arguments.place.berth, data.path(), |command| {
        command.args(["--set", "scrub.interval=off", "--set", "blobs.verify=off"]);
    })?;
    let small = push(berth.address, b"a small one")?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{small}","size":11}},"layers":[]}}"#
    );
    let head = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    Client::connect(berth.address)?
        .send(
            "PUT",
            "/v2/cold/image/manifests/latest",
            head,
            manifest.len() as u64,
            |stream| stream.write_all(manifest.as_bytes()),
        )?
        .expect(201)?;
    let mut blobs = Vec::new();
    for number in 0..arguments.pulls {
        let bytes: Vec<u8> = (0..arguments.mib << 20)
            .map(|at| (at % (65_521 - number)) as u8)
            .collect();
        blobs.push(format!("/v2/cold/image/blobs/{}", push(berth.address, &bytes)?));
    }
    let lasting = Duration::from_secs(arguments.seconds);
    let mut all = Vec::new();
    for round in 0..arguments.rounds {
        for during in [round % 2 == 1, round % 2 == 0] {
            let pulled = if during { &blobs[..] } else { &[] };
            all.push(measure(
                berth.address,
                &data.path().join("blobs"),
                pulled,
                lasting,
            )?);
        }
    }
    berth.stop()?;
    if arguments.json {
        println!("{}", serde_json::json!({ "measured": all }));
        return Ok(());
    }
    println!(
        "manifests over one connection, in ms; {} clients pull blobs of {} MiB that are not in memory",
        arguments.pulls, arguments.mib
    );
    println!(
        "{:<14} {:>8} {:>8} {:>8} {:>12}",
        "", "p50", "p99", "p99.9", "cold MB/s"
    );
    for one in &all {
        let what = if one.during { "during pulls" } else { "alone" };
        println!(
            "{what:<14} {:>8.3} {:>8.3} {:>8.3} {:>12.0}",
            one.p50, one.p99, one.p999, one.cold
        );
    }
    Ok(())
}

fn push(address: SocketAddr, bytes: &[u8]) -> io::Result<Digest> {
    let digest = Digest::sha256(bytes);
    let path = format!("/v2/cold/image/blobs/uploads/?digest={digest}");
    Client::connect(address)?
        .send("POST", &path, "", bytes.len() as u64, |stream| {
            stream.write_all(bytes)
        })?
        .expect(201)?;
    Ok(digest)
}

/// Has the system forget what it has of any blob.
fn forget(blobs: &Path) -> io::Result<()> {
    for directory in fs::read_dir(blobs)? {
        let directory = directory?.path();
        if directory.is_dir() {
            for file in fs::read_dir(directory)? {
                forget_cached(&File::open(file?.path())?);
            }
        }
    }
    Ok(())
}

fn measure(address: SocketAddr, files: &Path, pulled: &[String], lasting: Duration) -> io::Result<Measured> {
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (mut latencies, bytes) = thread::scope(|scope| {
        let pulls: Vec<_> = pulled
            .iter()
            .map(|path| {
                let over = &over;
                scope.spawn(move || {
                    let (mut client, mut bytes) = (Client::connect(address)?, 0);
                    while !over.load(Ordering::Relaxed) {
                        forget(files)?;
                        bytes += client.get("GET", path)?.expect(200)?.length;
                    }
                    io::Result::Ok(bytes)
                })
            })
            .collect();
        let ask = || {
            let (mut client, mut latencies) = (Client::connect(address)?, Vec::new());
            while began.elapsed() < lasting {
                let asked = Instant::now();
                client
                    .get("GET", "/v2/cold/image/manifests/latest")?
                    .expect(200)?;
                latencies.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            io::Result::Ok(latencies)
        };
        let latencies = ask();
        over.store(true, Ordering::Relaxed);
        let mut bytes = 0;
        for pull in pulls {
            bytes += pull
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
        }
        io::Result::Ok((latencies?, bytes))
    })?;
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Measured {
        during: !pulled.is_empty(),
        p50: at(0.50),
        p99: at(0.99),
        p999: at(0.999),
        cold: bytes as f64 / 1e6 / began.elapsed().as_secs_f64(),
    })
}
