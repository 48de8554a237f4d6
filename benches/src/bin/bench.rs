//! berth beside its peers, in one run, as ratios.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use benches::load::beside::Beside;
use benches::load::compare::{Compared, Figure, Plan, Spread, compare};
use benches::load::document::{About, CHART, chart, markdown};
use benches::load::report::Row;
use benches::load::scenario::{SCENARIOS, Scenario};
use benches::load::servers::Server;
use benches::{cold, lists};
use clap::Parser;

/// Tags of a short list and of a long one, and repositories.
const LISTS: [usize; 3] = [1000, 1_000_000, 200_000];

/// Rounds of pages of each.
const LISTED: usize = 5;

/// Measures berth and its peers with the same load in turn, and prints ratios.
///
/// Servers listen on loopback, each with a new store below the system's directory for temporary files, and end with the command. Of
/// every figure the median of the rounds is told; ratios are those of berth to the other in the same round.
#[derive(Parser)]
struct Arguments {
    /// By name (see `load list`); all of them if none is named
    scenarios: Vec<String>,
    /// berth
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// distribution 2.8's `registry`
    #[arg(long)]
    distribution2: Option<PathBuf>,
    /// distribution 3's `registry`
    #[arg(long)]
    distribution3: Option<PathBuf>,
    /// zot
    #[arg(long)]
    zot: Option<PathBuf>,
    /// Another berth, such as one before a change
    #[arg(long)]
    before: Option<PathBuf>,
    /// nginx
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// The program `load` of this package, for the floor
    #[arg(long)]
    floor: Option<PathBuf>,
    /// `GOGC` that programs written in Go are tried with beside their default; the faster counts
    #[arg(long)]
    gogc: Option<u32>,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Take this share of the time for each
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// Write the figures as a document and a chart into this directory: benchmarks.md and benchmarks.svg
    #[arg(long)]
    document: Option<PathBuf>,
    /// The command that the document names
    #[arg(long, default_value = "bench")]
    command: String,
    /// Print a line of JSON for each scenario instead
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.and_then(|runtime| {
        let all = runtime.block_on(arguments.run())?;
        arguments.beside(&runtime, &all)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn servers(&self) -> Vec<Server> {
        let mut servers = vec![Server::Berth(self.berth.clone())];
        servers.extend(self.before.clone().map(Server::Before));
        for (program, name) in [
            (&self.distribution2, "distribution 2"),
            (&self.distribution3, "distribution 3"),
        ] {
            servers.extend(program.clone().map(|program| Server::Distribution {
                program,
                name,
                gogc: None,
            }));
        }
        servers.extend(self.zot.clone().map(Server::Zot));
        servers.extend(self.nginx.clone().map(|program| Server::Nginx {
            program,
            nopush: true,
        }));
        servers.extend(self.floor.clone().map(Server::Floor));
        servers
    }

    async fn run(&self) -> io::Result<Vec<Compared>> {
        let servers = self.servers();
        if !self.json {
            for server in &servers {
                println!("{:<22} {}", server.name(), server.version());
            }
        }
        let plan = Plan {
            rounds: self.rounds,
            share: self.share,
            gogc: self.gogc,
        };
        let mut all = Vec::new();
        for (number, scenario) in self.chosen()?.iter().enumerate() {
            let directory = tempfile::tempdir()?;
            let salt = (u64::from(std::process::id()) << 32) + ((number as u64) << 16);
            let mut progress = |row: &Row| {
                if !self.json {
                    eprintln!("{}", row.line());
                }
            };
            let compared = compare(scenario, &servers, plan, directory.path(), salt, &mut progress)
                .await
                .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", scenario.name)))?;
            match self.json {
                true => println!("{}", serde_json::to_string(&compared)?),
                false => print(&compared),
            }
            all.push(compared);
            self.document(&all, &Beside::default())?;
        }
        Ok(all)
    }

    /// Measures what the document has beside the scenarios.
    fn beside(&self, runtime: &tokio::runtime::Runtime, all: &[Compared]) -> io::Result<()> {
        if self.document.is_none() {
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let mut beside = Beside {
            cold: cold::measured(&self.berth, directory.path(), cold::Plan::default())?,
            ..Beside::default()
        };
        let store = directory.path().join("lists");
        beside.lists = lists::measure(runtime, &self.berth, &store, LISTS, LISTED)?;
        self.document(all, &beside)
    }

    /// Writes what is known so far.
    fn document(&self, all: &[Compared], beside: &Beside) -> io::Result<()> {
        let Some(directory) = &self.document else {
            return Ok(());
        };
        let about = About {
            command: self.command.clone(),
            servers: self.servers(),
            rounds: self.rounds,
        };
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("benchmarks.md"), markdown(all, beside, &about))?;
        std::fs::write(directory.join(CHART), chart(all))
    }

    fn chosen(&self) -> io::Result<Vec<Scenario>> {
        if self.scenarios.is_empty() {
            return Ok(SCENARIOS.to_vec());
        }
        let named = |name: &String| {
            Scenario::named(name)
                .ok_or_else(|| io::Error::other(format!("there is no scenario {name}; see `load list`")))
        };
        self.scenarios.iter().map(named).collect()
    }
}

/// A table of one scenario: medians, and berth's figures as multiples of the other's.
fn print(compared: &Compared) {
    let (unit, cpu) = compared.cost();
    let rate: Figure = |row| row.requests_per_second;
    println!("\n{} ({})", compared.scenario, compared.about);
    println!(
        "  {:<22} {:>9} {:>8} {:>9} {:>8} {:>8} {:>8}   berth's rate / its, berth's CPU / its",
        "server", "req/s", "MB/s", unit, "p50 ms", "p99 ms", "anon MiB"
    );
    for at in 0..compared.servers.len() {
        let name = compared.name(at);
        let figure = |figure| compared.figure(at, figure).median;
        let spread =
            |spread: Spread| format!("{:.2} [{:.2}..{:.2}]", spread.median, spread.least, spread.most);
        println!(
            "  {name:<22} {:>9.0} {:>8.0} {:>9.4} {:>8.2} {:>8.2} {:>8.1}   {}, {}",
            figure(rate),
            figure(|row| row.megabytes_per_second),
            figure(cpu),
            figure(|row| row.measured.p50),
            figure(|row| row.measured.p99),
            figure(|row| row.measured.anonymous_mib),
            spread(compared.ratio(at, rate)),
            spread(compared.ratio(at, cpu)),
        );
    }
    for (at, syncs) in compared.syncs.iter().flatten().enumerate() {
        println!("  {:<22} {syncs:.2} syncs an image", compared.name(at));
    }
    if let Some(sealing) = compared.sealing {
        println!("  sealing alone: {sealing:.4} CPU-s/GiB");
    }
    if let Some((floor, reached)) = compared.floor_of_tls() {
        println!("  the floor takes {floor:.4} CPU-s/GiB, which is {reached:.2} of what berth takes");
    }
}
