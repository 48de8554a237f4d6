//! `cargo run --release -p benches --bin start`: from the start of the process to the first manifest by tag.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use benches::accounts;
use clap::Parser;
use sha2::{Digest, Sha256};
use trials::server::{Berth, Client};

/// Measures how long `berth` takes from process start to the answer of its first manifest GET by tag, on a store with
/// many tags: open to everybody, after a clean stop and after SIGKILL, and with accounts, of a project that is public. Exits with an
/// error if a median is beyond the limit.
#[derive(Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// Tags in the store.
    #[arg(long, default_value_t = 1_000_000)]
    tags: u32,
    /// Starts after a clean stop, and as many after a kill.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Limit for the median, in milliseconds.
    #[arg(long, default_value_t = 100)]
    limit_ms: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What the repository is in.
const PROJECT: &str = "many";

/// Tags that one request adds.
const TAGS_AT_ONCE: u32 = 50;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let data = tempfile::tempdir()?;
    let began = Instant::now();
    let berth = Berth::start(&arguments.berth, data.path())?;
    fill(&berth, arguments.tags, !arguments.json)?;
    berth.stop()?;
    if !arguments.json {
        println!(
            "{} tags put in {:.1} s",
            arguments.tags,
            began.elapsed().as_secs_f64()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(accounts::made(data.path(), PROJECT, true))?;
    let (mut clean, mut killed, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let tag = (round as u32 * 7919) % arguments.tags;
        let open = |data: &Path| Berth::start(&arguments.berth, data);
        let (berth, time) = first_manifest(open, data.path(), tag)?;
        clean.push(time);
        // The next start follows a kill in the middle of writes.
        write_until_killed(berth)?;
        let (berth, time) = first_manifest(open, data.path(), tag)?;
        killed.push(time);
        berth.stop()?;
        let with_accounts = |data: &Path| Berth::start_closed(&arguments.berth, data, |_| {});
        let (berth, time) = first_manifest(with_accounts, data.path(), tag)?;
        closed.push(time);
        berth.stop()?;
    }
    let limit = Duration::from_millis(arguments.limit_ms);
    let within = [
        ("open, after a clean stop", &mut clean),
        ("open, after SIGKILL", &mut killed),
        ("with accounts, after a clean stop", &mut closed),
    ]
    .map(|(start, times)| {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        if arguments.json {
            println!(
                "{{\"start\":\"{start}\",\"tags\":{},\"starts\":{},\"median_ms\":{:.1},\"worst_ms\":{:.1}}}",
                arguments.tags,
                times.len(),
                median.as_secs_f64() * 1e3,
                worst.as_secs_f64() * 1e3
            );
        } else {
            println!(
                "first manifest by tag, {start}: median {:.1} ms, worst {:.1} ms of {}",
                median.as_secs_f64() * 1e3,
                worst.as_secs_f64() * 1e3,
                times.len()
            );
        }
        median <= limit
    });
    if within.contains(&false) {
        return Err(io::Error::other(format!(
            "beyond the limit of {} ms",
            arguments.limit_ms
        )));
    }
    Ok(())
}

fn first_manifest(
    start: impl Fn(&Path) -> io::Result<Berth>,
    data: &Path,
    tag: u32,
) -> io::Result<(Berth, Duration)> {
    let began = Instant::now();
    let berth = start(data)?;
    Client::connect(berth.address)?
        .get("GET", &format!("/v2/{PROJECT}/tags/manifests/t{tag:07}"))?
        .expect(200)?;
    Ok((berth, began.elapsed()))
}

fn fill(berth: &Berth, tags: u32, progress: bool) -> io::Result<()> {
    let mut client = Client::connect(berth.address)?;
    let (manifest, digest) = manifest();
    for first in (0..tags).step_by(TAGS_AT_ONCE as usize) {
        let names = first..tags.min(first + TAGS_AT_ONCE);
        let query: Vec<String> = names.map(|tag| format!("tag=t{tag:07}")).collect();
        put(&mut client, &format!("{digest}?{}", query.join("&")), manifest)?;
        if progress && first % 100_000 == 0 && first > 0 {
            eprintln!("{first} of {tags} tags");
        }
    }
    Ok(())
}

/// A manifest that names nothing, so that it can be put by itself.
fn manifest() -> (&'static [u8], String) {
    let manifest =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let digest = Sha256::digest(manifest);
    (
        manifest,
        format!(
            "sha256:{}",
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
    )
}

fn put(client: &mut Client, reference: &str, manifest: &[u8]) -> io::Result<()> {
    let path = format!("/v2/{PROJECT}/tags/manifests/{reference}");
    let media_type = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";
    let reply = client.send("PUT", &path, media_type, manifest.len() as u64, |stream| {
        stream.write_all(manifest)
    })?;
    reply.expect(201).map(drop)
}

/// Kills the server while writers are at it.
fn write_until_killed(berth: Berth) -> io::Result<()> {
    let address = berth.address;
    let mut first = Client::connect(address)?;
    put(&mut first, "before-the-kill", manifest().0)?;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            std::thread::spawn(move || {
                let Ok(mut client) = Client::connect(address) else {
                    return;
                };
                // Ends with the connection, that is, with the server.
                for n in 0..100_000 {
                    if put(&mut client, &format!("w{writer}-{n}"), manifest().0).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    berth.kill()?;
    for writer in writers {
        writer.join().map_err(|_| io::Error::other("a writer panicked"))?;
    }
    Ok(())
}
