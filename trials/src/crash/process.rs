//! A `berth` process that is to be ended at the worst moment.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::verify::UPLOAD_IDLE;
use crate::mounted::{Ended, Result};

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to run it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub berth: PathBuf,
    /// Configuration keys, each as `KEY=VALUE`.
    pub set: Vec<String>,
    /// Where it writes its log.
    pub log: PathBuf,
}

/// Where it listens, and how long it took from its start; `None` once it has ended before.
pub type Heard = mpsc::Receiver<Option<(SocketAddr, Duration)>>;

/// A running one.
#[derive(Debug)]
pub struct Process {
    /// The process.
    pub child: Ended,
    heard: Option<Heard>,
    address: Option<SocketAddr>,
}

impl Program {
    /// Starts it on `data`, without waiting for anything.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, data: &Path) -> Result<Process> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log)?;
        // Abandoned uploads and doomed files are to be given back while the trial runs; the grace stays as it is, so
        // that nothing that was promised may go.
        let usual = [
            format!("lifetimes.upload_idle={}s", UPLOAD_IDLE.as_secs()),
            "lifetimes.longest_write=5s".to_owned(),
            "lifetimes.longest_read=5s".to_owned(),
            "lifetimes.second_delay=5s".to_owned(),
            "admin.listen=off".to_owned(),
            "log.level=warn".to_owned(),
        ];
        let mut command = Command::new(&self.berth);
        command.args([
            "serve",
            "--allow-anonymous",
            "--listen",
            "127.0.0.1:0",
            "--print-address",
        ]);
        command.args(["--log-format", "json"]);
        // What is set later counts.
        for pair in usual.iter().chain(&self.set) {
            command.args(["--set", pair]);
        }
        let mut child = Ended(
            command
                .arg("--data")
                .arg(data)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .map_err(|error| format!("{}: {error}", self.berth.display()))?,
        );
        let mut output = BufReader::new(child.0.stdout.take().expect("stdout is piped"));
        let (said, heard) = mpsc::channel();
        let started = Instant::now();
        thread::spawn(move || {
            let mut line = String::new();
            let address = match output.read_line(&mut line) {
                Ok(_) => line.trim().parse().ok(),
                Err(_) => None,
            };
            // Nobody waits for one that was ended while it started.
            let _ = said.send(address.map(|address| (address, started.elapsed())));
        });
        Ok(Process {
            child,
            heard: Some(heard),
            address: None,
        })
    }
}

impl Program {
    /// What the log says since `read` that it must not say: of missing bytes, ever; of a panic or an error, unless its
    /// disks fail.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn complaints(&self, read: &mut u64, disks_fail: bool) -> Result<Vec<String>> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(*read))?;
        let mut said = Vec::new();
        *read += log.read_to_end(&mut said)? as u64;
        let forbidden = |line: &&str| {
            let failed = line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
            line.contains("bytes are missing") || (!disks_fail && failed)
        };
        let said = String::from_utf8_lossy(&said);
        Ok(said.lines().filter(forbidden).map(str::to_owned).collect())
    }
}

impl Process {
    /// Waits until it says where it listens; also how long it took from its start. `None` if it ended before.
    ///
    /// # Errors
    /// If it says nothing for a minute.
    pub fn address(&mut self) -> Result<Option<(SocketAddr, Duration)>> {
        let said = self
            .take_address()
            .recv_timeout(PATIENCE)
            .map_err(|_| "berth did not begin to listen within a minute")?;
        self.address = said.map(|(address, _)| address);
        Ok(said)
    }

    /// Where it listens, if that was waited for.
    pub fn known_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What will tell where it listens, for somebody who has more to do than to wait.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn take_address(&mut self) -> Heard {
        self.heard.take().expect("the address is asked for once")
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.child.0.try_wait()?.is_none())
    }
}
