//! `cargo run --release -p benches --bin memory`: what many large pushes and pulls at once take of memory.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::place::Place;
use clap::Parser;
use sha2::{Digest, Sha256};
use trials::server::{Berth, Client};

/// Measures the anonymous memory of `berth` while many clients push and as many pull large blobs, all at once. Exits
/// with an error if the peak is beyond the limit.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Pushes at once, and as many pulls.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Size of each blob, in MiB.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Limit for the peak, in MiB.
    #[arg(long, default_value_t = 48)]
    limit_mib: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

const MIB: usize = 1 << 20;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let data = tempfile::tempdir_in(&arguments.place.directory)?;
    let berth = Berth::start(&arguments.place.berth, data.path())?;
    let idle = berth.anonymous_memory()?;

    let pulled = Content::new(1, arguments.mib);
    push(berth.address, "pulled/blob", &pulled)?;
    // One content for all pushes: each is received, hashed and written in full, and only then found to be known.
    let pushed = Arc::new(Content::new(2, arguments.mib));

    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for n in 0..arguments.clients {
        let (address, content, path) = (
            berth.address,
            pushed.clone(),
            format!("/v2/pulled/blob/blobs/{}", pulled.digest),
        );
        let length = pulled.length();
        clients.push(std::thread::spawn(move || {
            push(address, &format!("pushed/blob{n}"), &content)
        }));
        clients.push(std::thread::spawn(move || {
            let reply = Client::connect(address)?.get("GET", &path)?.expect(200)?;
            if reply.length == length {
                Ok(())
            } else {
                Err(io::Error::other("a pull was short"))
            }
        }));
    }
    let watched = done.clone();
    let watcher = std::thread::spawn(move || {
        let mut peak = 0;
        while !watched.load(Ordering::Relaxed) {
            peak = peak.max(berth.anonymous_memory()?);
            std::thread::sleep(Duration::from_millis(20));
        }
        io::Result::Ok((peak, berth))
    });
    let results: Vec<io::Result<()>> = clients
        .into_iter()
        .map(|client| {
            client
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        })
        .collect();
    done.store(true, Ordering::Relaxed);
    let (peak, berth) = watcher
        .join()
        .map_err(|_| io::Error::other("the watcher panicked"))??;
    results.into_iter().collect::<io::Result<Vec<()>>>()?;
    let seconds = began.elapsed().as_secs_f64();
    berth.stop()?;

    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let (clients, size) = (arguments.clients, arguments.mib);
    if arguments.json {
        println!(
            "{{\"pushes\":{clients},\"pulls\":{clients},\"blob_mib\":{size},\"idle_rss_anon_mib\":{:.1},\"peak_rss_anon_mib\":{:.1},\"seconds\":{seconds:.1}}}",
            mib(idle),
            mib(peak)
        );
    } else {
        println!(
            "{clients} pushes and {clients} pulls of {size} MiB at once, {seconds:.1} s: RssAnon {:.1} MiB idle, {:.1} MiB at its peak",
            mib(idle),
            mib(peak)
        );
    }
    if mib(peak) > arguments.limit_mib as f64 {
        return Err(io::Error::other(format!(
            "beyond the limit of {} MiB",
            arguments.limit_mib
        )));
    }
    Ok(())
}

/// Some MiB of bytes that no two of these share.
struct Content {
    block: Vec<u8>,
    blocks: u64,
    digest: String,
}

impl Content {
    fn new(seed: u64, mib: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let block: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(MIB / 8)
        .flatten()
        .collect();
        let mut hasher = Sha256::new();
        (0..mib).for_each(|_| hasher.update(&block));
        let hex: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Content {
            block,
            blocks: mib,
            digest: format!("sha256:{hex}"),
        }
    }

    fn length(&self) -> u64 {
        self.blocks * MIB as u64
    }
}

fn push(address: SocketAddr, repository: &str, content: &Content) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    let begun = client
        .get("POST", &format!("/v2/{repository}/blobs/uploads/"))?
        .expect(202)?;
    let location = begun.location.ok_or_else(|| io::Error::other("no Location"))?;
    let path = format!("{location}?digest={}", content.digest);
    let reply = client.send("PUT", &path, "", content.length(), |stream| {
        (0..content.blocks).try_for_each(|_| stream.write_all(&content.block))
    })?;
    reply.expect(201).map(drop)
}
