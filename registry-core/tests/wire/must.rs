//! The specification's rules 1 to 19: names, pulls, pushes.

use bytes::Bytes;
use registry_core::{Algorithm, Digest};
use serde_json::json;

use crate::harness::{CONFIG, IMAGE, INDEX, Wire, descriptor};

#[test]
fn must_01_names_tags_and_references_keep_the_grammar() {
    let wire = Wire::new();
    let long = format!("{}x", "n/".repeat(127));
    for name in ["a", "0", "team/app", "a.b/c_d/e__f/g-h/i---k", &long] {
        wire.push_image(name, "V1.0-rc_1", "a");
        wire.get(&format!("/v2/{name}/manifests/V1.0-rc_1")).is(200);
    }
    for name in ["A", "a..b", "a___b", "-a", "a/", &format!("{long}y")] {
        wire.get(&format!("/v2/{name}/manifests/x"))
            .refuses(400, "NAME_INVALID", "repository name");
    }
    for tag in [".a", "-a", &"t".repeat(129)] {
        wire.get(&format!("/v2/a/manifests/{tag}"))
            .refuses(400, "TAG_INVALID", "tag");
    }
    wire.get("/v2/a/manifests/sha256:x")
        .refuses(400, "DIGEST_INVALID", "sha256:x");
}

#[test]
fn must_02_manifest_get_returns_the_exact_bytes_and_digest() {
    let wire = Wire::new();
    let (digest, bytes) = wire.push_image("team/app", "latest", "a");
    for reference in ["latest", &digest.to_string()] {
        let got = wire.get(&format!("/v2/team/app/manifests/{reference}")).is(200);
        assert_eq!(got.body, bytes);
        assert_eq!(got.text("docker-content-digest"), digest.to_string());
    }
    wire.get("/v2/team/app/manifests/other")
        .refuses(404, "MANIFEST_UNKNOWN", "other");
    let absent = Digest::sha256(b"absent").to_string();
    wire.get(&format!("/v2/team/app/manifests/{absent}"))
        .refuses(404, "MANIFEST_UNKNOWN", &absent);
}

#[test]
fn should_02_a_manifest_has_the_pushed_content_type_without_parameters() {
    let wire = Wire::new();
    let manifest = wire.image("a", "x", json!({}));
    let typed = format!("{IMAGE}; charset=utf-8");
    wire.put_manifest("/v2/a/manifests/x", &typed, manifest).is(201);
    assert_eq!(wire.get("/v2/a/manifests/x").text("content-type"), IMAGE);
}

#[test]
fn must_03_blob_get_returns_the_bytes_and_digest() {
    let wire = Wire::new();
    let digest = wire.push_blob("a", b"content");
    let got = wire.get(&format!("/v2/a/blobs/{digest}")).is(200);
    assert_eq!(got.body, "content");
    assert_eq!(got.text("docker-content-digest"), digest.to_string());
    assert_eq!(got.text("accept-ranges"), "bytes");
    assert_eq!(got.text("content-type"), "application/octet-stream");
    let empty = wire.push_blob("a", b"");
    assert_eq!(wire.get(&format!("/v2/a/blobs/{empty}")).is(200).body, "");
}

#[test]
fn should_03_a_blob_is_read_by_range() {
    let wire = Wire::new();
    let target = format!("/v2/a/blobs/{}", wire.push_blob("a", b"0123456789"));
    let range = |range: &str| wire.send("GET", &target, &[("range", range)], "");
    for (asked, expected, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=3-3", "3", "bytes 3-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let got = range(asked).is(206);
        assert_eq!(
            (got.body.as_ref(), got.text("content-range")),
            (expected.as_bytes(), content_range.to_owned())
        );
    }
    for ignored in ["bytes=0-1,3-4", "items=0-1", "nonsense"] {
        assert_eq!(range(ignored).is(200).body, "0123456789", "{ignored}");
    }
    for unsatisfiable in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=5-2"] {
        let refused = range(unsatisfiable).refuses(416, "RANGE_INVALID", "10 bytes");
        assert_eq!(refused.text("content-range"), "bytes */10");
    }
    let absent = Digest::sha256(b"absent");
    wire.send(
        "GET",
        &format!("/v2/a/blobs/{absent}"),
        &[("range", "bytes=0-1")],
        "",
    )
    .refuses(404, "BLOB_UNKNOWN", &absent.to_string());
}

#[test]
fn must_04_head_carries_digest_and_length() {
    let wire = Wire::new();
    let (digest, bytes) = wire.push_image("a", "x", "seed");
    let head = wire.head("/v2/a/manifests/x").is(200);
    assert_eq!(head.text("docker-content-digest"), digest.to_string());
    assert_eq!(head.text("content-length"), bytes.len().to_string());
    assert_eq!(head.text("content-type"), IMAGE);
    let blob = wire.push_blob("a", b"content");
    let head = wire.head(&format!("/v2/a/blobs/{blob}")).is(200);
    assert_eq!(head.text("docker-content-digest"), blob.to_string());
    assert_eq!(head.text("content-length"), "7");
    for absent in [
        Digest::sha256(b"absent").to_string(),
        Digest::of(Algorithm::Sha512, b"absent").to_string(),
    ] {
        wire.head(&format!("/v2/a/manifests/{absent}")).is(404);
        wire.head(&format!("/v2/a/blobs/{absent}")).is(404);
    }
}

#[test]
fn must_05_the_digest_header_is_in_the_requested_algorithm() {
    let wire = Wire::new();
    let content = b"long content";
    let digest = Digest::of(Algorithm::Sha512, content).to_string();
    // Once told at the beginning, once only at the end.
    for opening in [
        "/v2/a/blobs/uploads/?digest-algorithm=sha512",
        "/v2/b/blobs/uploads/",
    ] {
        let location = wire.post(opening).is(202).text("location");
        wire.send("PATCH", &location, &[], &content[..5]).is(202);
        let closed = wire
            .send("PUT", &format!("{location}?digest={digest}"), &[], &content[5..])
            .is(201);
        assert_eq!(closed.text("docker-content-digest"), digest);
        let got = wire.get(&closed.text("location")).is(200);
        assert_eq!(
            (got.body.as_ref(), got.text("docker-content-digest")),
            (&content[..], digest.clone())
        );
    }
    let manifest = wire.image("a", "x", json!({}));
    let digest = Digest::of(Algorithm::Sha512, manifest.as_bytes()).to_string();
    let put = wire
        .put_manifest(&format!("/v2/a/manifests/{digest}"), IMAGE, manifest.clone())
        .is(201);
    assert_eq!(put.text("docker-content-digest"), digest);
    let got = wire.get(&put.text("location")).is(200);
    assert_eq!(
        (got.body, got.headers["docker-content-digest"].to_str().unwrap()),
        (manifest.into(), digest.as_str())
    );
}

#[test]
fn must_06_a_manifest_whose_subject_is_missing_is_accepted() {
    let wire = Wire::new();
    let subject = descriptor(IMAGE, b"not here");
    let manifest = wire.image("a", "x", json!({ "subject": subject }));
    wire.put_manifest("/v2/a/manifests/x", IMAGE, manifest).is(201);
}

#[test]
fn may_06_other_missing_content_is_refused_by_name() {
    let wire = Wire::new();
    let config = descriptor(CONFIG, b"not here");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
    let missing = Digest::sha256(b"not here").to_string();
    wire.put_manifest("/v2/a/manifests/x", IMAGE, manifest)
        .refuses(400, "MANIFEST_BLOB_UNKNOWN", &missing);
}

#[test]
fn should_07_a_bad_or_unsupported_digest_is_refused() {
    let wire = Wire::new();
    let location = wire.begin("a");
    for bad in [
        "sha256:baddigeststring",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256",
        "",
    ] {
        let named = format!("\"{bad}\"");
        wire.send("PUT", &format!("{location}?digest={bad}"), &[], "x")
            .refuses(400, "DIGEST_INVALID", &named);
        wire.post(&format!("/v2/a/blobs/uploads/?digest={bad}"))
            .refuses(400, "DIGEST_INVALID", &named);
        wire.get(&format!("/v2/a/blobs/{bad}"))
            .refuses(400, "DIGEST_INVALID", &named);
        wire.get(&format!("/v2/a/referrers/{bad}"))
            .refuses(400, "DIGEST_INVALID", &named);
    }
    let other = Digest::sha256(b"other").to_string();
    wire.send("PUT", &format!("{location}?digest={other}"), &[], "x")
        .refuses(400, "DIGEST_INVALID", &other);
}

#[test]
fn must_08_post_opens_an_upload_at_its_location() {
    let wire = Wire::new();
    let opened = wire.post("/v2/team/app/blobs/uploads/").is(202);
    let (location, id) = (opened.text("location"), opened.text("docker-upload-uuid"));
    assert_eq!(location, format!("/v2/team/app/blobs/uploads/{id}"));
    assert!(id.len() >= 32);
    assert_eq!(opened.text("range"), "0-0");
    assert_ne!(wire.begin("team/app"), location);
}

#[test]
fn must_09_closing_an_upload_gives_a_pullable_location() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"content");
    let location = wire.begin("a");
    let closed = wire
        .send("PUT", &format!("{location}?digest={digest}"), &[], "content")
        .is(201);
    assert_eq!(wire.get(&closed.text("location")).is(200).body, "content");
    wire.get(&location).refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
    let target = format!("/v2/b/blobs/uploads/?digest={digest}");
    let single = wire.send("POST", &target, &[], "content").is(201);
    assert_eq!(single.text("docker-content-digest"), digest.to_string());
    assert_eq!(wire.get(&single.text("location")).is(200).body, "content");
}

#[test]
fn should_10_no_smallest_chunk_is_enforced_so_none_is_announced() {
    let wire = Wire::new();
    let opened = wire.post("/v2/a/blobs/uploads/").is(202);
    assert!(!opened.headers.contains_key("oci-chunk-min-length"));
    let location = opened.text("location");
    for at in 0..3 {
        wire.send(
            "PATCH",
            &location,
            &[("content-range", &format!("{at}-{at}"))],
            "x",
        )
        .is(202);
    }
    let digest = Digest::sha256(b"xxx");
    wire.send("PUT", &format!("{location}?digest={digest}"), &[], "")
        .is(201);
}

#[test]
fn must_11_chunks_come_strictly_in_order() {
    let wire = Wire::new();
    let location = wire.begin("a");
    let patch =
        |range: &str, body: &'static str| wire.send("PATCH", &location, &[("content-range", range)], body);
    let first = patch("0-4", "01234").is(202);
    assert_eq!(
        (first.text("location"), first.text("range")),
        (location.clone(), "0-4".into())
    );
    for (range, body) in [("0-4", "01234"), ("4-6", "456"), ("6-7", "67"), ("99-100", "xx")] {
        let refused = patch(range, body).refuses(416, "RANGE_INVALID", "byte 5");
        assert_eq!(
            (refused.text("location"), refused.text("range")),
            (location.clone(), "0-4".into())
        );
    }
    assert_eq!(patch("bytes 5-6/*", "56").is(202).text("range"), "0-6");
    let digest = Digest::sha256(b"0123456");
    let closed = wire
        .send("PUT", &format!("{location}?digest={digest}"), &[], "")
        .is(201);
    assert_eq!(wire.get(&closed.text("location")).body, "0123456");
}

#[test]
fn must_11_a_streamed_patch_needs_no_range() {
    let wire = Wire::new();
    let location = wire.begin("a");
    let pieces = ["ab", "", "cde"].map(|piece| Ok(Bytes::from(piece))).into();
    assert_eq!(
        wire.stream("PATCH", &location, &[], pieces).is(202).text("range"),
        "0-4"
    );
    let digest = Digest::sha256(b"abcde");
    wire.send("PUT", &format!("{location}?digest={digest}"), &[], "")
        .is(201);
}

#[test]
fn must_12_the_final_chunk_may_come_with_put_and_only_in_order() {
    let wire = Wire::new();
    let location = wire.begin("a");
    wire.send("PATCH", &location, &[("content-range", "0-2")], "abc")
        .is(202);
    let digest = Digest::sha256(b"abcdef");
    let close = format!("{location}?digest={digest}");
    let refused = wire
        .send("PUT", &close, &[("content-range", "4-6")], "def")
        .refuses(416, "RANGE_INVALID", "byte 3");
    assert_eq!(refused.text("range"), "0-2");
    wire.send("PUT", &close, &[("content-range", "3-5")], "def")
        .is(201);
}

#[test]
fn must_13_status_tells_how_far_an_upload_is() {
    let wire = Wire::new();
    let location = wire.begin("a");
    for asked in [
        location.clone(),
        format!("{location}?digest={}", Digest::sha256(b"x")),
    ] {
        let status = wire.get(&asked).is(204);
        assert_eq!(
            (status.text("location"), status.text("range")),
            (location.clone(), "0-0".into())
        );
    }
    wire.send("PATCH", &location, &[], "abc").is(202);
    assert_eq!(wire.get(&location).is(204).text("range"), "0-2");
}

#[test]
fn should_14_an_upload_can_be_cancelled_and_times_out() {
    let wire = Wire::new();
    let location = wire.begin("a");
    wire.send("PATCH", &location, &[], "abc").is(202);
    wire.delete(&location).is(204);
    for method in ["GET", "PATCH", "DELETE"] {
        wire.send(method, &location, &[], "")
            .refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
    }
    let idle = wire.begin("a");
    wire.clock.advance(std::time::Duration::from_secs(25 * 3600));
    wire.send("PATCH", &idle, &[], "abc")
        .refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
}

#[test]
fn must_15_a_blob_is_mounted_or_else_an_upload_begins() {
    let wire = Wire::new();
    let digest = wire.push_blob("source", b"content");
    for (repository, from) in [("named", "&from=source"), ("anonymous", "")] {
        let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}{from}");
        let mounted = wire.post(&target).is(201);
        assert_eq!(mounted.text("docker-content-digest"), digest.to_string());
        assert_eq!(
            mounted.text("location"),
            format!("/v2/{repository}/blobs/{digest}")
        );
        assert_eq!(wire.get(&mounted.text("location")).is(200).body, "content");
    }
    let absent = Digest::sha256(b"absent");
    for from in ["", "&from=source", "&from=nowhere"] {
        let opened = wire
            .post(&format!("/v2/c/blobs/uploads/?mount={absent}{from}"))
            .is(202);
        let close = format!("{}?digest={absent}", opened.text("location"));
        wire.send("PUT", &close, &[], "absent").is(201);
        wire.delete(&format!("/v2/c/blobs/{absent}")).is(202);
    }
}

#[test]
fn must_16_a_manifest_is_stored_as_it_is() {
    let wire = Wire::new();
    let manifest = wire.image("a", "x", json!({}));
    let digest = Digest::sha256(manifest.as_bytes()).to_string();
    let put = wire
        .put_manifest("/v2/a/manifests/x", IMAGE, manifest.clone())
        .is(201);
    assert_eq!(put.text("docker-content-digest"), digest);
    assert_eq!(wire.get(&put.text("location")).is(200).body, manifest);
    wire.put_manifest(&format!("/v2/a/manifests/{digest}"), IMAGE, manifest)
        .is(201);
    let other = Digest::sha256(b"other").to_string();
    let body = wire.image("a", "y", json!({}));
    wire.put_manifest(&format!("/v2/a/manifests/{other}"), IMAGE, body)
        .refuses(400, "DIGEST_INVALID", &other);
}

#[test]
fn should_16_a_manifest_may_have_four_mebibytes_and_no_more() {
    let wire = Wire::new();
    let filled = |size: usize| {
        let manifest = wire.image("a", "x", json!({ "annotations": { "filler": "" } }));
        let filler = "x".repeat(size - manifest.len());
        manifest.replace("\"filler\": \"\"", &format!("\"filler\": \"{filler}\""))
    };
    let large = filled(4 << 20);
    wire.put_manifest("/v2/a/manifests/large", IMAGE, large.clone())
        .is(201);
    assert_eq!(wire.get("/v2/a/manifests/large").body, large);
    wire.put_manifest("/v2/a/manifests/larger", IMAGE, filled((4 << 20) + 1))
        .refuses(413, "MANIFEST_INVALID", "4194304");
    wire.get("/v2/a/manifests/larger").is(404);
}

#[test]
fn should_17_a_manifest_is_put_under_many_tags_at_once() {
    let wire = Wire::new();
    let manifest = wire.image("a", "x", json!({}));
    let digest = Digest::sha256(manifest.as_bytes());
    let tags: Vec<String> = (0..64).map(|n| format!("v{n}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let target = format!("/v2/a/manifests/{digest}?{}", query.join("&"));
    let put = wire.put_manifest(&target, IMAGE, manifest.clone()).is(201);
    let listed: Vec<&str> = put
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|tag| tag.to_str().unwrap())
        .collect();
    assert_eq!(listed, tags);
    for tag in &tags {
        assert_eq!(wire.get(&format!("/v2/a/manifests/{tag}")).is(200).body, manifest);
    }
    wire.put_manifest(&format!("{target}&tag=more"), IMAGE, manifest.clone())
        .refuses(414, "UNSUPPORTED", "more");
    wire.put_manifest(&format!("/v2/a/manifests/{digest}?tag=.bad"), IMAGE, manifest)
        .refuses(400, "TAG_INVALID", ".bad");
}

#[test]
fn must_18_a_subject_that_was_understood_is_answered() {
    let wire = Wire::new();
    let (subject, _) = wire.push_image("a", "x", "subject");
    let descriptor = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
    let manifest = wire.image("a", "referrer", json!({ "subject": descriptor }));
    let put = wire.put_manifest("/v2/a/manifests/r", IMAGE, manifest).is(201);
    assert_eq!(put.text("oci-subject"), subject.to_string());
    let index = json!({ "schemaVersion": 2, "manifests": [], "subject": descriptor }).to_string();
    let put = wire.put_manifest("/v2/a/manifests/i", INDEX, index).is(201);
    assert_eq!(put.text("oci-subject"), subject.to_string());
    let plain = wire.image("a", "plain", json!({}));
    let put = wire.put_manifest("/v2/a/manifests/p", IMAGE, plain).is(201);
    assert!(!put.headers.contains_key("oci-subject"));
}

#[test]
fn must_19_pulling_from_an_unknown_repository_is_404() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"x");
    for target in [
        "/v2/nowhere/manifests/latest".to_owned(),
        format!("/v2/nowhere/manifests/{digest}"),
    ] {
        wire.get(&target).refuses(404, "NAME_UNKNOWN", "nowhere");
    }
    wire.get("/v2/nowhere/tags/list")
        .refuses(404, "NAME_UNKNOWN", "nowhere");
    wire.get(&format!("/v2/nowhere/blobs/{digest}")).is(404);
    wire.head(&format!("/v2/nowhere/blobs/{digest}")).is(404);
}
