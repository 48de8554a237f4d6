//! `berth undelete`, `berth history`, `berth rollback` and `berth trash`, on a running server and on a stopped one.

mod support;

use futures_util::StreamExt as _;
use registry_core::auth::Identity;
use registry_core::manifest::OCI_INDEX;
use registry_core::{Context, Digest, PutManifest, RepositoryName};
use server_hyper::control::{Request, answer};
use support::binary::{Said, Serving, local, remote, run};
use support::image::{delete, push, resolve, status};

#[tokio::test]
async fn what_was_deleted_is_listed_and_comes_back_with_its_tags_over_the_socket_and_over_http() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, &[]);
    let at = server.address;
    let image = push(at, "team/app", "v1", 1).await;
    let digest = image.manifest.to_string();
    let named = format!("team/app@{digest}");
    for over_http in [false, true] {
        let ask = |arguments: &[&str]| match over_http {
            true => remote(&server, data, arguments),
            false => local(data, arguments),
        };
        delete(at, "team/app", &digest).await;
        assert_eq!(resolve(at, "team/app", "v1").await, None);
        let listed = ask(&["undelete", "--list", "team/app"]).well();
        assert!(
            listed.out.starts_with(&named) && listed.out.contains("tag v1"),
            "{}",
            listed.out
        );
        let listed = ask(&["undelete", "--list", "team/app", "--json"]).well().json();
        assert_eq!(listed[0]["found"]["manifest"]["digest"], digest);
        assert_eq!(listed[0]["found"]["manifest"]["tags"][0], "v1");
        assert_eq!(listed[1]["done"]["count"], 1);

        let back = ask(&["undelete", &named]).well();
        assert_eq!(back.out, format!("{named} is back, with tag v1\n"));
        assert_eq!(resolve(at, "team/app", "v1").await, Some(image.manifest));
        for blob in [image.config, image.layer] {
            assert_eq!(status(at, &format!("/v2/team/app/blobs/{blob}")).await, 200);
        }
        let again = ask(&["undelete", &named]);
        assert_eq!((again.code, again.out.as_str()), (1, ""));
        assert!(again.err.starts_with("berth: "), "{}", again.err);
        let none = ask(&["undelete", "--list", "team/app"]).well();
        assert!(none.out.contains("nothing of team/app"), "{}", none.out);
    }
    let unknown = local(data, &["undelete", "--list", "no/such"]);
    assert!(
        unknown.code == 1 && unknown.err.contains("no/such"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn a_tag_comes_back_however_it_went() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, &[]);
    let at = server.address;
    let image = push(at, "a/b", "v1", 1).await;
    push(at, "a/b", "v2", 1).await;
    let digest = image.manifest.to_string();
    let undelete = |what: &str| local(data, &["undelete", what, "--json"]).well().json().remove(0);
    // Alone.
    delete(at, "a/b", "v1").await;
    assert_eq!(undelete("a/b:v1")["digest"], digest);
    assert_eq!(resolve(at, "a/b", "v1").await, Some(image.manifest));
    // With its manifest: the other tag that went with it stays away.
    delete(at, "a/b", &digest).await;
    assert_eq!(undelete("a/b:v1")["tags"], serde_json::json!(["v1"]));
    assert_eq!(resolve(at, "a/b", "v1").await, Some(image.manifest));
    assert_eq!(resolve(at, "a/b", "v2").await, None);
    // Alone, and its manifest after it.
    delete(at, "a/b", "v1").await;
    delete(at, "a/b", &digest).await;
    assert_eq!(undelete("a/b:v1")["digest"], digest);
    assert_eq!(resolve(at, "a/b", "v1").await, Some(image.manifest));
    let never = local(data, &["undelete", "a/b:v9"]);
    assert!(never.code == 1 && never.err.contains("v9"), "{}", never.err);
}

#[tokio::test]
async fn a_tag_has_a_history_and_goes_back_in_it() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, &[]);
    let at = server.address;
    let mut images: Vec<Digest> = Vec::new();
    for seed in 1..=3 {
        images.push(push(at, "a/b", "latest", seed).await.manifest);
    }
    let moves = local(data, &["history", "a/b:latest", "--json"]).well().json();
    assert_eq!(moves.len(), 4);
    assert_eq!(moves[0]["found"]["from"], images[1].to_string());
    assert_eq!(moves[0]["found"]["to"], images[2].to_string());
    assert_eq!(moves[2]["found"].get("from"), None);
    assert_eq!(moves[3]["done"], serde_json::json!({ "count": 3, "more": false }));
    let told = local(data, &["history", "a/b:latest", "--limit", "1"]).well().out;
    assert!(
        told.contains(&format!("from {} to {}", images[1], images[2])),
        "{told}"
    );
    assert!(told.contains("and more"), "{told}");

    // To the one before, and again to the one before that move.
    let points =
        |said: &Said, to: &Digest| assert!(said.out.contains(&format!("points at {to};")), "{said:?}");
    points(
        &remote(&server, data, &["rollback", "a/b:latest"]).well(),
        &images[1],
    );
    assert_eq!(resolve(at, "a/b", "latest").await, Some(images[1]));
    points(&local(data, &["rollback", "a/b:latest"]).well(), &images[2]);
    // To any other, also to one that was deleted.
    delete(at, "a/b", &images[0].to_string()).await;
    points(
        &local(data, &["rollback", "a/b:latest", "--to", &images[0].to_string()]).well(),
        &images[0],
    );
    assert_eq!(resolve(at, "a/b", "latest").await, Some(images[0]));
    // A tag that was deleted goes back to where it was.
    delete(at, "a/b", "latest").await;
    points(&local(data, &["rollback", "a/b:latest"]).well(), &images[0]);
    let told = local(data, &["history", "a/b:latest"]).well().out;
    let who: Vec<&str> = told.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!((who.len(), who[0], who[1]), (8, "operator", "anonymous"));

    let never = local(data, &["rollback", "a/b:never"]);
    assert!(
        never.code == 1 && never.err.contains("never had a tag"),
        "{}",
        never.err
    );
    push(at, "a/b", "once", 9).await;
    let first = local(data, &["rollback", "a/b:once"]);
    assert!(
        first.code == 1 && first.err.contains("name a digest"),
        "{}",
        first.err
    );
}

#[tokio::test]
async fn on_a_stopped_registry_the_same_commands_do_the_same() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, &[]);
    let first = push(server.address, "a/b", "v1", 1).await.manifest;
    push(server.address, "a/b", "v1", 2).await;
    delete(server.address, "a/b", &first.to_string()).await;
    server.end();

    let named = format!("a/b@{first}");
    assert!(
        local(data, &["undelete", "--list", "a/b"])
            .well()
            .out
            .starts_with(&named)
    );
    assert_eq!(
        local(data, &["history", "a/b:v1", "--json"]).well().json().len(),
        3
    );
    local(data, &["rollback", "a/b:v1", "--to", &first.to_string()]).well();
    let server = Serving::start(data, &[]);
    assert_eq!(resolve(server.address, "a/b", "v1").await, Some(first));
}

#[tokio::test]
async fn what_is_purged_is_named_before_and_goes_only_if_that_is_confirmed() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Serving::start(data, &[]);
    let at = server.address;
    let image = push(at, "team/app", "v1", 1).await;
    push(at, "team/app", "v2", 2).await;
    push(at, "other/app", "v1", 3).await;
    let digest = image.manifest.to_string();
    delete(at, "team/app", &digest).await;
    delete(at, "team/app", "v2").await;
    delete(at, "other/app", "v1").await;
    for listed in [
        local(data, &["trash", "list"]),
        remote(&server, data, &["trash", "list"]),
    ] {
        let out = listed.well().out;
        let named: Vec<&str> = out.lines().filter_map(|line| line.split("  ").next()).collect();
        assert_eq!(
            named,
            ["other/app:v1", &format!("team/app@{digest}"), "team/app:v2"]
        );
    }

    // Nobody is there to be asked.
    let asked = local(data, &["trash", "purge", "team/app"]);
    assert_eq!(asked.code, 1);
    assert!(
        asked.out.contains(&digest) && asked.out.contains("team/app:v2"),
        "{asked:?}"
    );
    assert!(!asked.out.contains("other/app"), "{asked:?}");
    assert!(
        asked.err.contains("2 things") && asked.err.contains("--yes"),
        "{asked:?}"
    );
    assert_eq!(
        local(data, &["trash", "list", "--json"]).well().json()[3]["done"]["count"],
        3
    );

    // One manifest, the rest of a repository, the rest of all.
    let named = format!("team/app@{digest}");
    let one = remote(&server, data, &["trash", "purge", &named, "--yes", "--json"])
        .well()
        .json();
    assert_eq!(one[0]["purged"]["what"]["manifest"]["digest"], digest);
    assert_eq!(one[1]["done"]["count"], 1);
    let again = local(data, &["trash", "purge", &named, "--yes"]);
    assert!(
        again.code == 1 && again.err.contains("not in the trash"),
        "{again:?}"
    );
    let gone = local(data, &["undelete", &named]);
    assert_eq!(gone.code, 1, "{gone:?}");
    let rest = local(data, &["trash", "purge", "team/app", "--yes"]).well().out;
    assert!(rest.contains("team/app:v2") && rest.contains("1 thing"), "{rest}");
    assert!(resolve(at, "team/app", "v2").await.is_none());
    server.end();
    let all = local(data, &["trash", "purge", "--all", "--yes"]).well().out;
    assert!(all.contains("other/app:v1"), "{all}");
    let none = local(data, &["trash", "purge", "--all"]).well().out;
    assert_eq!(none, "the trash is empty\n");
    assert_eq!(
        local(data, &["trash", "list"]).well().out,
        "nothing can be undeleted\n"
    );
}

#[tokio::test]
async fn what_is_deleted_after_the_plan_of_a_purge_stays() {
    let data = tempfile::tempdir().unwrap();
    let stores = server_hyper::Stores::open(data.path(), Default::default()).unwrap();
    let (registry, undo) = (stores.registry.clone(), stores.undo.clone());
    let name: RepositoryName = "team/app".parse().unwrap();
    let ctx = Context {
        may_push: true,
        ..Context::request(Identity::Anonymous, "test")
    };
    let mut deleted = Vec::new();
    for tag in ["first", "second"] {
        let manifest = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"tag":"{tag}"}}}}"#);
        let put = PutManifest::tagged(tag.parse().unwrap(), OCI_INDEX, manifest);
        let digest = registry.put_manifest(&ctx, &name, put).await.unwrap().digest;
        let before = undo.list_trash(&name, None, 10).await.unwrap().items;
        loop {
            registry.delete_manifest(&ctx, &name, &digest).await.unwrap();
            let now = undo.list_trash(&name, None, 10).await.unwrap().items;
            let mine = now.iter().find(|trashed| trashed.digest == digest).unwrap().at;
            if before.iter().all(|earlier| earlier.at < mine) {
                deleted.push((digest, mine));
                break;
            }
            // Within the same millisecond.
            undo.undelete(&ctx, &name, &digest, None).await.unwrap();
        }
    }
    let request = Request::Purge {
        repository: name.clone(),
        digest: None,
        until: deleted[0].1,
    };
    let mut told = std::pin::pin!(answer(stores, request));
    let mut lines = Vec::new();
    while let Some(line) = told.next().await {
        lines.push(line);
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
    let left = undo.list_trash(&name, None, 10).await.unwrap().items;
    assert_eq!((left.len(), left[0].digest), (1, deleted[1].0));
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    for arguments in [
        &["undelete"][..],
        &["undelete", "team/app"],
        &["undelete", "host:5000/team/app:v1"],
        &["history", "team/app@sha256:00"],
        &["rollback", "team/app:v1", "--to", "v2"],
        &["gc", "--server", "http://127.0.0.1:1", "--data", "/nowhere"],
        &["gc", "--token-file", "/nowhere"],
        &["trash"],
        &["trash", "purge", "--yes"],
        &["trash", "purge", "team/app", "--all"],
        &["trash", "purge", "team/app:v1"],
        &["scrub", "--list", "--status"],
    ] {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
}
