//! `cargo run --release -p benches --bin collection`: what collecting garbage costs.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use benches::collection::live::{self, Among};
use benches::collection::peer::{self, Beside, Shape};
use benches::collection::pulls::{self, Load, Pulls};
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Collects the same garbage among few and among many live blobs, and counts the records that are read; measures pulls
/// while the collector works and while it does not; and collects beside distribution's `garbage-collect`. Exits with an error if
/// a figure is beyond its limit, or nothing was measured.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Part::Live, Part::Pulls, Part::Peer])]
    parts: Vec<Part>,
    /// The program to measure; `cargo build --release -p server-hyper` makes it.
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// Distribution's registry, of which the peer is a command.
    #[arg(long, default_value = "docker-registry")]
    distribution: String,
    /// Where stores are made; a new directory below it is removed at the end.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Live blobs of the larger store; the smaller one has a hundredth.
    #[arg(long, default_value_t = 1_000_000)]
    live: usize,
    /// Garbage among them.
    #[arg(long, default_value_t = 1000)]
    garbage: usize,
    /// Rounds, and pairs, of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long pulls are measured each time, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Steps in a second that the collector takes during pulls [default: that of the collector]; a run that cannot keep up
    /// comes to four times its rate, so 800 is the most by default.
    #[arg(long)]
    rate: Option<u32>,
    /// What part of the measured capacity is asked for
    #[arg(long, default_value_t = 0.3)]
    share: f64,
    /// Repositories beside distribution.
    #[arg(long, default_value_t = 2000)]
    repositories: usize,
    /// Bytes of each blob there; what is at most 16384 bytes long is kept in berth's records, and is no file.
    #[arg(long, default_value_t = 17_000)]
    blob_bytes: usize,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Garbage among few and among many live blobs.
    Live,
    /// Pulls during a collection.
    Pulls,
    /// Beside distribution.
    Peer,
}

/// Records read may differ by so much.
const READ: f64 = 1.1;
/// Time may differ by so much.
const TIME: f64 = 1.5;
/// The 99th percentile of pulls may be longer by so much.
const PULLS: f64 = 1.2;

#[derive(Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<[Among; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pulls: Option<Pulls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Beside>,
    figures: Vec<Figure>,
}

/// A figure that decides, and its limit.
#[derive(Serialize)]
struct Figure {
    what: &'static str,
    ratio: f64,
    limit: f64,
    holds: bool,
}

impl Report {
    fn figure(&mut self, what: &'static str, ratio: f64, limit: f64) {
        self.figures.push(Figure {
            what,
            ratio,
            limit,
            holds: ratio <= limit,
        });
    }
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    let directory = std::path::absolute(directory.path()).map(|path| (path, directory))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::default();
    let tell = |part: &str| eprintln!("measuring {part} …");
    if arguments.parts.contains(&Part::Live) {
        tell("garbage among live blobs");
        let live = [arguments.live / 100, arguments.live];
        let measured = live::measure(&directory.0, live, arguments.garbage, arguments.rounds);
        let [few, many] = runtime.block_on(measured)?;
        report.figure("records read, many live to few", many.read() / few.read(), READ);
        report.figure("time, many live to few", many.seconds() / few.seconds(), TIME);
        report.live = Some([few, many]);
    }
    if arguments.parts.contains(&Part::Pulls) {
        tell("pulls during a collection");
        let load = Load {
            pairs: arguments.rounds,
            lasting: Duration::from_secs(arguments.seconds),
            share: arguments.share,
            rate: arguments
                .rate
                .or(registry_gc::Settings::default().rate)
                .unwrap_or(1000),
        };
        let measured = pulls::measure(&runtime, &arguments.berth, &directory.0, load)?;
        report.figure(
            "p99 of pulls, during a collection to without",
            measured.ratio(),
            PULLS,
        );
        report.pulls = Some(measured);
    }
    if arguments.parts.contains(&Part::Peer) {
        tell("berth beside distribution");
        let shape = Shape {
            repositories: arguments.repositories,
            manifests: 5,
            blobs: 5,
            bytes: arguments.blob_bytes,
            one_in: 10,
        };
        report.peer = Some(runtime.block_on(peer::measure(&directory.0, &arguments.distribution, shape))?);
    }
    match arguments.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(match report.figures.iter().all(|figure| figure.holds) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print(report: &Report) {
    if let Some(stores) = &report.live {
        println!(
            "garbage among live blobs: condemned, removed and unlinked; medians of {} rounds",
            stores[0].rounds.len()
        );
        println!(
            "{:>12} {:>12} {:>10} {:>14} {:>10} {:>10}",
            "live blobs", "records", "garbage", "records read", "commits", "seconds"
        );
        for store in stores {
            println!(
                "{:>12} {:>12} {:>10} {:>14.0} {:>10.0} {:>10.3}",
                store.live,
                store.records,
                store.garbage,
                store.read(),
                store.commits(),
                store.seconds()
            );
        }
        println!();
    }
    if let Some(pulls) = &report.pulls {
        println!(
            "pulls (a manifest and 4 blobs) at {:.0} a second, of {:.0} that are possible; latencies in ms from the intended start",
            pulls.offered, pulls.capacity
        );
        println!(
            "{:>6} {:>12} {:>12} {:>12} {:>12} {:>14} {:>14} {:>12}",
            "pair",
            "p50 without",
            "p50 during",
            "p99 without",
            "p99 during",
            "CPU s without",
            "CPU s during",
            "steps taken"
        );
        for (pair, (without, during)) in pulls.without.iter().zip(&pulls.during).enumerate() {
            println!(
                "{:>6} {:>12.2} {:>12.2} {:>12.2} {:>12.2} {:>14.2} {:>14.2} {:>12}",
                pair + 1,
                without.p50,
                during.p50,
                without.p99,
                during.p99,
                without.cpu,
                during.cpu,
                during.steps
            );
        }
        println!();
    }
    if let Some(beside) = &report.peer {
        let shape = beside.shape;
        println!(
            "{} repositories x {} manifests x {} blobs of {} bytes; {} manifests deleted, {} blobs given back",
            shape.repositories, shape.manifests, shape.blobs, shape.bytes, beside.deleted, beside.collected
        );
        println!("{:>44} {:>10} {:>10}", "", "wall s", "CPU s");
        for (what, took) in [
            ("berth, one pass, nobody else at the store", beside.berth),
            ("berth, the first look at all that was pushed", beside.first_look),
            ("distribution, garbage-collect", beside.distribution),
        ] {
            println!("{what:>44} {:>10.2} {:>10.2}", took.wall, took.cpu);
        }
        println!(
            "distribution ({}) takes {:.1} times as long, and {:.1} times the CPU\n",
            beside.version,
            beside.ratio(),
            beside.cpu_ratio()
        );
    }
    for figure in &report.figures {
        let verdict = if figure.holds { "holds" } else { "DOES NOT HOLD" };
        println!(
            "{}: {:.3}, at most {}: {verdict}",
            figure.what, figure.ratio, figure.limit
        );
    }
}
