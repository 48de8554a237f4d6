//! System calls that fail, in a process that runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Result, failed};

/// How long attaching, or letting go, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What fails, where, and how.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The system call.
    pub(super) call: &'static str,
    /// The error that it answers.
    pub(super) error: &'static str,
    /// Which calls of a thread fail: `1+` for all, `3` for the third.
    pub(super) when: String,
    /// Only calls on this path, or on a descriptor of it.
    pub(super) path: PathBuf,
}

/// `strace`, attached to a process; calls fail until it lets go.
pub(super) struct Injection {
    strace: Child,
    log: PathBuf,
}

impl Injection {
    /// Makes calls of the process `pid` fail from now on. `log` is where each is written.
    ///
    /// # Errors
    /// If `strace` cannot attach.
    pub(super) fn attach(pid: u32, fault: &Fault, log: &Path) -> Result<Self> {
        let mut strace = Command::new("strace")
            .arg("-f")
            .args(["-p", &pid.to_string()])
            .args(["-e", &format!("trace={}", fault.call)])
            .args([
                "-e",
                &format!("inject={}:error={}:when={}", fault.call, fault.error, fault.when),
            ])
            .arg("-P")
            .arg(&fault.path)
            .arg("-o")
            .arg(log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("strace: {error}")))?;
        let said = strace.stderr.take().expect("stderr is piped");
        let (attached, is_attached) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(std::result::Result::ok) {
                // One line for each later thread too; nobody waits for those.
                let _nobody_waits = attached.send(line);
            }
        });
        let injection = Injection {
            strace,
            log: log.to_owned(),
        };
        match is_attached.recv_timeout(PATIENCE) {
            Ok(line) if line.contains("attached") => Ok(injection),
            Ok(line) => Err(failed(line)),
            Err(_) => Err(failed("strace did not attach")),
        }
    }

    /// Lets go of the process, which goes on as it was. How many calls failed.
    ///
    /// # Errors
    /// If `strace` does not end.
    pub(super) fn detach(mut self) -> Result<u64> {
        super::run(Command::new("kill").args(["-INT", &self.strace.id().to_string()]))?;
        super::within(PATIENCE, "strace to let go", || {
            Ok(self.strace.try_wait()?.is_some())
        })?;
        let log = fs::read_to_string(&self.log)?;
        Ok(log.lines().filter(|line| line.contains("(INJECTED)")).count() as u64)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Killed, it would leave the process stopped in the middle of a call.
        if matches!(self.strace.try_wait(), Ok(None)) {
            let _gone = Command::new("kill")
                .args(["-INT", &self.strace.id().to_string()])
                .status();
            let _reaped = self.strace.wait();
        }
    }
}
