//! What pulls that wait for the disk cost requests that do not: manifests over one connection, alone and while clients pull blobs
//! that are not in memory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use registry_core::Digest;
use registry_core::store::forget_cached;
use trials::server::{Berth, Client};

/// What is measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// Blobs, each pulled by a client of its own
    #[arg(long, default_value_t = Plan::default().pulls)]
    pub pulls: usize,
    /// Size of each, in MiB
    #[arg(long, default_value_t = Plan::default().mib)]
    pub mib: usize,
    /// Pairs of one measurement alone and one during pulls
    #[arg(long, default_value_t = Plan::default().rounds)]
    pub rounds: usize,
    /// How long each takes, in seconds
    #[arg(long, default_value_t = Plan::default().seconds)]
    pub seconds: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            pulls: 4,
            mib: 128,
            rounds: 3,
            seconds: 5,
        }
    }
}

/// Latencies of manifests in one measurement.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Measured {
    /// Whether clients pulled meanwhile.
    pub during: bool,
    /// Half took no longer, in milliseconds.
    pub p50: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
    /// Megabytes a second of what was not in memory.
    pub cold: f64,
}

/// The median of each figure over the measurements alone, or over those during pulls.
pub fn median(all: &[Measured], during: bool) -> Measured {
    let of = |figure: fn(&Measured) -> f64| {
        let chosen = all.iter().filter(|one| one.during == during);
        let mut values: Vec<f64> = chosen.map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Measured {
        during,
        p50: of(|one| one.p50),
        p99: of(|one| one.p99),
        p999: of(|one| one.p999),
        cold: of(|one| one.cold),
    }
}

/// Measures in turn on a berth of its own, whose store is in a new directory below `directory`.
///
/// # Errors
/// If it does not start, or refuses anything.
pub fn measured(berth: &Path, directory: &Path, plan: Plan) -> io::Result<Vec<Measured>> {
    let data = tempfile::tempdir_in(directory)?;
    let berth = Berth::start_with(berth, data.path(), |command| {
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
    for number in 0..plan.pulls {
        let bytes: Vec<u8> = (0..plan.mib << 20)
            .map(|at| (at % (65_521 - number)) as u8)
            .collect();
        blobs.push(format!("/v2/cold/image/blobs/{}", push(berth.address, &bytes)?));
    }
    let lasting = Duration::from_secs(plan.seconds);
    let mut all = Vec::new();
    for round in 0..plan.rounds {
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
    Ok(all)
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
