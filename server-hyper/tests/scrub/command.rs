//! `berth scrub`, on a running server and on a stopped one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use server_hyper::control::TOKEN;

use crate::house::writable;
use crate::support::binary::{Serving, berth, finish};
use crate::support::image::{LAYER, push, status};

/// Every file of the blobs that is as long as a layer.
fn layers(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for fan in fs::read_dir(data.join("blobs")).unwrap() {
        let fan = fan.unwrap().path();
        if fan.is_dir() {
            files.extend(fs::read_dir(fan).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.retain(|file| fs::metadata(file).unwrap().len() == LAYER as u64);
    files
}

/// Asks until the scrub says what is waited for.
fn until(ask: impl Fn() -> Vec<Value>, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let said = ask();
        if is_so(&said) {
            return said;
        }
        assert!(Instant::now() < end, "{said:?}");
    }
}

#[tokio::test]
async fn what_is_found_is_listed_with_who_needs_it_until_it_is_pushed_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let server = Serving::start(data, &["--set", "scrub.interval=100ms"]);
    let image = push(server.address, "team/app", "v1", 1).await;
    let local = |arguments: &[&str]| {
        let mut command = berth(&[&["scrub"], arguments].concat());
        command.arg("--data").arg(data);
        finish(command).well()
    };
    let remote = |arguments: &[&str]| {
        let mut command = berth(&[&["scrub"], arguments].concat());
        command.args(["--server", &format!("http://{}", server.admin)]);
        command.arg("--token-file").arg(data.join(TOKEN));
        finish(command).well()
    };
    let done = |said: &[Value]| said.last().unwrap()["done"].clone();
    let whole = until(
        || local(&["--json"]).json(),
        |said| done(said)["over"] == true && done(said)["done"]["manifests"] == 1,
    );
    assert_eq!((whole.len(), &done(&whole)["standing"]), (1, &Value::from(0)));
    assert_eq!(done(&whole)["settings"]["interval_ms"], 100);
    assert!(remote(&["--list"]).out.contains("nothing was found damaged"));

    let [layer] = layers(data).try_into().expect("one layer");
    writable(&layer);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[LAYER / 2] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let found = until(|| remote(&["--json"]).json(), |said| said.len() > 1);
    let one = &found[0]["found"];
    assert_eq!(one["digest"], image.layer.to_string());
    assert_eq!(
        (&one["damage"], &one["standing"]),
        (&"wrong".into(), &"damaged".into())
    );
    assert_eq!(one["needed_by"][0]["repository"], "team/app");
    assert_eq!(one["needed_by"][0]["manifest"], image.manifest.to_string());
    assert_eq!(done(&found)["standing"], 1);
    let told = local(&["--list"]).out;
    assert!(told.contains(&format!("blob {} at file:", image.layer)), "{told}");
    assert!(
        told.contains(&format!("needed by team/app@{}", image.manifest)),
        "{told}"
    );
    assert!(told.contains("push it again"), "{told}");
    let state = local(&["--status"]).out;
    assert!(
        state.contains("1 finding stands") && state.contains("20.0 MiB/s"),
        "{state}"
    );
    assert!(!state.contains(&image.layer.to_string()), "{state}");

    let blob = format!("/v2/team/app/blobs/{}", image.layer);
    assert_eq!(status(server.address, &blob).await, 404);
    push(server.address, "team/app", "v1", 1).await;
    assert_eq!(status(server.address, &blob).await, 200);
    let mended = local(&["--json"]).json();
    assert_eq!(mended[0]["found"]["standing"], "mended");
    assert_eq!(done(&mended)["standing"], 0);

    // A stopped registry remembers.
    server.end();
    let stopped = local(&["--json"]).json();
    assert_eq!(stopped[0]["found"]["standing"], "mended");
    assert_eq!(done(&stopped).get("settings"), None);
    assert!(local(&[]).out.contains("no server reads it again now"));
}
