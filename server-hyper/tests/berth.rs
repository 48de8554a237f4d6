//! The binary, from outside.

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use http::Method;
use registry_storage::kv::EngineKind;
use server_hyper::{StoreOptions, Stores};

use support::{ask, http1, read, request, soon};

/// With nothing of this process's environment that configures it.
fn berth(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    berth(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server that ends with the test.
struct Serving {
    child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut command = berth(&[
            "serve",
            "--allow-anonymous",
            "--listen",
            "127.0.0.1:0",
            "--print-address",
        ]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .strip_suffix('\n')
            .unwrap()
            .parse()
            .expect("an address alone on its line");
        Serving {
            child,
            output,
            address,
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end: whether it was a good one, what else was printed, and what was logged.
    fn end(mut self) -> (bool, String, String) {
        let (mut printed, mut logged) = (String::new(), String::new());
        self.output.read_to_string(&mut printed).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut logged)
            .unwrap();
        (self.child.wait().unwrap().success(), printed, logged)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _result = self.child.kill();
        let _result = self.child.wait();
    }
}

#[tokio::test]
async fn it_prints_its_address_says_where_things_are_and_ends_well_when_told_to() {
    let server = Serving::start(&["--memory"]);
    assert_eq!(soon(ask(server.address, "/v2/")).await.0, 200);
    let address = server.address;
    server.signal("TERM");
    let (well, printed, logged) = server.end();
    assert!(well, "{logged}");
    assert_eq!(printed, "", "the address is all that is printed");
    for said in [
        &format!("listens at http://{address}"),
        "/metrics",
        "kept in memory",
        "no accounts",
        &format!("docker push {address}/"),
        "every request that had begun was answered",
    ] {
        assert!(logged.contains(said), "{said} is not in\n{logged}");
    }
    for line in logged.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON, as this is no terminal");
    }
}

#[tokio::test]
async fn what_was_pushed_is_there_after_a_restart_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let server = Serving::start(&["--data", data]);
    let push = request(
        Method::POST,
        &format!("/v2/a/b/blobs/uploads/?digest={digest}"),
        "hello",
    );
    let mut client = http1(server.address).await;
    assert_eq!(read(soon(client.send_request(push)).await.unwrap()).await.0, 201);
    let mut server = server;
    for signal in ["INT", "KILL"] {
        server.signal(signal);
        let (well, _, logged) = server.end();
        assert_eq!(well, signal == "INT", "{logged}");
        server = Serving::start(&["--data", data]);
        // Held by a lease, as no manifest names it yet.
        let blob = soon(ask(server.address, &format!("/v2/a/b/blobs/{digest}"))).await;
        assert_eq!(blob, (http::StatusCode::OK, "hello".to_owned()));
    }
}

#[test]
fn a_data_directory_in_use_is_told_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let _first = Serving::start(&["--data", data]);
    let second = run(&[
        "serve",
        "--allow-anonymous",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(
        said.contains("flag --data: data: ") && said.contains("is in use"),
        "{said}"
    );
}

#[test]
fn an_address_in_use_is_told_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, flags) in [
        (
            "flag --listen: listen: ",
            ["--listen", &address, "--admin-listen", "off"],
        ),
        (
            "flag --admin-listen: admin.listen: ",
            ["--admin-listen", &address, "--listen", "127.0.0.1:0"],
        ),
    ] {
        let output = berth(&["serve", "--allow-anonymous", "--memory"])
            .args(flags)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!("{key}cannot listen at {address}")),
            "{said}"
        );
    }
}

#[test]
fn a_check_says_what_would_be_done_and_promised() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("not/yet");
    let output = run(&["check", "--allow-anonymous", "--data", data.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for expected in [
        "listens at: http://127.0.0.1:5000",
        "durability: strict",
        "reads: one blob in 128",
        "everybody",
        "no problems",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    assert!(!directory.path().join("not").exists(), "a check makes nothing");
}

#[test]
fn a_check_says_what_keeps_the_records_and_refuses_what_another_engine_made() {
    for (engine, name, other) in [
        (EngineKind::Lmdb, "lmdb", "sled"),
        (EngineKind::Sled, "sled", "lmdb"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_str().unwrap();
        let options = StoreOptions {
            engine,
            ..StoreOptions::default()
        };
        drop(Stores::open(directory.path(), options).unwrap());
        let check = |engine: &str| {
            let set = format!("records.engine={engine}");
            run(&["check", "--allow-anonymous", "--data", data, "--set", &set])
        };

        let output = check(name);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        assert!(said.contains(&format!("records: in {name}")), "{said}");

        let output = check(other);
        assert!(!output.status.success());
        let said = text(&output.stderr);
        let expected = format!("made by the engine {name}, but {other} is asked for");
        assert!(
            said.contains("records.engine: ") && said.contains(&expected),
            "{said}"
        );
    }
}

#[test]
fn a_check_says_what_relaxed_gives_up() {
    let output = run(&["check", "--allow-anonymous", "--set", "durability=relaxed"]);
    let said = text(&output.stdout);
    for expected in ["durability: relaxed", "power cut may be unknown"] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn a_check_fails_with_every_problem_and_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (file, missing) = (file.to_str().unwrap(), directory.path().join("missing.pem"));
    let missing = missing.to_str().unwrap();
    let output = run(&[
        "check",
        "--data",
        file,
        "--tls-certificate",
        file,
        "--tls-key",
        missing,
        "--set",
        &format!("auth.htpasswd={missing}"),
    ]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    for expected in [
        format!("problem: flag --data: data: {file} cannot be used"),
        format!("problem: flag --tls-certificate: tls.certificate: {file}: does not hold a certificate"),
        format!("problem: flag --set: auth.htpasswd: the htpasswd file {missing} cannot be read"),
    ] {
        assert!(said.contains(&expected), "{expected} is not in\n{said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn a_version_is_told_to_people_and_machines() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(text(&run(&["version"]).stdout), format!("berth {version}\n"));
    let json: serde_json::Value = serde_json::from_slice(&run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(
        (&json["name"], &json["version"]),
        (&"berth".into(), &version.into())
    );
}
