//! What Docker's clients expect beyond the specification: media types, headers, codes, challenges, scopes.

use registry_core::auth::Action::{Delete, Pull, Push};
use registry_core::http::TAGS_MAX;
use registry_core::{Digest, ErrorKind};
use serde_json::json;

use crate::harness::{Grants, IMAGE, INDEX, Wire, descriptor};

const SCHEMA2: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const PLUGIN: &str = "application/vnd.docker.plugin.v1+json";

#[test]
fn docker_media_types_are_taken_and_served_as_they_are() {
    let wire = Wire::new();
    wire.push_blob("a", b"config");
    wire.push_blob("a", b"layer");
    for config in [DOCKER_CONFIG, PLUGIN] {
        let image = json!({
            "schemaVersion": 2, "mediaType": SCHEMA2,
            "config": descriptor(config, b"config"), "layers": [descriptor(DOCKER_LAYER, b"layer")],
        })
        .to_string();
        let put = wire
            .put_manifest("/v2/a/manifests/x", SCHEMA2, image.clone())
            .is(201);
        let got = wire.get("/v2/a/manifests/x").is(200);
        assert_eq!(
            (got.text("content-type").as_str(), got.body.as_ref()),
            (SCHEMA2, image.as_bytes())
        );
        let list = json!({
            "schemaVersion": 2, "mediaType": LIST,
            "manifests": [{
                "mediaType": SCHEMA2, "digest": put.text("docker-content-digest"), "size": image.len(),
                "platform": { "architecture": "amd64", "os": "linux" },
            }],
        });
        wire.put_manifest("/v2/a/manifests/list", LIST, list.to_string())
            .is(201);
        assert_eq!(
            wire.head("/v2/a/manifests/list").is(200).text("content-type"),
            LIST
        );
    }
}

#[test]
fn docker_foreign_layers_are_never_pushed() {
    let wire = Wire::new();
    wire.push_blob("a", b"config");
    let mut foreign = descriptor(FOREIGN_LAYER, b"elsewhere");
    foreign["urls"] = json!(["https://elsewhere.test/layer"]);
    let image = json!({
        "schemaVersion": 2, "mediaType": SCHEMA2, "config": descriptor(DOCKER_CONFIG, b"config"), "layers": [foreign],
    });
    wire.put_manifest("/v2/a/manifests/x", SCHEMA2, image.to_string())
        .is(201);
}

#[test]
fn docker_schema1_is_refused() {
    for kind in ["json", "prettyjws"] {
        let media_type = format!("application/vnd.docker.distribution.manifest.v1+{kind}");
        Wire::new()
            .put_manifest("/v2/a/manifests/x", &media_type, r#"{"schemaVersion":1}"#)
            .refuses(400, "MANIFEST_INVALID", "schema 1");
    }
}

#[test]
fn docker_a_body_of_another_type_than_its_header_is_refused() {
    let wire = Wire::new();
    let image = wire.image("a", "x", json!({ "mediaType": IMAGE }));
    for other in [INDEX, SCHEMA2, "application/json"] {
        wire.put_manifest("/v2/a/manifests/x", other, image.clone())
            .refuses(400, "MANIFEST_INVALID", other);
    }
    for (media_type, field, value) in [(IMAGE, "manifests", json!([])), (SCHEMA2, "manifests", json!([]))] {
        let both = wire.image("a", "x", json!({ field: value }));
        wire.put_manifest("/v2/a/manifests/x", media_type, both).refuses(
            400,
            "MANIFEST_INVALID",
            "manifests",
        );
    }
    wire.get("/v2/a/manifests/x").is(404);
}

/// The harness checks the header of every answer; this names the answers that are easily forgotten.
#[test]
fn docker_the_api_version_is_on_every_reply() {
    let wire = Wire::new();
    let closed = wire.governed(Grants(vec![]));
    for (answer, status) in [
        (wire.get("/v2/"), 200),
        (wire.get("/v2"), 200),
        (wire.head("/v2/"), 200),
        (wire.get("/v2/unknown"), 404),
        (wire.post("/v2/"), 405),
        (wire.get("/v2/A/tags/list"), 400),
        (closed.get("/v2/a/tags/list"), 401),
        (wire.begin_answer(), 202),
    ] {
        assert_eq!(
            answer.is(status).text("docker-distribution-api-version"),
            "registry/2.0"
        );
    }
}

#[test]
fn docker_an_upload_names_its_uuid() {
    let wire = Wire::new();
    let opened = wire.begin_answer();
    let (location, id) = (opened.text("location"), opened.text("docker-upload-uuid"));
    assert!(location.ends_with(&id) && !id.is_empty());
    assert_eq!(
        wire.send("PATCH", &location, &[], "x")
            .is(202)
            .text("docker-upload-uuid"),
        id
    );
    assert_eq!(wire.get(&location).is(204).text("docker-upload-uuid"), id);
}

#[test]
fn docker_codes_have_their_statuses() {
    for (kind, status, code) in [
        (ErrorKind::Internal, 500, "UNKNOWN"),
        (ErrorKind::Unavailable, 503, "UNAVAILABLE"),
        (ErrorKind::RangeInvalid, 416, "RANGE_INVALID"),
        (ErrorKind::TagInvalid, 400, "TAG_INVALID"),
        (ErrorKind::PaginationInvalid, 400, "PAGINATION_NUMBER_INVALID"),
        (ErrorKind::Unsupported, 405, "UNSUPPORTED"),
        (ErrorKind::Denied, 403, "DENIED"),
        (ErrorKind::ManifestBlobUnknown, 400, "MANIFEST_BLOB_UNKNOWN"),
        (ErrorKind::UploadUnknown, 404, "BLOB_UPLOAD_UNKNOWN"),
    ] {
        assert_eq!((kind.status(), kind.code()), (status, code));
    }
}

#[test]
fn docker_a_challenge_is_one_and_names_realm_service_and_scope() {
    let wire = Wire::new().governed(Grants(vec![]));
    let digest = Digest::sha256(b"x");
    for (method, target, scope) in [
        ("GET", "/v2/a/b/manifests/x".to_owned(), "repository:a/b:pull"),
        (
            "PUT",
            "/v2/a/b/manifests/x".to_owned(),
            "repository:a/b:pull,push",
        ),
        (
            "POST",
            "/v2/a/b/blobs/uploads/".to_owned(),
            "repository:a/b:pull,push",
        ),
        (
            "DELETE",
            format!("/v2/a/b/blobs/{digest}"),
            "repository:a/b:delete",
        ),
        ("GET", "/v2/_catalog".to_owned(), "registry:catalog:*"),
        (
            "POST",
            format!("/v2/a/b/blobs/uploads/?mount={digest}&from=c/d"),
            "repository:a/b:pull,push repository:c/d:pull",
        ),
    ] {
        let body = if method == "PUT" { "{}" } else { "" };
        let refused = wire
            .send(method, &target, &[], body)
            .refuses(401, "UNAUTHORIZED", "");
        let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            challenges,
            [&format!(
                "Bearer realm=\"https://registry.test/token\",service=\"registry.test\",scope=\"{scope}\""
            )]
        );
    }
    let forged = wire
        .send("GET", "/v2/", &[("authorization", "Bearer forged")], "")
        .is(401);
    assert_eq!(
        forged.text("www-authenticate"),
        "Bearer realm=\"https://registry.test/token\",service=\"registry.test\",error=\"invalid_token\""
    );
}

#[test]
fn docker_a_refusal_lists_type_name_and_action() {
    let wire = Wire::new().governed(Grants(vec![("reader", "a/b", vec![Pull])]));
    let both = json!([
        { "Type": "repository", "Name": "a/b", "Action": "pull" },
        { "Type": "repository", "Name": "a/b", "Action": "push" },
    ]);
    assert_eq!(
        wire.post("/v2/a/b/blobs/uploads/")
            .refuses(401, "UNAUTHORIZED", "a/b")
            .detail(),
        both
    );
    let known = wire.send(
        "POST",
        "/v2/a/b/blobs/uploads/",
        &[("authorization", "Bearer reader")],
        "",
    );
    assert_eq!(known.refuses(403, "DENIED", "a/b").detail(), both);
    let catalog = wire.get("/v2/_catalog").refuses(401, "UNAUTHORIZED", "catalog");
    assert_eq!(
        catalog.detail(),
        json!([{ "Type": "registry", "Name": "catalog", "Action": "*" }])
    );
}

#[test]
fn docker_a_mount_takes_pull_on_the_source_and_push_on_the_target() {
    let open = Wire::new();
    let digest = open.push_blob("source", b"content");
    let wire = open.governed(Grants(vec![
        ("both", "source", vec![Pull]),
        ("both", "target", vec![Pull, Push]),
        ("pusher", "target", vec![Pull, Push]),
        ("reader", "source", vec![Pull]),
        ("reader", "target", vec![Pull, Delete]),
    ]));
    let target = format!("/v2/target/blobs/uploads/?mount={digest}&from=source");
    for (who, status) in [("reader", 403), ("pusher", 202), ("both", 201)] {
        let bearer = format!("Bearer {who}");
        wire.send("POST", &target, &[("authorization", &bearer)], "")
            .is(status);
    }
}

#[test]
fn docker_a_method_that_a_path_does_not_know_is_answered_with_those_it_does() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"x");
    for (method, target, allowed) in [
        ("POST", "/v2/".to_owned(), "GET, HEAD"),
        ("POST", "/v2/a/manifests/x".to_owned(), "GET, HEAD, PUT, DELETE"),
        ("PUT", format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/".to_owned(), "POST"),
        (
            "POST",
            "/v2/a/blobs/uploads/1".to_owned(),
            "GET, HEAD, PATCH, PUT, DELETE",
        ),
        ("DELETE", "/v2/_catalog".to_owned(), "GET, HEAD"),
    ] {
        let refused = wire
            .send(method, &target, &[], "")
            .refuses(405, "UNSUPPORTED", method);
        assert_eq!(refused.text("allow"), allowed);
    }
}

#[test]
fn docker_a_tag_pushed_alone_is_not_announced() {
    let wire = Wire::new();
    let manifest = wire.image("a", "x", json!({}));
    let put = wire.put_manifest("/v2/a/manifests/x", IMAGE, manifest).is(201);
    assert!(!put.headers.contains_key("oci-tag"));
    const { assert!(TAGS_MAX >= 10) };
}
