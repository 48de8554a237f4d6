//! Servers to compare: each in a process of its own, on a directory of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trials::server::Berth;

use super::Target;
use super::configurations;
use super::connection::Connection;
use super::fill::Shelf;
use super::tls::{Files, Identity};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A server, and where its program is.
#[derive(Clone, Debug)]
pub enum Server {
    /// berth, as it comes: every acknowledged byte is durable.
    Berth(PathBuf),
    /// Another berth, to see what a change has changed.
    Before(PathBuf),
    /// distribution's registry, of either generation, which syncs what is pushed.
    Distribution {
        /// The program.
        program: PathBuf,
        /// What it is called in tables.
        name: &'static str,
        /// Go's `GOGC`, if not its default.
        gogc: Option<u32>,
    },
    /// zot, which syncs what is pushed if it is told to commit.
    Zot(PathBuf),
    /// nginx with `sendfile` and open files cached, on the same bytes as files.
    Nginx {
        /// The program.
        program: PathBuf,
        /// Whether it holds back what does not fill a packet: better for short bodies, but the last piece of a part of a file may then
        /// wait for the client's acknowledgement, since a packet on loopback is of 64 KiB.
        nopush: bool,
    },
    /// The bare handler of [`floor`](super::floor), by this very program's `floor` command.
    Floor(PathBuf),
}

/// One that runs. Ended when dropped.
pub struct Running {
    /// Where, and which process.
    pub target: Target,
    files: Option<PathBuf>,
    _process: Process,
}

enum Process {
    Berth(Berth),
    Child(Child),
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Process::Berth(berth) => berth.id(),
            Process::Child(child) => child.id(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Process::Child(child) = self {
            // nginx's workers end with their master if it is asked, not if it is killed.
            let asked = Command::new("kill").arg(child.id().to_string()).status();
            let until = Instant::now() + Duration::from_secs(10);
            while asked.is_ok() && Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Server {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Server::Berth(_) => "berth".to_owned(),
            Server::Before(_) => "berth before".to_owned(),
            Server::Distribution { name, gogc: None, .. } => (*name).to_owned(),
            Server::Distribution {
                name,
                gogc: Some(gogc),
                ..
            } => format!("{name} GOGC={gogc}"),
            Server::Zot(_) => "zot".to_owned(),
            Server::Nginx { nopush: true, .. } => "nginx".to_owned(),
            Server::Nginx { nopush: false, .. } => "nginx nopush=off".to_owned(),
            Server::Floor(_) => "floor".to_owned(),
        }
    }

    /// What it says that it is.
    pub fn version(&self) -> String {
        let (program, argument) = match self {
            Server::Berth(program) | Server::Before(program) => (program, "--version"),
            Server::Distribution { program, .. } | Server::Zot(program) => (program, "--version"),
            Server::Nginx { program, .. } => (program, "-v"),
            Server::Floor(_) => return "hyper, from memory; under TLS neither".to_owned(),
        };
        let said = Command::new(program).arg(argument).output();
        said.map(|said| {
            let both = [said.stdout, said.stderr].concat();
            String::from_utf8_lossy(&both)
                .lines()
                .next()
                .unwrap_or_default()
                .split_whitespace()
                // Where the program lies is nobody's business.
                .filter(|word| !word.starts_with('/'))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .unwrap_or_else(|why| why.to_string())
    }

    /// The same in another configuration, which is better for some loads and worse for others: with this `GOGC` if it is written in Go,
    /// or nginx without `tcp_nopush`.
    pub fn otherwise(&self, gogc: Option<u32>) -> Option<Server> {
        match self {
            Server::Distribution { program, name, .. } => Some(Server::Distribution {
                program: program.clone(),
                name,
                gogc: Some(gogc?),
            }),
            Server::Nginx { program, .. } => Some(Server::Nginx {
                program: program.clone(),
                nopush: false,
            }),
            _ => None,
        }
    }

    /// How it is configured, under TLS or without, where that is a text.
    pub fn configuration(&self, is_tls: bool) -> Option<String> {
        let (directory, address) = (
            Path::new("DIRECTORY"),
            SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
        );
        let files = is_tls.then(|| Files::below(directory));
        let tls = files.as_ref();
        match self {
            Server::Berth(_) | Server::Before(_) => {
                Some(format!("berth serve {}\n", configurations::berth(tls).join(" ")))
            }
            Server::Distribution { .. } => Some(configurations::distribution(directory, address, tls)),
            Server::Zot(_) => Some(configurations::zot(directory, address, tls)),
            Server::Nginx { nopush, .. } => {
                let root = directory.join("root");
                Some(configurations::nginx(directory, &root, address, tls, *nopush))
            }
            Server::Floor(_) => None,
        }
    }

    /// Whether it serves files, which are written where they are served from, and takes no content over the wire.
    pub fn is_of_files(&self) -> bool {
        matches!(self, Server::Nginx { .. } | Server::Floor(_))
    }

    /// Starts it on a directory that is its own, with a certificate or without TLS.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, directory: &Path, identity: Option<&Identity>) -> io::Result<Running> {
        fs::create_dir_all(directory)?;
        let tls = identity.map(|identity| identity.write(directory)).transpose()?;
        let tls = tls.as_ref();
        let (address, process, files) = match self {
            Server::Berth(program) | Server::Before(program) => {
                let berth = Berth::start_with(program, directory, |command| {
                    command.args(configurations::berth(tls));
                })?;
                (berth.address, Process::Berth(berth), None)
            }
            Server::Distribution { program, gogc, .. } => {
                let address = free()?;
                let config = directory.join("config.yml");
                fs::write(&config, configurations::distribution(directory, address, tls))?;
                let mut command = Command::new(program);
                command
                    .arg("serve")
                    .arg(&config)
                    .env("OTEL_TRACES_EXPORTER", "none");
                if let Some(gogc) = gogc {
                    command.env("GOGC", gogc.to_string());
                }
                (address, Process::Child(spawn(&mut command, address)?), None)
            }
            Server::Zot(program) => {
                let address = free()?;
                let config = directory.join("config.json");
                fs::write(&config, configurations::zot(directory, address, tls))?;
                let mut command = Command::new(program);
                command.arg("serve").arg(&config);
                (address, Process::Child(spawn(&mut command, address)?), None)
            }
            Server::Nginx { program, nopush } => {
                let (address, root) = (free()?, directory.join("root"));
                fs::create_dir_all(&root)?;
                let config = directory.join("nginx.conf");
                fs::write(
                    &config,
                    configurations::nginx(directory, &root, address, tls, *nopush),
                )?;
                let mut command = Command::new(program);
                command.arg("-c").arg(&config).arg("-p").arg(directory);
                (address, Process::Child(spawn(&mut command, address)?), Some(root))
            }
            Server::Floor(program) => {
                let root = directory.join("root");
                fs::create_dir_all(&root)?;
                let mut command = Command::new(program);
                command
                    .arg("floor")
                    .arg(&root)
                    .arg("--pushed")
                    .arg(directory.join("pushed"));
                if let Some(tls) = tls {
                    command.arg("--certificate").arg(&tls.certificate);
                    command.arg("--key").arg(&tls.key);
                }
                let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
                let mut line = String::new();
                BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
                let process = Process::Child(child);
                (
                    line.trim().parse().map_err(io::Error::other)?,
                    process,
                    Some(root),
                )
            }
        };
        Ok(Running {
            target: Target {
                address,
                process: Some(process.id()),
                tls: identity.map(|identity| identity.client.clone()),
            },
            files,
            _process: process,
        })
    }
}

impl Running {
    /// Where its content goes.
    pub fn shelf(&self) -> Shelf {
        match &self.files {
            Some(root) => Shelf::Files(root.clone()),
            None => Shelf::Registry(Box::new(Connection::to(&self.target))),
        }
    }
}

/// An address that nobody listens at now.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Starts a server that listens at this address, and waits until it answers.
fn spawn(command: &mut Command, address: SocketAddr) -> io::Result<Child> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let until = Instant::now() + START;
    while !answers(address) {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!(
                "{:?} ended: {status}",
                command.get_program()
            )));
        }
        if Instant::now() > until {
            let _gone = child.kill();
            return Err(io::Error::other(format!(
                "{:?} does not answer",
                command.get_program()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}

/// Whether it answers: under TLS what speaks no TLS is answered too, if only that it is to.
fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\nConnection: close\r\n\r\n")?;
        stream.read_exact(&mut [0; 12])
    };
    ask().is_ok()
}
