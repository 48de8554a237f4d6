//! A `berth` process under measurement, and the few requests that a measurement makes of it.

mod client;

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use client::{Client, Reply};

/// A running `berth serve`, killed when dropped.
pub struct Berth {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Berth {
    /// Starts the program `berth` on `data`, and waits until it says where it listens.
    ///
    /// # Errors
    /// If it does not start, or ends before it listens.
    pub fn start(berth: &Path, data: &Path) -> io::Result<Self> {
        Self::start_with(berth, data, |_| {})
    }

    /// The same, with whatever else `configure` asks of the command.
    ///
    /// # Errors
    /// As [`start`](Berth::start).
    pub fn start_with(berth: &Path, data: &Path, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        Self::start_closed(berth, data, |command| {
            command.arg("--allow-anonymous");
            configure(command);
        })
    }

    /// The same, for those who have an account and nobody else.
    ///
    /// # Errors
    /// As [`start`](Berth::start).
    pub fn start_closed(berth: &Path, data: &Path, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut command = Command::new(berth);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--print-address", "--data"])
            .arg(data)
            .env("BERTH_ADMIN__LISTEN", "off")
            .env("BERTH_LOG__LEVEL", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        match line.trim().parse() {
            Ok(address) => Ok(Berth { child, address }),
            Err(_) => {
                let _ended = child.kill();
                let status = child.wait()?;
                Err(io::Error::other(format!(
                    "{} did not say where it listens ({status})",
                    berth.display()
                )))
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// If it cannot be signalled, or does not stop within a minute.
    pub fn stop(mut self) -> io::Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "berth did not stop within a minute",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its anonymous memory now, in bytes: what it has that is not a file's.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn anonymous_memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib << 10)
            .ok_or_else(|| io::Error::other("no RssAnon"))
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
