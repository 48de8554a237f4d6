//! The binary, run as a command and as a server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use server_hyper::control::TOKEN;

/// The binary, with nothing of this process's environment that configures it.
pub(crate) fn berth(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command ended with, and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its standard output, line by line.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        self.out.lines().map(parse).collect()
    }

    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

pub(crate) fn finish(mut command: Command) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: status.code().expect("an end of its own"),
        out: text(stdout),
        err: text(stderr),
    }
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    finish(berth(arguments))
}

/// Runs a command over HTTP.
pub(crate) fn remote(server: &Serving, data: &Path, arguments: &[&str]) -> Said {
    let mut command = berth(arguments);
    command
        .args(["--server", &format!("http://{}", server.admin)])
        .arg("--token-file")
        .arg(data.join(TOKEN));
    finish(command)
}

/// Runs a command on a data directory.
pub(crate) fn local(data: &Path, arguments: &[&str]) -> Said {
    let mut command = berth(arguments);
    command.arg("--data").arg(data);
    finish(command)
}

/// The password of the administrator of a closed server.
pub(crate) const PASSWORD: &str = "Correct-horse-7";

/// A server that ends with the test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where operators ask.
    pub(crate) admin: SocketAddr,
    /// What is logged after that. Read as it comes: a server whose log nobody takes would stand still.
    log: Option<JoinHandle<String>>,
    /// What was logged until it listened.
    pub(crate) began: String,
}

impl Serving {
    /// Open to anyone.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Serving::of(berth(&["serve", "--allow-anonymous"]), data, arguments)
    }

    /// Open to those who have an account; the administrator's password is [`PASSWORD`].
    pub(crate) fn closed(data: &Path, arguments: &[&str]) -> Self {
        let mut serve = berth(&["serve"]);
        serve.env("BERTH_ADMIN_PASSWORD", PASSWORD);
        Serving::of(serve, data, arguments)
    }

    /// What `serve` serves, with more arguments.
    pub(crate) fn of(mut serve: Command, data: &Path, arguments: &[&str]) -> Self {
        let mut child = serve
            .args(["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
            .args(["--print-address", "--log-format", "human"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        // All of the announcement is logged before the address is printed.
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut began = String::new();
        let admin = loop {
            let line = began.len();
            assert!(log.read_line(&mut began).unwrap() > 0, "it ended: {began}");
            if let Some((_, admin)) = began[line..].split_once("metrics and health at ") {
                let (_, admin) = admin.split_once("://").unwrap();
                break admin.split_once('/').unwrap().0.parse().unwrap();
            }
        };
        let log = thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            rest
        });
        Serving {
            child,
            address: address.trim().parse().expect("an address"),
            admin,
            log: Some(log),
            began,
        }
    }

    /// Ends it, and gives all that it logged.
    pub(crate) fn end(mut self) -> String {
        let sent = Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let ended = self.child.wait().unwrap();
        let log = format!("{}{}", self.began, self.log.take().unwrap().join().unwrap());
        assert!(ended.success(), "{log}");
        log
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
