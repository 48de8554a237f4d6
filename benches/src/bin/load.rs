//! A load on a registry over HTTP/1.1, and what it costs the server.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::load::connection::Connection;
use benches::load::drive::Until;
use benches::load::fill::Shelf;
use benches::load::report::Row;
use benches::load::scenario::{SCENARIOS, Scenario};
use benches::load::servers::{Running, Server};
use benches::load::tls::{self, Files, Identity};
use benches::load::{Target, floor};
use clap::{Parser, Subcommand};

/// A load on a registry over HTTP/1.1, and what it costs the server.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure scenarios, one after the other
    Run(Run),
    /// What scenarios there are
    List,
    /// Serve the files below a directory from memory, and take pushes: the least that a server can do
    Floor {
        /// Paths below it are those of requests
        root: PathBuf,
        /// Where what is pushed is written
        #[arg(long)]
        pushed: PathBuf,
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Seal what is served, which then is read from disk; PEM
        #[arg(long, requires = "key")]
        certificate: Option<PathBuf>,
        /// The certificate's key; PEM
        #[arg(long, requires = "certificate")]
        key: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Run {
    /// By name; all of them if none is named
    scenarios: Vec<String>,
    /// A server that runs; else a berth is started with a store of its own
    #[arg(long)]
    server: Option<SocketAddr>,
    /// Its process, whose CPU and memory are to be measured
    #[arg(long, requires = "server")]
    process: Option<u32>,
    /// What to call it
    #[arg(long, default_value = "berth")]
    name: String,
    /// It serves the files below this directory; those of the scenarios are written there first
    #[arg(long, requires = "server")]
    files: Option<PathBuf>,
    /// The program that is started
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// Connections, instead of each scenario's own number
    #[arg(long)]
    connections: Option<usize>,
    /// How long each scenario takes, instead of its own time or count
    #[arg(long)]
    seconds: Option<f64>,
    /// Turns in a second that are begun, whatever became of those before (an open loop); else as many as come
    #[arg(long)]
    rate: Option<f64>,
    /// Only write what the scenarios need
    #[arg(long)]
    only_prepare: bool,
    /// A line of JSON for each
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List => {
            for scenario in SCENARIOS {
                println!(
                    "{:<22} {:>3} connections, {}",
                    scenario.name, scenario.connections, scenario.about
                );
            }
            Ok(())
        }
        Command::Run(run) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(run.all())),
        Command::Floor {
            root,
            listen,
            certificate: Some(certificate),
            key: Some(key),
            ..
        } => sealed(&root, listen, &Files { certificate, key }),
        Command::Floor {
            root, pushed, listen, ..
        } => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::bind(listen).await?;
                    println!("{}", listener.local_addr()?);
                    floor::serve(listener, &root, pushed).await
                })
            }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Serves files under TLS until the process ends.
fn sealed(root: &Path, listen: SocketAddr, files: &Files) -> io::Result<()> {
    let config = tls::server(files)?;
    let listener = std::net::TcpListener::bind(listen)?;
    println!("{}", listener.local_addr()?);
    tls::floor::serve(&listener, root, &config)
}

impl Run {
    async fn all(&self) -> io::Result<()> {
        let scenarios = self.chosen()?;
        let directory = tempfile::tempdir()?;
        let mut own: [Option<Running>; 2] = [None, None];
        if !self.json && !self.only_prepare {
            println!("{}", Row::heads());
        }
        for (number, scenario) in scenarios.iter().enumerate() {
            let target = match self.server {
                Some(address) => Target {
                    address,
                    process: self.process,
                    tls: None,
                },
                None => {
                    let berth = &mut own[usize::from(scenario.is_tls)];
                    if berth.is_none() {
                        *berth = Some(self.started(directory.path(), scenario.is_tls)?);
                    }
                    berth.as_ref().expect("it was started").target.clone()
                }
            };
            self.one(scenario, &target, number as u64)
                .await
                .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", scenario.name)))?;
        }
        Ok(())
    }

    /// A berth, under TLS or without.
    fn started(&self, directory: &Path, is_tls: bool) -> io::Result<Running> {
        let identity = is_tls.then(Identity::new).transpose()?;
        let directory = directory.join(if is_tls { "tls" } else { "plain" });
        Server::Berth(self.berth.clone()).start(&directory, identity.as_ref())
    }

    fn chosen(&self) -> io::Result<Vec<Scenario>> {
        // A server that runs shows a certificate that this client does not know.
        let is_possible = |scenario: &Scenario| {
            (self.files.is_none() || scenario.is_of_files()) && (self.server.is_none() || !scenario.is_tls)
        };
        if self.scenarios.is_empty() {
            return Ok(SCENARIOS.into_iter().filter(is_possible).collect());
        }
        self.scenarios
            .iter()
            .map(|name| {
                let named = Scenario::named(name);
                let named = named.ok_or_else(|| {
                    io::Error::other(format!("there is no scenario {name}; see `load list`"))
                })?;
                match is_possible(&named) {
                    true => Ok(named),
                    false => Err(io::Error::other(format!("{name} cannot be asked of this server"))),
                }
            })
            .collect()
    }

    async fn one(&self, scenario: &Scenario, target: &Target, number: u64) -> io::Result<()> {
        let mut shelf = match &self.files {
            Some(root) => Shelf::Files(root.clone()),
            None => Shelf::Registry(Box::new(Connection::to(target))),
        };
        let until = match self.seconds {
            Some(seconds) => Until::Elapsed(Duration::from_secs_f64(seconds)),
            None => scenario.until,
        };
        // What is pushed has to be new even if the server has what an earlier run pushed.
        let salt = u64::from(std::process::id());
        let scenario = Scenario { until, ..*scenario };
        let prepared = scenario.prepare(&mut shelf, (salt << 16) + (number << 4)).await?;
        if self.only_prepare {
            return Ok(());
        }
        let connections = self.connections.unwrap_or(scenario.connections);
        let measured = match (self.rate, until) {
            (Some(rate), Until::Elapsed(lasting)) => {
                prepared.open(target, connections, rate, lasting).await?
            }
            (Some(_), Until::Turns(_)) => {
                return Err(io::Error::other("--rate takes --seconds with this scenario"));
            }
            (None, until) => prepared.closed(target, connections, until).await?,
        };
        let row = Row::new(scenario.name, &self.name, connections, measured);
        match self.json {
            true => println!("{}", serde_json::to_string(&row)?),
            false => println!("{}", row.line()),
        }
        Ok(())
    }
}
