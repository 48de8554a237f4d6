//! Holes that other registries had, as far as they are of the wire.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use registry_core::auth::Action::{Delete, Pull, Push};
use registry_core::wrappers::{Call, Gate, Gated, ReadOnly};
use registry_core::{Context, Digest, Error, ErrorKind, Result};
use serde_json::json;

use crate::harness::{Answer, Grants, IMAGE, Wire, request};

fn as_user(wire: &Wire, who: &str, method: &str, target: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {who}");
    let headers: &[(&str, &str)] = if who.is_empty() {
        &[]
    } else {
        &[("authorization", &bearer)]
    };
    wire.send(method, target, headers, body.to_owned())
}

/// An answer without what differs by chance: ids of requests and uploads.
fn shape(answer: &Answer) -> (u16, Vec<String>, Bytes) {
    let mut names: Vec<String> = answer.headers.keys().map(|name| name.to_string()).collect();
    names.sort();
    (answer.status, names, answer.body.clone())
}

/// CVE-2024-39897.
#[test]
fn a_mount_does_not_tell_what_exists_where_the_caller_may_not_read() {
    let open = Wire::new();
    open.push_blob("own", b"own");
    let secret = open.push_blob("private", b"secret");
    let absent = Digest::sha256(b"absent");
    let wire = open.governed(Grants(vec![("guest", "own", vec![Pull, Push])]));
    for from in ["", "&from=private", "&from=nowhere"] {
        let mount = |digest: &Digest| {
            let target = format!("/v2/own/blobs/uploads/?mount={digest}{from}");
            as_user(&wire, "guest", "POST", &target, "").is(202)
        };
        assert_eq!(shape(&mount(&secret)), shape(&mount(&absent)));
    }
    as_user(&wire, "guest", "GET", &format!("/v2/own/blobs/{secret}"), "").refuses(
        404,
        "BLOB_UNKNOWN",
        "blob",
    );
}

/// CVE-2026-27771: every route, anonymous or as somebody else.
#[test]
fn nothing_of_a_private_repository_is_shown_to_others() {
    let open = Wire::new();
    let (image, _) = open.push_image("private", "latest", "x");
    let blob = open.push_blob("private", b"secret");
    let location = open.begin("private");
    let wire = open.governed(Grants(vec![
        ("owner", "private", vec![Pull, Push, Delete]),
        ("other", "own", vec![Pull, Push, Delete]),
    ]));
    let before = open.kept();
    for (method, target) in [
        ("GET", "/v2/private/tags/list".to_owned()),
        ("GET", "/v2/private/manifests/latest".to_owned()),
        ("HEAD", format!("/v2/private/manifests/{image}")),
        ("PUT", "/v2/private/manifests/latest".to_owned()),
        ("DELETE", "/v2/private/manifests/latest".to_owned()),
        ("DELETE", format!("/v2/private/manifests/{image}")),
        ("GET", format!("/v2/private/blobs/{blob}")),
        ("HEAD", format!("/v2/private/blobs/{blob}")),
        ("DELETE", format!("/v2/private/blobs/{blob}")),
        ("POST", "/v2/private/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/private/blobs/uploads/?digest={blob}")),
        (
            "POST",
            format!("/v2/private/blobs/uploads/?mount={blob}&from=own"),
        ),
        ("GET", location.clone()),
        ("PATCH", location.clone()),
        ("PUT", format!("{location}?digest={blob}")),
        ("DELETE", location.clone()),
    ] {
        as_user(&wire, "", method, &target, "").is(401);
        let hidden = as_user(&wire, "other", method, &target, "").is(404);
        if method != "HEAD" {
            assert_eq!(hidden.code(), "NAME_UNKNOWN");
        }
        assert_eq!(hidden.headers.get("docker-content-digest"), None);
    }
    // Referrers are never a 404: a hidden repository has none, like one that does not exist.
    let referrers = format!("/v2/private/referrers/{image}");
    as_user(&wire, "", "GET", &referrers, "").is(401);
    let hidden = as_user(&wire, "other", "GET", &referrers, "").is(200);
    let absent = as_user(
        &wire,
        "other",
        "GET",
        &format!("/v2/nothing/referrers/{image}"),
        "",
    )
    .is(200);
    assert_eq!(hidden.body, absent.body);
    assert_eq!(open.kept(), before);
    as_user(&wire, "owner", "GET", "/v2/private/manifests/latest", "").is(200);
    let catalog =
        |who: &str| as_user(&wire, who, "GET", "/v2/_catalog", "").is(200).json()["repositories"].clone();
    assert_eq!(
        (catalog("owner"), catalog("other")),
        (json!(["private"]), json!([]))
    );
}

/// CVE-2026-35172.
#[test]
fn a_blob_deleted_here_stays_deleted_when_it_is_read_elsewhere() {
    let wire = Wire::new();
    let digest = wire.push_blob("a", b"shared");
    wire.push_blob("b", b"shared");
    wire.delete(&format!("/v2/a/blobs/{digest}")).is(202);
    wire.get(&format!("/v2/b/blobs/{digest}")).is(200);
    wire.get(&format!("/v2/a/blobs/{digest}"))
        .refuses(404, "BLOB_UNKNOWN", &digest.to_string());
}

struct NoDeletes;

#[async_trait]
impl Gate for NoDeletes {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        match call {
            Call::DeleteBlob(_)
            | Call::DeleteManifest(_)
            | Call::DeleteTag(_)
            | Call::DeleteRepository(_) => Err(Error::new(ErrorKind::Unsupported, "nothing is deleted here")),
            _ => Ok(ctx.clone()),
        }
    }
}

/// CVE-2026-41888.
#[test]
fn where_nothing_is_deleted_no_path_deletes() {
    let open = Wire::new();
    let (image, _) = open.push_image("a", "x", "x");
    let blob = open.push_blob("a", b"content");
    let before = open.kept();
    let wire = open.under(|registry| Gated::new(registry, NoDeletes));
    for target in [
        "/v2/a/manifests/x".to_owned(),
        format!("/v2/a/manifests/{image}"),
        format!("/v2/a/blobs/{blob}"),
    ] {
        let refused = wire.delete(&target).refuses(405, "UNSUPPORTED", "deleted");
        let allow = refused.text("allow");
        assert!(allow.contains("GET") && !allow.contains("DELETE"), "{allow}");
    }
    let closed = open.under(ReadOnly::around);
    closed
        .delete("/v2/a/manifests/x")
        .refuses(405, "UNSUPPORTED", "read-only");
    closed
        .post("/v2/a/blobs/uploads/")
        .refuses(405, "UNSUPPORTED", "read-only");
    assert_eq!(open.kept(), before);
}

/// CVE-2026-32589.
#[test]
fn an_upload_is_not_reached_from_another_repository() {
    let open = Wire::new();
    let location = open.begin("a");
    open.send("PATCH", &location, &[], "abc").is(202);
    let stolen = location.replace("/v2/a/", "/v2/b/");
    let digest = Digest::sha256(b"abc");
    let wire = open.governed(Grants(vec![
        ("thief", "b", vec![Pull, Push, Delete]),
        ("owner", "a", vec![Pull, Push]),
    ]));
    let before = open.kept();
    for (method, query) in [
        ("GET", ""),
        ("PATCH", ""),
        ("PUT", &*format!("?digest={digest}")),
        ("DELETE", ""),
    ] {
        as_user(&wire, "thief", method, &format!("{stolen}{query}"), "").refuses(
            404,
            "BLOB_UPLOAD_UNKNOWN",
            "upload",
        );
        as_user(&wire, "thief", method, &format!("{location}{query}"), "").refuses(404, "NAME_UNKNOWN", "a");
    }
    assert_eq!(open.kept(), before);
    as_user(&wire, "owner", "PUT", &format!("{location}?digest={digest}"), "").is(201);
}

/// CVE-2026-31801 and PROJQUAY-10504: what a tag may not become, by no path.
#[test]
fn a_condition_on_a_tag_holds_on_every_path_that_writes_it() {
    let wire = Wire::new();
    let (first, _) = wire.push_image("a", "latest", "first");
    let second = wire.image("a", "second", json!({}));
    let digest = Digest::sha256(second.as_bytes());
    for target in [
        "/v2/a/manifests/latest".to_owned(),
        "/v2/a/manifests/new?tag=latest".to_owned(),
        format!("/v2/a/manifests/{digest}?tag=latest"),
        format!("/v2/a/manifests/{digest}?tag=new&tag=latest"),
    ] {
        let headers = [("content-type", IMAGE), ("if-none-match", "*")];
        wire.send("PUT", &target, &headers, second.clone())
            .refuses(412, "PRECONDITION", "latest");
    }
    wire.get("/v2/a/manifests/new").is(404);
    let stale = format!("\"{digest}\"");
    let headers = [("content-type", IMAGE), ("if-match", &*stale)];
    wire.send("PUT", "/v2/a/manifests/latest", &headers, second.clone())
        .refuses(412, "PRECONDITION", "latest");
    assert_eq!(
        wire.head("/v2/a/manifests/latest").text("docker-content-digest"),
        first.to_string()
    );
    let current = format!("\"{first}\"");
    let headers = [("content-type", IMAGE), ("if-match", &*current)];
    wire.send("PUT", "/v2/a/manifests/latest", &headers, second)
        .is(201);
}

#[test]
fn of_sixty_four_writers_of_a_new_tag_one_wins() {
    let wire = Arc::new(Wire::new());
    let manifests: Vec<String> = (0..64)
        .map(|n| wire.image("a", &format!("{n}"), json!({})))
        .collect();
    let writers: Vec<_> = manifests
        .into_iter()
        .map(|manifest| {
            let wire = Arc::clone(&wire);
            std::thread::spawn(move || {
                let headers = [("content-type", IMAGE), ("if-none-match", "*")];
                let put = request("PUT", "/v2/a/manifests/latest", &headers);
                let answer = wire.exchange(put.map(|()| Full::new(Bytes::from(manifest.clone()))));
                (answer.status, manifest)
            })
        })
        .collect();
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    let winners: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 412).count(), 63);
    assert_eq!(wire.get("/v2/a/manifests/latest").is(200).body, winners[0].1);
}

/// CVE-2023-2253.
#[test]
fn a_page_of_two_to_the_thirty_first_is_capped() {
    let limits = registry_core::http::Limits {
        page_max: 5,
        ..Default::default()
    };
    let wire = Wire::new().limited(limits);
    let (digest, manifest) = wire.push_image("r0", "", "x");
    let subject = json!({ "subject": { "mediaType": IMAGE, "digest": digest, "size": 1 } });
    for n in 0..8 {
        wire.put_manifest(&format!("/v2/r0/manifests/t{n}"), IMAGE, manifest.clone())
            .is(201);
        wire.push_image(&format!("r{n}"), "x", "x");
        let referrer = wire.image("r0", &format!("{n}"), subject.clone());
        wire.put_manifest(&format!("/v2/r0/manifests/s{n}"), IMAGE, referrer)
            .is(201);
    }
    for n in ["2147483648", "18446744073709551616", "9999999999999999999999999"] {
        for (path, field) in [
            ("/v2/_catalog", "repositories"),
            ("/v2/r0/tags/list", "tags"),
            (&*format!("/v2/r0/referrers/{digest}"), "manifests"),
        ] {
            let page = wire.get(&format!("{path}?n={n}")).is(200);
            assert_eq!(page.json()[field].as_array().unwrap().len(), 5, "{path}");
            assert!(page.next().unwrap().contains("n=5&last="));
        }
    }
}
