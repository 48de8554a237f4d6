//! Starting a server under test on a port that the system chooses, and stopping it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{release, tools};

/// The servers that a command can be run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// `berth`, of the crate server-hyper.
    Hyper,
    /// The example that shows the core without hyper.
    Actix,
    /// Debian's docker-registry: the oracle that a check of ours is itself checked against.
    Reference,
    /// Both of ours.
    All,
}

impl Server {
    /// The single servers that this names.
    pub(crate) fn each(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Hyper, Self::Actix],
            one => vec![one],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Actix => "actix",
            Self::Reference => "reference",
            Self::All => "all",
        }
    }

    /// Builds or installs the server's program.
    fn prepare(self) -> Result<()> {
        match self {
            Self::Hyper | Self::Actix => release::build(),
            Self::Reference => tools::debian(&["docker-registry"]),
            Self::All => bail!("one server at a time"),
        }
    }

    fn command(self, work: &Path) -> Result<Command> {
        let data = work.join("data");
        let mut command = match self {
            Self::Hyper => {
                let mut command = Command::new(release::program("berth"));
                command
                    .args(["serve", "--allow-anonymous"])
                    .arg("--data")
                    .arg(data);
                command
            }
            Self::Actix => Command::new(release::program("server-actix-example")),
            Self::Reference => {
                let config = work.join("reference.yml");
                let data = data.display();
                let text = format!(
                    "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\nstorage:\n  \
                     delete: {{enabled: true}}\n  filesystem: {{rootdirectory: '{data}'}}\n"
                );
                std::fs::write(&config, text)?;
                let mut command = Command::new("docker-registry");
                command.arg("serve").arg(config);
                return Ok(command);
            }
            Self::All => bail!("one server at a time"),
        };
        command.args(["--listen", "127.0.0.1:0", "--print-address"]);
        Ok(command)
    }

    /// Starts the server with an empty data folder under `work`; what it logs goes to `work/server.log`.
    pub(crate) fn start(self, work: &Path) -> Result<Running> {
        self.prepare()?;
        std::fs::create_dir_all(work)?;
        self.spawn(self.command(work)?, work)
    }

    fn spawn(self, mut command: Command, work: &Path) -> Result<Running> {
        let log = work.join("server.log");
        let file = std::fs::File::create(&log)?;
        command.stdin(Stdio::null());
        if self == Self::Reference {
            // It tells its port only in its log, which is its standard error.
            command.stdout(file).stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped()).stderr(file);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start the {} server", self.name()))?;
        let lines: Box<dyn std::io::Read + Send> = match (child.stderr.take(), child.stdout.take()) {
            (Some(stderr), _) => Box::new(stderr),
            (None, Some(stdout)) => Box::new(stdout),
            (None, None) => bail!("the server has no output to read its address from"),
        };
        let running = |address| Running { address, child };
        match announced(lines) {
            Some(address) => Ok(running(address)),
            None => {
                drop(running(SocketAddr::from(([127, 0, 0, 1], 0))));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!(
                    "the {} server told no address within 30 s: {}",
                    self.name(),
                    log.trim()
                )
            }
        }
    }
}

/// A password for one run: 128 random bits, and what rules about letters and digits ask for.
pub(crate) fn random_password() -> Result<String> {
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!("Aa1-{:032x}", u128::from_ne_bytes(random)))
}

/// Starts a `berth` with accounts, whose administrator has the password that is given, with an empty data folder under
/// `work`; what it logs goes to `work/server.log`. Of this process's environment nothing configures it; `environment` does.
pub(crate) fn start_with_accounts(
    work: &Path,
    admin_password: &str,
    environment: &[(&str, &OsStr)],
) -> Result<Running> {
    Server::Hyper.prepare()?;
    std::fs::create_dir_all(work)?;
    let mut command = Command::new(release::program("berth"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BERTH_")) {
        command.env_remove(name);
    }
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--print-address", "--data"])
        .arg(work.join("data"))
        .env("BERTH_ADMIN_PASSWORD", admin_password)
        .envs(environment.iter().copied());
    Server::Hyper.spawn(command, work)
}

/// The address that the server announces: a line of its own, or the end of a log line that says `listening on`.
/// Reads on to the end afterwards, so that the server never waits for its reader.
fn announced(lines: Box<dyn std::io::Read + Send>) -> Option<SocketAddr> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                // Only the first is waited for.
                let _unread = tell.send(address);
            }
        }
    });
    told.recv_timeout(Duration::from_secs(30)).ok()
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let text = match line.split_once("listening on ") {
        Some((_, rest)) => rest.split(['"', ' ']).next()?,
        None => line.trim(),
    };
    text.parse().ok()
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// Asks a process to end, and ends it after ten seconds if it does not.
pub(crate) fn terminate(child: &mut Child) {
    let asked = Command::new("kill")
        .arg(child.id().to_string())
        .stderr(Stdio::null())
        .status();
    let patience = Instant::now() + Duration::from_secs(10);
    while asked.is_ok() && Instant::now() < patience {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Already gone is as good.
    let _gone = child.kill();
    let _gone = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_alone_on_a_line_or_in_a_log_line() {
        let wanted = Some(SocketAddr::from(([127, 0, 0, 1], 43817)));
        assert_eq!(address_in("127.0.0.1:43817"), wanted);
        assert_eq!(
            address_in("level=info msg=\"listening on 127.0.0.1:43817\" go.version=go1.19"),
            wanted
        );
        assert_eq!(
            address_in("level=info msg=\"using inmemory blob descriptor cache\""),
            None
        );
    }
}
