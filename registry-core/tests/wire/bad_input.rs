//! What makes no sense is refused with its status, its code and its name, and leaves nothing behind.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use registry_core::manifest::SIZE_MAX;
use registry_core::{Algorithm, Digest};
use serde_json::json;

use crate::harness::{CONFIG, IMAGE, Wire, descriptor, request};

/// Runs `attempt`, and checks that it left nothing.
fn leaves_nothing(wire: &Wire, attempt: impl FnOnce()) {
    let before = wire.kept();
    attempt();
    assert_eq!(wire.kept(), before);
}

fn broken(pieces: &[&'static str]) -> Vec<io::Result<Bytes>> {
    let cut = Err(io::Error::from(io::ErrorKind::ConnectionReset));
    pieces
        .iter()
        .map(|piece| Ok(Bytes::from(*piece)))
        .chain([cut])
        .collect()
}

#[test]
fn repository_names_out_of_grammar_in_any_encoding() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"x");
    for (raw, named) in [
        ("A", "\"A\""),
        ("a%2Fb", "\"a%2Fb\""),
        ("..%2f..%2fetc", "\"..%2f..%2fetc\""),
        ("%2e%2e/%2e%2e", "\"../..\""),
        ("a/../b", "\"a/../b\""),
        ("a%00", "\"a\\0\""),
        ("a%0d%0aset-cookie", "\"a\\r\\nset-cookie\""),
        ("a%252fb", "\"a%2fb\""),
        ("a//b", "\"a//b\""),
        ("a%5c..", "\"a\\\\..\""),
        ("%C3%A4", "\"ä\""),
        (&"x".repeat(256), "xxx"),
    ] {
        leaves_nothing(&wire, || {
            for (method, rest) in [
                ("GET", "tags/list".to_owned()),
                ("GET", "manifests/x".to_owned()),
                ("PUT", "manifests/x".to_owned()),
                ("GET", format!("blobs/{digest}")),
                ("GET", format!("referrers/{digest}")),
                ("POST", "blobs/uploads/".to_owned()),
                ("POST", format!("blobs/uploads/?mount={digest}&from=a")),
                ("PATCH", "blobs/uploads/0".to_owned()),
            ] {
                wire.send(method, &format!("/v2/{raw}/{rest}"), &[], "x")
                    .refuses(400, "NAME_INVALID", named);
            }
        });
    }
    leaves_nothing(&wire, || {
        wire.post(&format!("/v2/a/blobs/uploads/?mount={digest}&from=..%2F..%2Fb"))
            .refuses(400, "NAME_INVALID", "\"../../b\"");
    });
}

#[test]
fn tags_out_of_grammar_in_any_encoding() {
    let wire = Wire::new();
    wire.push_blob("a", b"config");
    leaves_nothing(&wire, || {
        for (raw, named) in [
            ("..", "\"..\""),
            ("%2e%2e", "\"..\""),
            ("../../x", "\"../../x\""),
            ("a%2Fb", "\"a/b\""),
            ("a%00b", "\"a\\0b\""),
            ("-a", "\"-a\""),
            ("a%252e", "\"a%2e\""),
            ("%F0%9F%92%A9", "tag"),
            (&"t".repeat(129), "ttt"),
        ] {
            for method in ["GET", "PUT", "DELETE"] {
                wire.send(method, &format!("/v2/a/manifests/{raw}"), &[], "{}")
                    .refuses(400, "TAG_INVALID", named);
            }
        }
    });
}

#[test]
fn digests_out_of_grammar_in_any_encoding() {
    let wire = Wire::new();
    let location = wire.begin("a");
    let hex = Digest::sha256(b"x").hex();
    leaves_nothing(&wire, || {
        for raw in [
            "sha256:..%2F..%2Fetc%2Fpasswd".to_owned(),
            "sha256:%2e%2e".to_owned(),
            format!("sha256:{hex}%00"),
            format!("sha256:{hex}%2f.."),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha512:{hex}"),
            format!("sha1:{hex}"),
            format!("{}:{hex}", "long".repeat(1000)),
            format!("sha256%253A{hex}"),
        ] {
            for (method, target) in [
                ("GET", format!("/v2/a/blobs/{raw}")),
                ("DELETE", format!("/v2/a/blobs/{raw}")),
                ("GET", format!("/v2/a/referrers/{raw}")),
                ("POST", format!("/v2/a/blobs/uploads/?digest={raw}")),
                ("POST", format!("/v2/a/blobs/uploads/?mount={raw}&from=b")),
                ("PUT", format!("{location}?digest={raw}")),
            ] {
                wire.send(method, &target, &[], "x")
                    .refuses(400, "DIGEST_INVALID", "invalid digest \"");
            }
        }
        wire.get("/v2/a/blobs/sha256:../../etc/passwd").refuses(
            400,
            "DIGEST_INVALID",
            "\"sha256:../../etc/passwd\"",
        );
        wire.send("PUT", &location, &[], "")
            .refuses(400, "DIGEST_INVALID", "digest is missing");
        wire.send("PUT", &format!("{location}?digest=a&digest=b"), &[], "")
            .refuses(400, "UNSUPPORTED", "digest");
    });
}

#[test]
fn uploads_that_cannot_exist() {
    let wire = Wire::new();
    wire.begin("a");
    leaves_nothing(&wire, || {
        for id in ["0123", "..", "%2e%2e%2fx", "a%2Fb", "../../x", "a%00"] {
            for method in ["GET", "PATCH", "DELETE"] {
                wire.send(method, &format!("/v2/a/blobs/uploads/{id}"), &[], "x")
                    .refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
            }
        }
    });
}

#[test]
fn content_that_has_another_digest() {
    let wire = Wire::new();
    let other = Digest::sha256(b"other");
    let long = Digest::of(Algorithm::Sha512, b"other");
    for named in [other, long] {
        leaves_nothing(&wire, || {
            wire.send(
                "POST",
                &format!("/v2/a/blobs/uploads/?digest={named}"),
                &[],
                "content",
            )
            .refuses(400, "DIGEST_INVALID", &named.to_string());
            let location = wire.begin("a");
            wire.send("PATCH", &location, &[], "con").is(202);
            wire.send("PUT", &format!("{location}?digest={named}"), &[], "tent")
                .refuses(400, "DIGEST_INVALID", &named.to_string());
            wire.get(&location).is(404);
            wire.put_manifest(&format!("/v2/a/manifests/{named}"), "x/y", "{}")
                .refuses(400, "DIGEST_INVALID", &named.to_string());
        });
    }
}

#[test]
fn content_that_has_another_size_than_announced() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"content");
    let post = format!("/v2/a/blobs/uploads/?digest={digest}");
    leaves_nothing(&wire, || {
        for length in ["6", "8"] {
            wire.send("POST", &post, &[("content-length", length)], "content")
                .refuses(400, "SIZE_INVALID", length);
            wire.send(
                "PUT",
                "/v2/a/manifests/x",
                &[("content-length", length)],
                "content",
            )
            .refuses(400, "SIZE_INVALID", length);
        }
        wire.send("POST", &post, &[("content-length", "many")], "content")
            .refuses(400, "SIZE_INVALID", "\"many\"");
    });
    let location = wire.begin("a");
    for (range, length) in [("0-6", "6"), ("0-9", "7")] {
        wire.send(
            "PATCH",
            &location,
            &[("content-range", range), ("content-length", length)],
            "content",
        )
        .refuses(400, "SIZE_INVALID", range);
    }
    assert_eq!(wire.get(&location).text("range"), "0-0");
    wire.push_blob("a", b"config");
    let mut config = descriptor(CONFIG, b"config");
    config["size"] = json!(7);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
    leaves_nothing(&wire, || {
        wire.put_manifest("/v2/a/manifests/x", IMAGE, manifest).refuses(
            400,
            "SIZE_INVALID",
            &Digest::sha256(b"config").to_string(),
        );
    });
}

#[test]
fn chunks_out_of_order_overlapping_or_senseless() {
    let wire = Wire::new();
    let location = wire.begin("a");
    wire.send("PATCH", &location, &[("content-range", "0-4")], "01234")
        .is(202);
    leaves_nothing(&wire, || {
        for (range, body) in [
            ("6-7", "67"),
            ("4-5", "45"),
            ("0-4", "01234"),
            ("1000-1001", "xx"),
        ] {
            wire.send("PATCH", &location, &[("content-range", range)], body)
                .refuses(416, "RANGE_INVALID", "byte 5");
        }
        for nonsense in [
            "",
            "5",
            "7-5",
            "a-b",
            "bytes=5-6",
            "bytes */7",
            "-1-5",
            "5-18446744073709551615",
            "5-6,8-9",
        ] {
            wire.send("PATCH", &location, &[("content-range", nonsense)], "56")
                .refuses(416, "RANGE_INVALID", &format!("\"{nonsense}\""));
        }
    });
    assert_eq!(wire.get(&location).text("range"), "0-4");
    let digest = Digest::sha256(b"0123456");
    wire.send(
        "PUT",
        &format!("{location}?digest={digest}"),
        &[("content-range", "5-6")],
        "56",
    )
    .is(201);
}

/// A body that counts how often it is asked for more, and never ends.
struct Endless(Arc<AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 1 << 16])))))
    }
}

#[test]
fn a_manifest_beyond_the_limit_is_refused_before_it_is_read() {
    let wire = Wire::new();
    let length = (SIZE_MAX + 1).to_string();
    leaves_nothing(&wire, || {
        let asked = Arc::new(AtomicUsize::new(0));
        let announced = request("PUT", "/v2/a/manifests/x", &[("content-length", &length)]);
        wire.exchange(announced.map(|()| Endless(asked.clone())))
            .refuses(413, "MANIFEST_INVALID", "4194304");
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let chunked = request("PUT", "/v2/a/manifests/x", &[]);
        wire.exchange(chunked.map(|()| Endless(asked.clone())))
            .refuses(413, "MANIFEST_INVALID", "4194304");
        assert_eq!(asked.load(Ordering::SeqCst), SIZE_MAX / (1 << 16) + 1);
    });
}

#[test]
fn manifests_that_cannot_be_meant() {
    let wire = Wire::new();
    wire.push_blob("a", b"config");
    let config = descriptor(CONFIG, b"config");
    let deep = format!(
        "{{\"schemaVersion\":2,\"config\":{config},\"x\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let layers: Vec<_> = (0..50_000_u32)
        .map(|n| format!("{{\"digest\":\"sha256:{n:064x}\",\"size\":1}}"))
        .collect();
    let many = format!(
        "{{\"schemaVersion\":2,\"config\":{config},\"layers\":[{}]}}",
        layers.join(",")
    );
    let duplicate = format!("{{\"schemaVersion\":2,\"config\":{config},\"config\":{config},\"layers\":[]}}");
    for (body, status, named) in [
        (deep, 400, "deeper"),
        // So many do not even fit; fewer, which would, are the next test's.
        (many, 413, "4194304"),
        (duplicate, 400, "duplicate"),
        (String::new(), 400, "cannot be read"),
        ("[]".into(), 400, "cannot be read"),
        ("not json".into(), 400, "cannot be read"),
        ("{\"schemaVersion\":2}".into(), 400, "config"),
        (
            format!("{{\"schemaVersion\":1,\"config\":{config}}}"),
            400,
            "schemaVersion",
        ),
        (
            format!("{{\"schemaVersion\":2,\"config\":{config}}} trailing"),
            400,
            "cannot be read",
        ),
    ] {
        leaves_nothing(&wire, || {
            wire.put_manifest("/v2/a/manifests/x", IMAGE, body)
                .refuses(status, "MANIFEST_INVALID", named);
        });
    }
}

#[test]
fn a_manifest_of_more_descriptors_than_one_transaction_takes() {
    let wire = Wire::new();
    wire.push_blob("a", b"config");
    let config = descriptor(CONFIG, b"config");
    // Short enough to be read, and more than is taken.
    let layers: Vec<_> = (0..30_000_u32)
        .map(|n| format!("{{\"digest\":\"sha256:{n:064x}\",\"size\":1}}"))
        .collect();
    let body = format!(
        "{{\"schemaVersion\":2,\"config\":{config},\"layers\":[{}]}}",
        layers.join(",")
    );
    assert!(body.len() < SIZE_MAX);
    leaves_nothing(&wire, || {
        wire.put_manifest("/v2/a/manifests/x", IMAGE, body).refuses(
            400,
            "MANIFEST_INVALID",
            "more than 10000",
        );
    });
}

#[test]
fn missing_children_are_named_each() {
    let wire = Wire::new();
    wire.push_blob("a", b"here");
    let missing = [&b"one"[..], b"two", b"three"];
    let layers: Vec<_> = missing
        .iter()
        .map(|content| descriptor("x/layer", content))
        .collect();
    let manifest = json!({ "schemaVersion": 2, "config": descriptor(CONFIG, b"here"), "layers": layers });
    leaves_nothing(&wire, || {
        let refused = wire
            .put_manifest("/v2/a/manifests/x", IMAGE, manifest.to_string())
            .refuses(400, "MANIFEST_BLOB_UNKNOWN", &Digest::sha256(b"one").to_string());
        let detail = refused.detail().to_string();
        for content in missing {
            assert!(detail.contains(&Digest::sha256(content).to_string()), "{detail}");
        }
        assert!(!detail.contains(&Digest::sha256(b"here").to_string()), "{detail}");
    });
}

#[test]
fn a_digest_that_exists_only_in_a_strangers_repository() {
    let wire = Wire::new();
    let secret = wire.push_blob("stranger", b"secret");
    let (image, _) = wire.push_image("stranger", "x", "x");
    wire.push_blob("a", b"config");
    let nowhere = Digest::sha256(b"nowhere");
    leaves_nothing(&wire, || {
        for digest in [secret, nowhere] {
            let named = digest.to_string();
            wire.get(&format!("/v2/a/blobs/{digest}"))
                .refuses(404, "BLOB_UNKNOWN", &named);
            wire.head(&format!("/v2/a/blobs/{digest}")).is(404);
            wire.delete(&format!("/v2/a/blobs/{digest}"))
                .refuses(404, "BLOB_UNKNOWN", &named);
            let layer = json!({ "mediaType": "x/layer", "digest": digest, "size": 6 });
            let manifest =
                json!({ "schemaVersion": 2, "config": descriptor(CONFIG, b"config"), "layers": [layer] });
            wire.put_manifest("/v2/a/manifests/x", IMAGE, manifest.to_string())
                .refuses(400, "MANIFEST_BLOB_UNKNOWN", &named);
        }
        wire.get(&format!("/v2/a/manifests/{image}"))
            .refuses(404, "MANIFEST_UNKNOWN", &image.to_string());
    });
}

#[test]
fn a_body_cut_off_leaves_an_upload_that_can_be_resumed_and_nothing_else() {
    let wire = Wire::new();
    let digest = Digest::sha256(b"0123456789");
    let location = wire.begin("a");
    wire.stream("PATCH", &location, &[], broken(&["01", "23"]))
        .refuses(400, "BLOB_UPLOAD_INVALID", "after 4 bytes");
    assert_eq!(wire.get(&location).is(204).text("range"), "0-3");
    let cut = [("content-range", "4-9"), ("content-length", "6")];
    let pieces = vec![Ok(Bytes::from("456"))];
    wire.stream("PATCH", &location, &cut, pieces)
        .refuses(400, "SIZE_INVALID", "3 of 6 bytes");
    assert_eq!(wire.get(&location).is(204).text("range"), "0-6");
    wire.send(
        "PUT",
        &format!("{location}?digest={digest}"),
        &[("content-range", "7-9")],
        "789",
    )
    .is(201);
    leaves_nothing(&wire, || {
        wire.stream(
            "POST",
            &format!("/v2/a/blobs/uploads/?digest={digest}"),
            &[],
            broken(&["01"]),
        )
        .refuses(400, "BLOB_UPLOAD_INVALID", "after 2 bytes");
        wire.stream(
            "PUT",
            "/v2/a/manifests/x",
            &[("content-type", IMAGE)],
            broken(&["{"]),
        )
        .refuses(400, "BLOB_UPLOAD_INVALID", "after 1 bytes");
    });
}

#[test]
fn of_two_finishes_of_one_upload_one_is_too_late() {
    let wire = Arc::new(Wire::new());
    for round in 0..50 {
        let content = format!("content {round}");
        let digest = Digest::sha256(content.as_bytes());
        let location = wire.begin("a");
        wire.send("PATCH", &location, &[], content.clone()).is(202);
        let finish = format!("{location}?digest={digest}");
        let both = [0, 1].map(|_| {
            let (wire, finish) = (Arc::clone(&wire), finish.clone());
            std::thread::spawn(move || wire.send("PUT", &finish, &[], "").status)
        });
        let mut statuses = both.map(|finish| finish.join().unwrap());
        statuses.sort();
        assert!(matches!(statuses, [201, 400 | 404]), "{statuses:?}");
        wire.send("PUT", &finish, &[], "")
            .refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
        assert_eq!(wire.get(&format!("/v2/a/blobs/{digest}")).is(200).body, content);
    }
}

#[test]
fn ten_thousand_idle_uploads_hinder_nobody_and_expire() {
    let wire = Wire::new();
    let uploads: Vec<String> = (0..10_000).map(|_| wire.begin("a")).collect();
    wire.push_image("a", "x", "x");
    let digest = Digest::sha256(b"x");
    wire.send("PUT", &format!("{}?digest={digest}", uploads[0]), &[], "x")
        .is(201);
    wire.clock.advance(std::time::Duration::from_secs(25 * 3600));
    for location in [&uploads[1], &uploads[9_999]] {
        wire.send("PATCH", location, &[], "x")
            .refuses(404, "BLOB_UPLOAD_UNKNOWN", "upload");
    }
}

#[test]
fn conditions_that_cannot_be_kept() {
    let wire = Wire::new();
    let (digest, manifest) = wire.push_image("a", "x", "x");
    leaves_nothing(&wire, || {
        for header in [
            ("if-match", "*"),
            ("if-match", "\"x\""),
            ("if-none-match", "\"x\""),
        ] {
            let headers = [("content-type", IMAGE), header];
            wire.send("PUT", "/v2/a/manifests/x", &headers, manifest.clone())
                .refuses(400, "UNSUPPORTED", &header.1.replace('"', "\\\""));
        }
        let tag = format!("\"{digest}\"");
        wire.send("DELETE", "/v2/a/manifests/x", &[("if-match", &tag)], "")
            .refuses(400, "UNSUPPORTED", &digest.to_string());
    });
}
