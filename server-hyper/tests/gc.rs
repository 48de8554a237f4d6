//! `berth gc`, on a running server and on a stopped one.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use registry_core::Digest;
use registry_core::store::{Kv as _, Txn};
use server_hyper::TokioRuntime;
use server_hyper::control::TOKEN;
use support::binary::{Serving, berth, local, remote};
use support::image::{LAYER, delete, push, push_blob, resolve, status};
use support::{http1, request, soon};

/// The server's own collector does not come by.
const IDLE: &[&str] = &["--set", "collector.interval=1h"];

/// How many files the blobs take.
fn files(data: &Path) -> usize {
    let inside = |path: std::path::PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    inside(data.join("blobs"))
        .filter(|entry| entry.file_name().len() == 2)
        .flat_map(|entry| inside(entry.path()))
        .count()
}

#[tokio::test]
async fn on_a_running_server_what_nothing_points_at_is_condemned_and_what_a_manifest_names_or_may_come_back_stays()
 {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    let at = server.address;
    let kept = push(at, "team/app", "v1", 1).await;
    let deleted = push(at, "team/app", "v2", 2).await;
    delete(at, "team/app", &deleted.manifest.to_string()).await;
    let orphans = [vec![7; LAYER], vec![8; LAYER]];
    let mut digests = Vec::new();
    for orphan in &orphans {
        digests.push(push_blob(at, "team/app", orphan.clone()).await);
    }
    let run = |over_http: bool| match over_http {
        true => remote(&server, data, &["gc", "--grace", "0s"]).well().out,
        false => local(data, &["gc", "--grace", "0s"]).well().out,
    };
    let said = run(true);
    let told = |line: &str| {
        said.lines()
            .any(|told| told.split_whitespace().eq(line.split_whitespace()))
    };
    assert!(told("blobs condemned 2"), "{said}");
    assert!(
        said.ends_with("goes after lifetimes.second_delay, unless it is pushed again\n"),
        "{said}"
    );
    // Whoever may be reading it can go on: nothing is removed before its time, however often one asks.
    assert!(!run(false).contains("removed"));
    let explain = |digest: &Digest| local(data, &["gc", "explain", &digest.to_string()]).well().out;
    assert!(explain(&digests[0]).contains("state   condemned; may be removed from 20"));
    // A push of it before then saves it.
    push_blob(at, "team/app", orphans[0].clone()).await;
    assert!(explain(&digests[0]).contains("state   live"));
    let in_trash = explain(&deleted.layer);
    assert!(
        in_trash.contains("held by the deleted manifest") && in_trash.contains("state   live"),
        "{in_trash}"
    );
    assert_eq!(
        status(at, &format!("/v2/team/app/blobs/{}", kept.layer)).await,
        200
    );

    let listed = remote(&server, data, &["gc", "runs", "--json", "--limit", "1000"])
        .well()
        .json();
    let listed = listed[0].as_array().unwrap().clone();
    let sum = |count: &str| {
        listed
            .iter()
            .map(|run| run["counts"][count].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        (sum("condemned"), sum("removed"), sum("failures")),
        (2, 0, 0),
        "{listed:?}"
    );
    let table = local(data, &["gc", "runs"]).well().out;
    assert!(
        table.starts_with("started ") && table.contains("asked") && table.contains("done"),
        "{table}"
    );

    // Once nobody serves, nobody can be reading. What the second push sent is gone already: its bytes were here.
    server.end();
    let said = local(data, &["gc", "--grace", "0s"]).well().out;
    assert!(said.starts_with("39.1 KiB given back in "), "{said}");
    assert_eq!(files(data), 2);
    let server = Serving::start(data, IDLE);
    local(data, &["undelete", &format!("team/app@{}", deleted.manifest)]).well();
    for (image, tag) in [(kept, "v1"), (deleted, "v2")] {
        assert_eq!(
            resolve(server.address, "team/app", tag).await,
            Some(image.manifest)
        );
        for blob in [image.config, image.layer] {
            assert_eq!(
                status(server.address, &format!("/v2/team/app/blobs/{blob}")).await,
                200
            );
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_why_and_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    let at = server.address;
    let kept = push(at, "team/app", "v1", 1).await;
    let orphan = push_blob(at, "team/orphans", vec![7; LAYER]).await;
    let ask = |arguments: &[&str], over_http: bool| match over_http {
        true => remote(&server, data, arguments).well(),
        false => local(data, arguments).well(),
    };
    for over_http in [true, false] {
        let fresh = ask(&["gc", "--dry-run"], over_http).out;
        assert!(fresh.contains("nothing would go"), "{fresh}");
        let told = ask(&["gc", "--dry-run", "--grace", "0s"], over_http).out;
        let why = format!(
            "condemn {orphan} (19.5 KiB): no manifest names it, and no lease holds it; last held by team/orphans"
        );
        assert!(told.contains(&why), "{told}");
        assert!(!told.contains(&kept.layer.to_string()), "{told}");
        let totals = |line: &str| {
            told.lines()
                .any(|told| told.split_whitespace().eq(line.split_whitespace()))
        };
        assert!(
            totals("blobs that nothing points at: condemned 1 19.5 KiB"),
            "{told}"
        );
        assert!(totals("team/orphans 1 19.5 KiB"), "{told}");
        assert!(
            told.contains("nothing was changed; to do it: berth gc --grace 0s --"),
            "{told}"
        );
        let json = ask(&["gc", "--dry-run", "--grace", "0s", "--json"], over_http).json();
        let plan = &json.last().unwrap()["done"];
        assert_eq!(plan["condemn"], serde_json::json!({ "count": 1, "bytes": LAYER }));
        assert_eq!(plan["repositories"]["team/orphans"]["bytes"], LAYER);
        let found = |line: &serde_json::Value| line["found"]["digest"] == orphan.to_string();
        assert_eq!(json.iter().filter(|line| found(line)).count(), 1, "{json:?}");
    }
    assert_eq!(local(data, &["gc", "runs", "--json"]).well().out, "[]\n");
    assert_eq!(files(data), 2);
    assert_eq!(status(at, &format!("/v2/team/orphans/blobs/{orphan}")).await, 200);
}

#[tokio::test]
async fn a_history_that_is_only_to_be_looked_at_is_nothing_that_would_go() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    push(server.address, "team/app", "v1", 1).await;
    server.end();
    local(data, &["gc"]).well();
    {
        let stores = registry_storage::open(data, TokioRuntime::shared()).unwrap();
        // One move in so many leaves such a mark, by chance.
        let mark = Txn::new().put(format!("trim/{}/v1", "0".repeat(32)), r#"{"v":1}"#);
        stores.kv.commit(mark).await.unwrap();
    }
    let planned = local(data, &["gc", "--dry-run"]).well().out;
    assert!(planned.ends_with("\nnothing would go\n"), "{planned}");
}

#[tokio::test]
async fn a_dry_run_names_the_manifests_that_would_go_and_what_they_alone_hold() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    let old = push(server.address, "team/app", "v1", 1).await;
    let new = push(server.address, "team/app", "v1", 2).await;
    server.end();
    let after = |kept: &str, arguments: &[&str]| {
        let untagged = format!("collector.untagged={kept}");
        // What is to be over at once does not wait for slow commits.
        let short = ["lifetimes.second_delay=1ms", "lifetimes.longest_read=1ms"];
        let sets = ["--set", &untagged, "--set", short[0], "--set", short[1]];
        local(data, &[arguments, &sets].concat()).well().out
    };
    let dry = ["gc", "--dry-run"];
    let unread = after("1ms", &dry);
    assert!(
        unread.contains("there may be more manifests without a tag"),
        "{unread}"
    );
    let followed = after("1h", &["gc"]);
    assert!(!followed.contains("untagged"), "{followed}");
    let stays = after("1h", &dry);
    assert!(stays.contains("nothing would go"), "{stays}");

    let told = after("1ms", &dry);
    let why = format!("delete manifest {} in team/app: no tag since 20", old.manifest);
    assert!(told.contains(&why), "{told}");
    assert!(!told.contains(&new.manifest.to_string()), "{told}");
    let totals = |line: &str| {
        told.lines()
            .any(|told| told.split_whitespace().eq(line.split_whitespace()))
    };
    assert!(totals("manifests without a tag: deleted 1 19.5 KiB"), "{told}");
    assert!(totals("team/app 2 19.5 KiB"), "{told}");
    assert!(told.contains("goes to the trash first"), "{told}");
    assert_eq!(after("1ms", &dry), told);
    let done = after("1ms", &["gc"]);
    assert!(done.contains("untagged manifests deleted"), "{done}");

    let runs = local(data, &["gc", "runs", "--json"]).well().json();
    let node = runs[0][0]["node"].as_str().unwrap();
    let directory = data.canonicalize().unwrap();
    assert!(node.ends_with(&format!(":{}", directory.display())), "{node}");
}

#[tokio::test]
async fn on_a_stopped_registry_one_run_gives_back_all_that_nothing_points_at() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    let kept = push(server.address, "a/b", "v1", 1).await;
    push_blob(server.address, "a/b", vec![7; LAYER]).await;
    server.end();
    let plan = local(data, &["gc", "--dry-run", "--grace", "0s"]).well().out;
    assert!(plan.contains("19.5 KiB"), "{plan}");
    assert_eq!(files(data), 2);
    let said = local(data, &["gc", "--grace", "0s"]).well();
    assert!(said.out.starts_with("19.5 KiB given back in "), "{said:?}");
    assert!(
        said.out.contains("blobs removed") && said.out.contains("locations unlinked"),
        "{said:?}"
    );
    assert_eq!(files(data), 1);
    assert_eq!(
        local(data, &["gc", "--grace", "0s"]).well().out,
        "nothing to do\n"
    );
    let server = Serving::start(data, &[]);
    assert_eq!(
        status(server.address, &format!("/v2/a/b/blobs/{}", kept.layer)).await,
        200
    );
}

#[tokio::test]
async fn an_explanation_names_the_manifest_and_the_tag_that_keep_a_blob_and_what_becomes_of_others() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, IDLE);
    let at = server.address;
    let image = push(at, "team/app", "v1", 1).await;
    let orphan = push_blob(at, "team/orphans", vec![7; LAYER]).await;
    let explain = |digest: &str| remote(&server, data, &["gc", "explain", digest]);
    let kept = explain(&image.layer.to_string()).well().out;
    for part in [
        image.layer.to_string(),
        image.manifest.to_string(),
        "team/app, tag v1".into(),
        "It is kept".into(),
    ] {
        assert!(kept.contains(&part), "{part} is not in\n{kept}");
    }
    let leased = explain(&orphan.to_string()).well().out;
    assert!(leased.contains("leased:\n  in team/orphans until 20"), "{leased}");
    let json = local(data, &["gc", "explain", "--json", &image.layer.to_string()])
        .well()
        .json();
    assert_eq!(json[0]["holders"][0]["manifest"], image.manifest.to_string());
    assert_eq!(json[0]["holders"][0]["tags"][0], "v1");
    assert_eq!(json[0]["blob"]["size"], LAYER);
    let unknown = format!("sha256:{}", "0".repeat(64));
    let unknown = explain(&unknown);
    assert!(
        unknown.code == 1 && unknown.out.contains("no such blob"),
        "{unknown:?}"
    );
    assert_eq!(explain("v1").code, 2);
}

/// What a run of a client that left is recorded as.
async fn stopped(data: &Path) {
    soon(async {
        loop {
            let runs = local(data, &["gc", "runs", "--json"]).well().json();
            match runs[0][0]["outcome"]["end"].as_str() {
                Some(end) => return assert_eq!(end, "stopped", "{runs:?}"),
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_run_over_the_socket_and_over_http() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    // One step a second: whatever there is to do takes longer than this test has.
    let server = Serving::start(
        data,
        &["--set", "collector.interval=1h", "--set", "collector.rate=1"],
    );
    for number in 0..60 {
        push_blob(server.address, "a/b", format!("{number}").into_bytes()).await;
    }
    let mut command = berth(&["gc", "--grace", "0s", "--json", "--data", data.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.starts_with(r#"{"progress":"#), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    stopped(data).await;

    let token = std::fs::read_to_string(data.join(TOKEN)).unwrap();
    let mut asked = request(Method::POST, "/control", r#"{"gc":{"grace_ms":0}}"#);
    let value = format!("Bearer {}", token.trim()).parse().unwrap();
    asked.headers_mut().insert("authorization", value);
    let mut client = http1(server.admin).await;
    let answer = soon(client.send_request(asked)).await.unwrap();
    let mut body = answer.into_body();
    let first = soon(http_body_util::BodyExt::frame(&mut body))
        .await
        .unwrap()
        .unwrap();
    assert!(first.into_data().unwrap().starts_with(br#"{"progress":"#));
    drop((body, client));
    stopped(data).await;
    let runs = local(data, &["gc", "runs", "--json"]).well().json();
    assert_eq!(runs[0].as_array().unwrap().len(), 2);
    let removed = runs[0][0]["counts"]["condemned"].as_u64().unwrap();
    assert!(removed < 30, "{runs:?}");
    // Others are answered meanwhile, and after.
    tokio::time::timeout(Duration::from_secs(20), push(server.address, "a/b", "v1", 1))
        .await
        .unwrap();
}
