//! The specification's rules 20 to 26: lists, deletions, errors, extensions.

use async_trait::async_trait;
use registry_core::wrappers::{Call, Gate, Gated};
use registry_core::{Algorithm, Context, Digest, Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::harness::{CONFIG, IMAGE, INDEX, Wire, descriptor};

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// Follows a list from page to page.
fn pages(wire: &Wire, first: &str, field: &str) -> Vec<Vec<String>> {
    let (mut target, mut pages) = (Some(first.to_owned()), Vec::new());
    while let Some(page) = target {
        let answer = wire.get(&page).is(200);
        pages.push(strings(&answer.json()[field]));
        assert!(pages.len() < 100, "the list does not end");
        target = answer.next();
    }
    pages
}

#[test]
fn must_20_tags_are_sorted_and_paged() {
    let wire = Wire::new();
    let (digest, manifest) = wire.push_image("a", "", "x");
    let empty = wire.get("/v2/a/tags/list").is(200);
    assert_eq!(empty.json(), json!({ "name": "a", "tags": [] }));
    let target = format!("/v2/a/manifests/{digest}?tag=b&tag=a&tag=B&tag=_x&tag=1");
    wire.put_manifest(&target, IMAGE, manifest).is(201);
    let all = ["1", "B", "_x", "a", "b"];
    let list = |query: &str| pages(&wire, &format!("/v2/a/tags/list{query}"), "tags");
    assert_eq!(list(""), [all]);
    assert_eq!(list("?n=2"), [vec!["1", "B"], vec!["_x", "a"], vec!["b"]]);
    assert_eq!(list("?n=5"), [all]);
    assert_eq!(list("?n=99"), [all]);
    assert_eq!(list("?last=B"), [&all[2..]]);
    assert_eq!(list("?last=Z&n=2"), [&all[2..4], &all[4..]]);
    assert_eq!(list("?last=b"), [&[] as &[&str]]);
    let none = wire.get("/v2/a/tags/list?n=0").is(200);
    assert_eq!((none.json()["tags"].clone(), none.next()), (json!([]), None));
    wire.get("/v2/nowhere/tags/list?n=0")
        .refuses(404, "NAME_UNKNOWN", "nowhere");
    assert_eq!(wire.get("/v2/a/tags/list").json()["name"], "a");
    wire.get("/v2/a/tags/list?n=ten")
        .refuses(400, "PAGINATION_NUMBER_INVALID", "\"ten\"");
    assert!(wire.head("/v2/a/tags/list").is(200).body.is_empty());
}

fn referrer(wire: &Wire, subject: Digest, seed: &str, extra: Value) -> (String, Digest) {
    let mut fields = json!({ "subject": { "mediaType": IMAGE, "digest": subject, "size": 1 } });
    fields
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let manifest = wire.image("a", seed, fields);
    let digest = Digest::sha256(manifest.as_bytes());
    wire.put_manifest(&format!("/v2/a/manifests/{digest}"), IMAGE, manifest.clone())
        .is(201);
    (manifest, digest)
}

#[test]
fn must_21_referrers_are_an_index_of_descriptors() {
    let wire = Wire::new();
    let (subject, _) = wire.push_image("a", "x", "subject");
    let (typed, typed_digest) = referrer(
        &wire,
        subject,
        "typed",
        json!({ "artifactType": "application/vnd.sbom+json", "annotations": { "k": "v" } }),
    );
    let (_, plain_digest) = referrer(&wire, subject, "plain", json!({}));
    let index = json!({ "schemaVersion": 2, "manifests": [], "subject": { "digest": subject, "size": 1 } })
        .to_string();
    let index_digest = Digest::sha256(index.as_bytes());
    wire.put_manifest("/v2/a/manifests/index", INDEX, index).is(201);

    let target = format!("/v2/a/referrers/{subject}");
    let list = wire.get(&target).is(200);
    assert_eq!(list.text("content-type"), INDEX);
    assert!(!list.headers.contains_key("oci-filters-applied"));
    let body = list.json();
    assert_eq!(
        (&body["schemaVersion"], &body["mediaType"]),
        (&json!(2), &json!(INDEX))
    );
    let manifests = body["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 3);
    let entry = |digest: Digest| {
        manifests
            .iter()
            .find(|entry| entry["digest"] == json!(digest))
            .unwrap()
    };
    assert_eq!(
        *entry(typed_digest),
        json!({
            "mediaType": IMAGE, "digest": typed_digest, "size": typed.len(),
            "artifactType": "application/vnd.sbom+json", "annotations": { "k": "v" },
        })
    );
    assert_eq!(entry(plain_digest)["artifactType"], CONFIG);
    assert_eq!(entry(index_digest).get("artifactType"), None);

    for filter in ["application/vnd.sbom+json", "application%2Fvnd.sbom%2Bjson"] {
        let filtered = wire.get(&format!("{target}?artifactType={filter}")).is(200);
        assert_eq!(filtered.text("oci-filters-applied"), "artifactType");
        assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
    }
    let none = wire.get(&format!("{target}?artifactType=other/type")).is(200);
    assert_eq!(none.json()["manifests"], json!([]));
}

#[test]
fn must_21_referrers_are_never_unknown_and_only_a_bad_digest_is_refused() {
    let wire = Wire::new();
    let digest = Digest::of(Algorithm::Sha512, b"nothing");
    for repository in ["nowhere", "a"] {
        let empty = wire.get(&format!("/v2/{repository}/referrers/{digest}")).is(200);
        assert_eq!(
            (empty.text("content-type"), &empty.json()["manifests"]),
            (INDEX.into(), &json!([]))
        );
        wire.push_blob("a", b"x");
    }
    wire.get("/v2/a/referrers/sha256:bad")
        .refuses(400, "DIGEST_INVALID", "sha256:bad");
    wire.get("/v2/a/referrers/latest")
        .refuses(400, "DIGEST_INVALID", "latest");
}

#[test]
fn must_21_referrers_are_paged_with_their_filter() {
    let wire = Wire::new();
    let (subject, _) = wire.push_image("a", "x", "subject");
    let mut expected: Vec<Digest> = (0..7)
        .map(|n| {
            referrer(
                &wire,
                subject,
                &format!("r{n}"),
                json!({ "artifactType": "x/y+z" }),
            )
            .1
        })
        .collect();
    referrer(&wire, subject, "other", json!({ "artifactType": "x/other" }));
    expected.sort();
    let mut target = Some(format!("/v2/a/referrers/{subject}?artifactType=x/y%2Bz&n=3"));
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = target {
        let answer = wire.get(&page).is(200);
        assert_eq!(answer.text("oci-filters-applied"), "artifactType");
        let manifests = answer.json()["manifests"].as_array().unwrap().clone();
        sizes.push(manifests.len());
        found.extend(
            manifests
                .iter()
                .map(|entry| entry["digest"].as_str().unwrap().parse::<Digest>().unwrap()),
        );
        target = answer.next();
    }
    assert_eq!((found, sizes), (expected, vec![3, 3, 1]));
    let none = wire.get(&format!("/v2/a/referrers/{subject}?n=0")).is(200);
    assert_eq!((none.json()["manifests"].clone(), none.next()), (json!([]), None));
}

#[test]
fn must_22_referrers_of_clients_that_keep_a_fallback_tag_are_listed_too() {
    let wire = Wire::new();
    let (subject, _) = wire.push_image("a", "x", "subject");
    let (manifest, digest) = referrer(&wire, subject, "r", json!({}));
    let fallback = format!("/v2/a/manifests/{}", subject.to_string().replace(':', "-"));
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{ "mediaType": IMAGE, "digest": digest, "size": manifest.len() }],
    });
    wire.put_manifest(&fallback, INDEX, index.to_string()).is(201);
    let listed = wire.get(&format!("/v2/a/referrers/{subject}")).is(200).json();
    assert_eq!(listed["manifests"][0]["digest"], json!(digest));
    assert_eq!(wire.get(&fallback).is(200).json(), index);
}

#[test]
fn must_23_a_deleted_manifest_takes_its_tags_along_and_a_tag_goes_alone() {
    let wire = Wire::new();
    let (digest, manifest) = wire.push_image("a", "one", "x");
    wire.put_manifest("/v2/a/manifests/two", IMAGE, manifest).is(201);
    wire.delete("/v2/a/manifests/one").is(202);
    wire.get("/v2/a/manifests/one")
        .refuses(404, "MANIFEST_UNKNOWN", "one");
    wire.get("/v2/a/manifests/two").is(200);
    wire.delete(&format!("/v2/a/manifests/{digest}")).is(202);
    wire.get("/v2/a/manifests/two").is(404);
    assert_eq!(wire.get("/v2/a/tags/list").json()["tags"], json!([]));
    wire.delete(&format!("/v2/a/manifests/{digest}"))
        .refuses(404, "MANIFEST_UNKNOWN", &digest.to_string());
    wire.delete("/v2/a/manifests/one")
        .refuses(404, "MANIFEST_UNKNOWN", "one");
    let blob = wire.push_blob("a", b"content");
    wire.delete(&format!("/v2/a/blobs/{blob}")).is(202);
    wire.get(&format!("/v2/a/blobs/{blob}"))
        .refuses(404, "BLOB_UNKNOWN", &blob.to_string());
    wire.delete(&format!("/v2/a/blobs/{blob}"))
        .refuses(404, "BLOB_UNKNOWN", &blob.to_string());
}

/// Refuses everything in one way.
struct Always(ErrorKind);

#[async_trait]
impl Gate for Always {
    async fn admit(&self, _ctx: &Context, _call: Call<'_>) -> Result<Context> {
        Err(Error::new(self.0, "refused by a test").with_source(std::io::Error::other("secret")))
    }
}

#[test]
fn must_24_errors_have_the_specified_form_and_codes() {
    let wire = Wire::new();
    for kind in ErrorKind::ALL {
        let answer = wire
            .under(|registry| Gated::new(registry, Always(*kind)))
            .get("/v2/a/manifests/x")
            .refuses(kind.status(), kind.code(), "refused by a test");
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
    }
    let codes: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    for code in [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ] {
        assert!(codes.contains(&code), "{code}");
    }
}

#[test]
fn should_24_who_has_to_wait_is_told_how_long() {
    let wire = Wire::new();
    for kind in [ErrorKind::TooManyRequests, ErrorKind::Unavailable] {
        let answer = wire
            .under(|registry| Gated::new(registry, Always(kind)))
            .get("/v2/a/manifests/x");
        assert!(
            answer
                .is(kind.status())
                .text("retry-after")
                .parse::<u64>()
                .unwrap()
                > 0
        );
    }
}

#[test]
fn should_25_the_namespace_of_a_proxied_registry_is_echoed() {
    let wire = Wire::new();
    let (_, _) = wire.push_image("a", "x", "x");
    for (target, status) in [("/v2/a/manifests/x", 200), ("/v2/a/manifests/y", 404)] {
        let answer = wire.get(&format!("{target}?ns=upstream.test:5000")).is(status);
        assert_eq!(answer.text("oci-namespace"), "upstream.test:5000");
        assert!(!wire.get(target).headers.contains_key("oci-namespace"));
    }
    let split = wire.get("/v2/a/manifests/x?ns=a%0d%0aset-cookie:%20b").is(200);
    assert!(!split.headers.contains_key("oci-namespace") && !split.headers.contains_key("set-cookie"));
}

#[test]
fn must_25_extensions_that_are_not_here_are_unknown() {
    let wire = Wire::new();
    wire.get("/v2/_oci/ext/discover")
        .refuses(404, "UNSUPPORTED", "/v2/_oci/ext/discover");
    wire.get("/v2/a/_other/ext/x").is(404);
}

#[test]
fn must_25_the_catalog_lists_repositories_by_page() {
    let wire = Wire::new();
    for name in ["b", "a/x", "a", "c"] {
        wire.push_image(name, "latest", "x");
    }
    let all = ["a", "a/x", "b", "c"];
    let list = |query: &str| pages(&wire, &format!("/v2/_catalog{query}"), "repositories");
    assert_eq!(list(""), [all]);
    assert_eq!(list("?n=3"), [&all[..3], &all[3..]]);
    assert_eq!(list("?last=a"), [&all[1..]]);
    assert_eq!(list("?n=0"), [&[] as &[&str]]);
}

#[test]
fn must_26_unknown_types_and_fields_are_kept() {
    let wire = Wire::new();
    let custom = r#"{"any": [1, {"x": null}], "data": "not base64 !", "schemaVersion": 7}"#;
    wire.put_manifest(
        "/v2/a/manifests/custom",
        "application/vnd.example.thing+json",
        custom,
    )
    .is(201);
    let got = wire.get("/v2/a/manifests/custom").is(200);
    assert_eq!(
        (got.body.as_ref(), got.text("content-type").as_str()),
        (custom.as_bytes(), "application/vnd.example.thing+json")
    );
    wire.push_blob("a", b"{}");
    let mut odd = descriptor("application/vnd.example.unknown", b"{}");
    odd["data"] = json!("e30=");
    odd["newField"] = json!({ "deep": [true] });
    let manifest = json!({ "schemaVersion": 2, "config": odd, "layers": [odd], "newField": 1 }).to_string();
    wire.put_manifest("/v2/a/manifests/odd", IMAGE, manifest.clone())
        .is(201);
    assert_eq!(wire.get("/v2/a/manifests/odd").body, manifest);
}
