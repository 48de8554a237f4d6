//! Backups, restores and checks by the binary, from outside.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use registry_core::Digest;
use registry_core::manifest::{OCI_MANIFEST, ParsedManifest};

use support::binary::{self, Serving};
use support::image::{content, image};
use support::{Http1, http1, read, request, soon};

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a command ended well, what it printed, and what it said beside that.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let said = binary::run(arguments);
    (said.code == 0, said.out, said.err)
}

fn serve(data: &str) -> Serving {
    Serving::start(Path::new(data), &[])
}

async fn push_over(client: &mut Http1, n: usize) -> Option<()> {
    let blobs = [content(n), content(n % 7 + 1_000_000)];
    for blob in &blobs {
        client.ready().await.ok()?;
        let uri = format!("/v2/a/b/blobs/uploads/?digest={}", Digest::sha256(blob));
        let answer = client
            .send_request(request(Method::POST, &uri, blob.clone()))
            .await
            .ok()?;
        assert_eq!(read(answer).await.0, 201);
    }
    client.ready().await.ok()?;
    let mut put = request(Method::PUT, &format!("/v2/a/b/manifests/t{n}"), image(&blobs));
    put.headers_mut()
        .insert("content-type", OCI_MANIFEST.parse().unwrap());
    let answer = client.send_request(put).await.ok()?;
    (answer.status() == 201).then_some(())
}

async fn pull_over(address: SocketAddr, n: usize) {
    let mut client = http1(address).await;
    let mut get = async |uri: String| {
        soon(client.ready()).await.unwrap();
        let answer = soon(client.send_request(support::get(&uri))).await.unwrap();
        assert_eq!(answer.status(), 200, "{uri}");
        http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap()
            .to_bytes()
    };
    let manifest = get(format!("/v2/a/b/manifests/t{n}")).await;
    for child in ParsedManifest::parse(Some(OCI_MANIFEST), &manifest)
        .unwrap()
        .children
    {
        let blob = get(format!("/v2/a/b/blobs/{}", child.digest)).await;
        assert_eq!(Digest::sha256(&blob), child.digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_binary_backs_up_under_load_and_what_it_restores_can_be_pulled() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, to, back) = (path("data"), path("backup"), path("back"));
    let serving = serve(&data);
    let address = serving.address;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let load = {
        let acknowledged = acknowledged.clone();
        tokio::spawn(async move {
            let mut client = http1(address).await;
            while push_over(&mut client, acknowledged.load(Ordering::SeqCst))
                .await
                .is_some()
            {
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    until("some are pushed", async || {
        acknowledged.load(Ordering::SeqCst) > 20
    })
    .await;
    for deep in [false, true] {
        let deep = if deep { vec!["--deep"] } else { vec!["--repair"] };
        let (well, found, said) = run(&[&["fsck", "--data", &data], &deep[..]].concat());
        assert!(
            well && found.is_empty() && said.starts_with("nothing wrong"),
            "beside a server: {found}{said}"
        );
    }

    let pushed = acknowledged.load(Ordering::SeqCst);
    let (well, said, progress) = run(&["backup", "--data", &data, &to]);
    assert!(well && said.starts_with("backed up "), "{said}{progress}");
    let meanwhile = acknowledged.load(Ordering::SeqCst);
    until("pushes go on", async || {
        acknowledged.load(Ordering::SeqCst) > meanwhile + 5
    })
    .await;
    let (well, said, progress) = run(&["backup", "--json", "--data", &data, &to]);
    assert!(well, "{said}{progress}");
    let second: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(
        second["blobs"]["copied"]["count"].as_u64().unwrap() > 0,
        "{second}"
    );
    assert!(
        second["blobs"]["kept"]["count"].as_u64().unwrap() >= pushed as u64,
        "{second}"
    );
    drop(serving);
    load.await.unwrap();

    let (well, found, said) = run(&["restore", &to, "--data", &back]);
    assert!(well && found.is_empty(), "{found}{said}");
    assert!(
        said.contains("nothing wrong") && said.contains("restored"),
        "{said}"
    );
    let (well, _, said) = run(&["restore", &to, "--data", &back]);
    assert!(!well && said.contains("is not empty"), "{said}");
    let serving = serve(&back);
    for n in 0..pushed {
        pull_over(serving.address, n).await;
    }
}

#[test]
fn the_binary_backs_up_a_stopped_registry_and_finds_what_is_wrong_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, to) = (path("data"), path("backup"));
    drop(serve(&data));
    let (well, said, progress) = run(&["backup", "--data", &data, &to]);
    assert!(well, "{said}{progress}");
    let (well, found, said) = run(&["fsck", "--deep", "--data", &data]);
    assert!(
        well && found.is_empty() && said.starts_with("nothing wrong"),
        "{found}{said}"
    );

    let orphan = Path::new(&data).join("blobs/ab");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("ab0123456789abcdef0123456789abcd"), "lost").unwrap();
    let (well, found, said) = run(&["fsck", "--data", &data]);
    assert!(!well && said.contains("1 finding"), "{found}{said}");
    assert!(
        found.starts_with("orphan-file: nothing names file:ab/ab01"),
        "{found}"
    );
    let (well, found, _) = run(&["fsck", "--json", "--data", &data]);
    let lines: Vec<serde_json::Value> = found
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!well);
    assert_eq!((lines.len(), &lines[0]["kind"]), (2, &"orphan-file".into()));
    assert_eq!(lines[1]["checked"]["findings"], 1);
    assert_eq!(lines[0]["repair"], "no");
    let (well, found, said) = run(&["fsck", "--repair", "--data", &data]);
    assert!(
        !well && found.contains("a short while ago"),
        "it may be being written: {found}{said}"
    );
    let old = std::time::SystemTime::now() - Duration::from_secs(24 * 3600);
    let file = fs::File::open(orphan.join("ab0123456789abcdef0123456789abcd")).unwrap();
    file.set_modified(old).unwrap();
    let (well, found, said) = run(&["fsck", "--repair", "--data", &data]);
    assert!(well && found.contains("; repaired: "), "{found}{said}");
    let (well, found, said) = run(&["fsck", "--data", &data]);
    assert!(well && found.is_empty(), "{found}{said}");
}

#[test]
fn the_exit_code_of_a_check_says_what_came_of_it_and_an_older_format_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (data, none) = (directory.path().join("data"), directory.path().join("none"));
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry-storage/tests/formats/v1");
    copy(&old, &data);
    let fsck = |data: &Path, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["fsck", "--data", data.to_str().unwrap()])
            .args(more)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        (output.status.code().unwrap(), said.concat())
    };
    assert_eq!(fsck(&none, &[]).0, 2);
    let before = contents(&data);
    for more in [&[][..], &["--deep", "--json"]] {
        let (code, said) = fsck(&data, more);
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains("has format 1")
                && said.contains("--repair")
                && said.contains("nothing was changed"),
            "{said}"
        );
        let after = contents(&data);
        assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
        assert!(after == before, "nothing is written");
    }
    let (code, said) = fsck(&data, &["--repair"]);
    assert_eq!(code, 0, "{said}");
    // Bytes that are lost are no less so once their blob is marked.
    let blobs = contents(&data.join("blobs"));
    let (lost, _) = blobs
        .iter()
        .find(|(path, _)| path.extension().is_none() && !path.ends_with("STORE"))
        .unwrap();
    fs::remove_file(lost).unwrap();
    assert_eq!(fsck(&data, &[]).0, 1);
    let (code, said) = fsck(&data, &["--repair", "--json"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("\"lost\":1") && said.contains("to be pushed again: 1"),
        "{said}"
    );
    assert_eq!(fsck(&data, &["--deep"]).0, 1);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (path, content) in contents(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, content).unwrap();
    }
}

/// Every file below a directory but for the engine's lock, which is nobody's data.
fn contents(directory: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false if path.ends_with("lock") || path.ends_with("lock.mdb") => {}
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn commands_on_what_is_no_registry_say_so_and_make_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (none, to) = (path("none"), path("backup"));
    for (arguments, expected) in [
        (vec!["fsck", "--data", &none], "holds no registry"),
        (vec!["backup", "--data", &none, &to], "holds no registry"),
        (vec!["restore", &to, "--data", &none], "is no whole backup"),
        (vec!["fsck", "--memory"], "memory"),
    ] {
        let (well, _, said) = run(&arguments);
        assert!(
            !well && said.starts_with("berth: ") && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    // A restore that did not come to its end is told by all.
    fs::create_dir(&none).unwrap();
    fs::write(Path::new(&none).join("RESTORING"), "").unwrap();
    for arguments in [
        vec![
            "serve",
            "--allow-anonymous",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &none,
        ],
        vec!["check", "--allow-anonymous", "--data", &none],
    ] {
        let (well, _, said) = run(&arguments);
        assert!(
            !well && said.contains("a restore did not come to its end"),
            "{arguments:?}: {said}"
        );
    }
}
