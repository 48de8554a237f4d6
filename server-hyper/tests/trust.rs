//! `berth trust`: what it prints is put where it says, and used.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use support::binary::{Serving, berth, finish, run};

/// Whether this machine has a program; says so if it has not.
fn is_here(name: &str) -> bool {
    let run = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status();
    if run.is_err() {
        eprintln!("SKIPPED: {name} is not installed on this machine");
    }
    run.is_ok()
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Puts the files of an answer under `root`.
fn put(answer: &Value, root: &Path) {
    for snippet in answer["snippets"].as_array().unwrap() {
        for file in snippet["files"].as_array().unwrap() {
            let path = root.join(file["path"].as_str().unwrap().trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file["content"].as_str().unwrap()).unwrap();
        }
    }
}

/// The smallest image that skopeo copies.
fn layout(at: &Path) {
    let blob = |content: &[u8]| {
        let digest = registry_core::Digest::sha256(content);
        let path = at.join("blobs/sha256").join(digest.hex());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        serde_json::json!({ "digest": digest.to_string(), "size": content.len() })
    };
    let described = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = kind.into();
        descriptor
    };
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(blob(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [],
    });
    let mut entry = described(
        blob(manifest.to_string().as_bytes()),
        "application/vnd.oci.image.manifest.v1+json",
    );
    entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
    fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(at.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn clients_that_have_what_it_prints_trust_the_server_and_others_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let (data, root) = (directory.path().join("data"), directory.path().join("root"));
    let server = Serving::start(&data, &["--tls-self-signed"]);
    let address = server.address.to_string();
    let trust = ["trust", "--data", data.to_str().unwrap(), "--server", &address];
    let answer = &run(&[&trust[..], &["--json"]].concat()).well().json()[0];
    put(answer, &root);
    let certificates = |of: &str| root.join("etc").join(of).join("certs.d").join(&address);
    let authority = fs::read_to_string(data.join("tls/ca.pem")).unwrap();
    assert_eq!(answer["authority"]["pem"], authority.as_str());
    for of in ["docker", "containers", "containerd"] {
        let found: Vec<_> = fs::read_dir(certificates(of))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(found.contains(&"ca.crt".into()), "{found:?}");
        assert_eq!(
            fs::read_to_string(certificates(of).join("ca.crt")).unwrap(),
            authority
        );
    }

    if is_here("skopeo") {
        let images = directory.path().join("oci");
        layout(&images);
        let (from, to) = (
            format!("oci:{}:v1", images.display()),
            format!("docker://{address}/a/b:v1"),
        );
        let copy = |options: &[&str], from: &str, to: &str| {
            Command::new("skopeo")
                .args(["--insecure-policy", "copy", "--quiet"])
                .args(options)
                .args([from, to])
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        let refused = copy(&[], &from, &to);
        assert!(
            !refused.status.success() && said(&refused).contains("unknown authority"),
            "{}",
            said(&refused)
        );
        let docker = certificates("docker");
        let pushed = copy(&["--dest-cert-dir", docker.to_str().unwrap()], &from, &to);
        assert!(pushed.status.success(), "{}", said(&pushed));
        let podman = certificates("containers");
        let back = format!("oci:{}:v1", directory.path().join("back").display());
        let pulled = copy(&["--src-cert-dir", podman.to_str().unwrap()], &to, &back);
        assert!(pulled.status.success(), "{}", said(&pulled));
    }

    if is_here("curl") {
        let curl = answer["snippets"]
            .as_array()
            .unwrap()
            .iter()
            .find(|snippet| snippet["client"] == "curl")
            .unwrap();
        let command = curl["commands"][0].as_str().unwrap();
        let asked = Command::new("sh")
            .args(["-c", command])
            .current_dir(&root)
            .output()
            .unwrap();
        assert!(
            asked.status.success() && asked.stdout == b"{}",
            "{}",
            said(&asked)
        );
        let stranger = Command::new("curl")
            .arg(format!("https://{address}/v2/"))
            .output()
            .unwrap();
        assert_eq!(stranger.status.code(), Some(60), "an unknown issuer");
    }
}

#[test]
fn the_script_puts_the_same_files_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    drop(Serving::start(&data, &["--tls-self-signed"]));
    let trust = |rest: &[&str]| {
        let begin = [
            "trust",
            "--data",
            data.to_str().unwrap(),
            "--server",
            "r.example:5000",
            "--server",
            "[::1]:5000",
        ];
        run(&[&begin, rest].concat()).well()
    };
    let clients = ["--for", "docker", "--for", "containerd", "--for", "podman"];
    let (script, json) = (trust(&clients), trust(&[&clients[..], &["--json"]].concat()));
    assert!(
        script
            .err
            .contains("clients refuse the certificate at r.example:5000"),
        "{}",
        script.err
    );
    assert!(!script.err.contains("[::1]"), "{}", script.err);
    let (by_script, by_json) = (directory.path().join("script"), directory.path().join("json"));
    fs::create_dir(&by_script).unwrap();
    let script = script
        .out
        .replace(" /etc/", &format!(" {}/etc/", by_script.display()));
    let script = script.replace(" '/etc/", &format!(" '{}/etc/", by_script.display()));
    let ran = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(&by_script)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
    put(&json.json()[0], &by_json);
    let below = |root: &Path| {
        let mut files = Vec::new();
        let mut left = vec![root.join("etc")];
        while let Some(path) = left.pop() {
            match path.is_dir() {
                true => left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path())),
                false => {
                    let text = fs::read_to_string(&path).unwrap();
                    let text = text.replace(&format!("{}/etc", root.display()), "/etc");
                    files.push((path.strip_prefix(root).unwrap().to_owned(), text));
                }
            }
        }
        files.sort();
        files
    };
    let files: Vec<(PathBuf, String)> = below(&by_script);
    assert_eq!(files.len(), 8, "{files:?}");
    let differ = files
        .iter()
        .zip(below(&by_json))
        .find(|(one, other)| **one != *other);
    // The script's own paths were moved, those within hosts.toml too.
    assert!(differ.is_none(), "{differ:?}");
}

#[test]
fn a_pull_secret_has_the_password_only_if_asked_and_whatever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    drop(Serving::start(&data, &["--tls-self-signed"]));
    let password = "p%s\"'\\ $(x): #é";
    let trust = |rest: &[&str]| {
        let begin = [
            "trust",
            "--data",
            data.to_str().unwrap(),
            "--server",
            "127.0.0.1:5000",
        ];
        let user = ["--for", "kubernetes", "--user", "robot$o'c"];
        let mut command = berth(&[&begin[..], &user, rest].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let given = child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{password}\n").as_bytes());
        // Without --password-stdin nobody reads it.
        let _not_read = given;
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let config = |text: &str| -> Value {
        let line = text
            .lines()
            .find(|line| line.starts_with("    {\"auths\""))
            .unwrap();
        serde_json::from_str(line).unwrap()
    };
    let plain = trust(&[]);
    assert!(!plain.contains("p%s\""), "{plain}");
    let entry = |config: Value| config["auths"]["127.0.0.1:5000"].clone();
    assert_eq!(
        entry(config(&plain)),
        serde_json::json!({ "username": "robot$o'c", "password": "PASSWORD" })
    );
    let asked = trust(&["--password-stdin"]);
    assert_eq!(entry(config(&asked))["password"], password);
    assert!(!asked.contains("stty"), "it asks nobody again");

    // The command that asks, with somebody who answers, up to where it hands the secret on.
    let begin = plain.find("IFS= read").unwrap();
    let commands = plain[begin..].replace("stty echo; ", "");
    let end = commands.find(" |\n").unwrap();
    let mut shell = Command::new("sh")
        .args(["-euc", &commands[..end]])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{password}\n").as_bytes())
        .unwrap();
    let made: Value = serde_json::from_slice(&shell.wait_with_output().unwrap().stdout).unwrap();
    let auth = entry(made)["auth"].as_str().unwrap().to_owned();
    let auth = base64::engine::general_purpose::STANDARD.decode(auth).unwrap();
    assert_eq!(String::from_utf8(auth).unwrap(), format!("robot$o'c:{password}"));
}

/// A certificate from elsewhere: its file holds the server's alone, the authority's is beside it.
fn from_elsewhere(at: &Path) -> (PathBuf, PathBuf, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Example Works");
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["registry.example".to_owned()]).unwrap();
    let server = params.signed_by(&key, &issuer).unwrap().pem();
    let path = |name: &str, text: &str| {
        fs::write(at.join(name), text).unwrap();
        at.join(name)
    };
    path("server.key", &key.serialize_pem());
    (
        path("server.pem", &server),
        path("works.pem", &authority),
        authority,
    )
}

#[test]
fn of_a_certificate_from_elsewhere_it_says_which_authority_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let (server, works, authority) = from_elsewhere(directory.path());
    let trust = |rest: &[&str]| {
        let certificate = format!("tls.certificate={}", server.display());
        let key = format!("tls.key={}", directory.path().join("server.key").display());
        let begin = [
            "trust",
            "--json",
            "--server",
            "registry.example",
            "--set",
            &certificate,
            "--set",
            &key,
        ];
        finish(berth(&[&begin[..], rest].concat()))
    };
    let unknown = trust(&[]);
    assert_eq!(unknown.code, 1);
    for expected in ["server.pem: signed by CN=Example Works", "--ca-file"] {
        assert!(unknown.err.contains(expected), "{}", unknown.err);
    }
    let given = trust(&["--ca-file", works.to_str().unwrap()]).well();
    assert_eq!(given.json()[0]["authority"]["pem"], authority.as_str());
    assert_eq!(given.err, "", "it is for that name");

    let other = tempfile::tempdir().unwrap();
    let (_, others, _) = from_elsewhere(other.path());
    let wrong = trust(&["--ca-file", others.to_str().unwrap()]);
    assert!(
        wrong.code == 1 && wrong.err.contains("none of its certificates signed"),
        "{}",
        wrong.err
    );

    // A file with the whole chain needs nothing else.
    let chain = fs::read_to_string(&server).unwrap() + &authority;
    fs::write(&server, chain).unwrap();
    assert_eq!(
        trust(&[]).well().json()[0]["authority"]["pem"],
        authority.as_str()
    );
}

#[test]
fn an_authority_that_the_system_trusts_needs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (server, works, _) = from_elsewhere(directory.path());
    let certificate = format!("tls.certificate={}", server.display());
    let key = format!("tls.key={}", directory.path().join("server.key").display());
    let mut command = berth(&[
        "trust",
        "--server",
        "registry.example",
        "--set",
        &certificate,
        "--set",
        &key,
    ]);
    // Where the system's certificates are, for those who look for them as OpenSSL does.
    command.env("SSL_CERT_FILE", works);
    let said = finish(command).well();
    assert!(
        said.out.contains("clients that do so too need nothing"),
        "{}",
        said.out
    );
    assert!(
        !said.out.contains("install ") && !said.out.contains("--cacert"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("curl https://registry.example/v2/"),
        "{}",
        said.out
    );
}

#[test]
fn where_there_is_nothing_to_trust_it_says_so_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    for (arguments, expected) in [
        (&["--data", data][..], "served without TLS"),
        (
            &["--data", data, "--set", "tls.self_signed=true"],
            "start `berth serve` first",
        ),
        (
            &["--set", "memory=true", "--set", "tls.self_signed=true"],
            "/ca.pem from the admin listener",
        ),
        (&["--data", data, "--set", "listen=127.0.0.1:0"], "--server"),
    ] {
        let said = finish(berth(&[&["trust"], arguments].concat()));
        assert!(said.code == 1 && said.err.contains(expected), "{said:?}");
    }
    let said = finish(berth(&["trust", "--server", "https://registry.example"]));
    assert!(
        said.code == 2 && said.err.contains("is no HOST or HOST:PORT"),
        "{said:?}"
    );
}

#[tokio::test]
async fn the_admin_listener_hands_the_authority_out_and_a_check_says_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let tls = ["--tls-self-signed", "--set", "tls.names=registry.example"];
    let check = || {
        let begin = [
            "check",
            "--allow-anonymous",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data.to_str().unwrap(),
        ];
        run(&[&begin[..], &tls].concat()).well().out
    };
    let before = check();
    assert!(
        before.contains("TLS: a certificate authority would be made"),
        "{before}"
    );
    assert!(before.contains("listens at: https://127.0.0.1:0"), "{before}");
    assert!(!data.exists(), "a check makes nothing");
    let server = Serving::start(&data, &tls);
    let (status, handed) = support::soon(support::ask(server.admin, "/ca.pem")).await;
    assert_eq!(status, 200);
    assert_eq!(handed, fs::read_to_string(data.join("tls/ca.pem")).unwrap());
    let after = check();
    assert!(after.contains("TLS: signed by CN=berth CA "), "{after}");
    assert!(
        after.contains("registry.example") && after.contains("good until"),
        "{after}"
    );
}
