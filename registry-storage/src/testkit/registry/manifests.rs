//! Manifests: put, read, refused, deleted.

use bytes::Bytes;
use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST, SIZE_MAX};
use registry_core::{Algorithm, Digest, ErrorKind, PutManifest, Reference};

use super::super::content;
use super::{F, User, assert_kind, assert_unknown, image, index, put_index, repo, tag};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_manifests_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::manifests,
            $name,
            $factory,
            [
                a_manifest_is_given_back_as_the_bytes_that_were_put,
                stat_tells_what_get_gives,
                a_manifest_without_a_tag_is_known_by_its_digest,
                a_manifest_has_the_name_it_was_put_under,
                a_wrong_digest_is_refused_and_leaves_nothing,
                every_missing_child_is_named_in_the_detail,
                a_child_in_another_repository_is_missing_here,
                an_index_needs_its_manifests_here,
                a_subject_may_be_missing,
                unknown_types_and_fields_are_kept_as_they_are,
                what_is_no_manifest_is_refused_and_leaves_nothing,
                a_manifest_beyond_the_limit_is_refused,
                a_manifest_of_nearly_four_mebibytes_is_taken,
                putting_again_changes_nothing,
                what_was_never_put_is_unknown,
                a_deleted_manifest_is_unknown_with_all_its_tags,
                a_manifest_that_an_index_lists_cannot_be_deleted,
                a_deleted_manifest_can_be_put_again,
                a_manifest_stays_in_its_repository,
            ]
        );
    };
}

/// To the byte, with every blank, whatever JSON they would be as well.
pub async fn a_manifest_is_given_back_as_the_bytes_that_were_put(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let compact = user.prepared(&a, "one").await;
    let odd: Bytes = [
        b"\n {",
        &compact[1..compact.len() - 1],
        b"\t,\"x\": [ 1.50, \"\\u0041\" ]} \r\n",
    ]
    .concat()
    .into();
    let outcome = user
        .put(&a, PutManifest::tagged(tag("odd"), OCI_MANIFEST, odd.clone()))
        .await
        .expect("a put");
    assert_eq!(outcome.digest, Digest::sha256(&odd));
    assert_eq!((outcome.tags, outcome.subject), (vec![tag("odd")], None));
    for reference in [Reference::Tag(tag("odd")), Reference::Digest(outcome.digest)] {
        let manifest = user.get(&a, reference).await.expect("a manifest");
        assert_eq!(manifest.bytes, odd);
        assert_eq!(
            (manifest.info.digest, manifest.info.size),
            (outcome.digest, odd.len() as u64)
        );
        assert_eq!(manifest.info.media_type, OCI_MANIFEST);
    }
}

/// Without its bytes.
pub async fn stat_tells_what_get_gives(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.image(&a, "one", "latest").await;
    for reference in [Reference::Tag(tag("latest")), Reference::Digest(digest)] {
        let stat = user
            .registry
            .stat_manifest(&user.ctx, &a, &reference)
            .await
            .expect("a manifest");
        assert_eq!(stat, user.get(&a, reference).await.expect("a manifest").info);
    }
}

/// And has no tag.
pub async fn a_manifest_without_a_tag_is_known_by_its_digest(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.untagged(&a, "one").await;
    assert_eq!(
        user.get(&a, digest).await.expect("a manifest").info.digest,
        digest
    );
    assert_eq!(user.tags(&a).await, [""; 0]);
}

/// A manifest put under its SHA-512 digest is known by that, also by its tag.
pub async fn a_manifest_has_the_name_it_was_put_under(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    let digest = Digest::of(Algorithm::Sha512, &manifest);
    let put = PutManifest {
        digest: Some(digest),
        ..PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest.clone())
    };
    assert_eq!(user.put(&a, put).await.expect("a put").digest, digest);
    for reference in [Reference::Tag(tag("latest")), Reference::Digest(digest)] {
        let got = user.get(&a, reference).await.expect("a manifest");
        assert_eq!((got.info.digest, &got.bytes), (digest, &manifest));
    }
    assert_kind(
        user.get(&a, Digest::sha256(&manifest)).await,
        ErrorKind::ManifestUnknown,
    );
}

/// Neither under the digest that was named nor under that of the bytes.
pub async fn a_wrong_digest_is_refused_and_leaves_nothing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    let wrong = Digest::sha256(b"other");
    let put = PutManifest {
        digest: Some(wrong),
        ..PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest.clone())
    };
    assert_kind(user.put(&a, put).await, ErrorKind::DigestInvalid);
    assert_kind(user.get(&a, wrong).await, ErrorKind::ManifestUnknown);
    assert_kind(
        user.get(&a, Digest::sha256(&manifest)).await,
        ErrorKind::ManifestUnknown,
    );
    assert_eq!(user.at(&a, "latest").await, None);
}

/// And nothing that is there.
pub async fn every_missing_child_is_named_in_the_detail(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let (config, here) = (content(90, 10), content(91, 10));
    let missing = [content(92, 10), content(93, 10), content(94, 10)];
    user.push(&a, &config).await;
    user.push(&a, &here).await;
    let layers = [
        missing[0].clone(),
        here.clone(),
        missing[1].clone(),
        missing[2].clone(),
    ];
    let manifest = image(&config, &layers, None);
    let digest = Digest::sha256(&manifest);
    let put = PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest);
    let error = assert_kind(user.put(&a, put).await, ErrorKind::ManifestBlobUnknown);
    let detail = error.detail().expect("a detail").to_string();
    for child in &missing {
        assert!(detail.contains(&Digest::sha256(child).to_string()), "{detail}");
    }
    for child in [&config, &here] {
        assert!(!detail.contains(&Digest::sha256(child).to_string()), "{detail}");
    }
    assert_kind(user.get(&a, digest).await, ErrorKind::ManifestUnknown);
    assert_eq!(user.at(&a, "latest").await, None);
}

/// Knowing its digest does not bring it here.
pub async fn a_child_in_another_repository_is_missing_here(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let manifest = user.prepared(&a, "one").await;
    user.push(&b, &content(95, 10)).await;
    let put = PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest);
    assert_kind(user.put(&b, put.clone()).await, ErrorKind::ManifestBlobUnknown);
    assert_unknown(user.stat(&b, &Digest::sha256(b"layer one")).await);
    user.put(&a, put).await.expect("where they are, it can be put");
}

/// A manifest of another repository is none here.
pub async fn an_index_needs_its_manifests_here(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let child = user.untagged(&a, "one").await;
    user.push(&b, &content(96, 10)).await;
    let error = assert_kind(put_index(&user, &b, &child).await, ErrorKind::ManifestBlobUnknown);
    assert!(
        error
            .detail()
            .expect("a detail")
            .to_string()
            .contains(&child.to_string())
    );
    let put = put_index(&user, &a, &child).await.expect("its child is here");
    assert_eq!(user.at(&a, "index").await, Some(put.digest));
}

/// Its referrer can come first.
pub async fn a_subject_may_be_missing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let subject = Digest::sha256(b"not here yet");
    user.prepared(&a, "one").await;
    let manifest = image(&"config one".into(), &["layer one".into()], Some(&subject));
    let outcome = user
        .put(&a, PutManifest::untagged(OCI_MANIFEST, manifest))
        .await
        .expect("a put");
    assert_eq!(outcome.subject, Some(subject));
    assert_kind(user.get(&a, subject).await, ErrorKind::ManifestUnknown);
}

/// image-spec `manifest.md`: no error.
pub async fn unknown_types_and_fields_are_kept_as_they_are(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = Bytes::from_static(br#"{"anything":[1,{"x":null}],"schemaVersion":7}"#);
    let media_type = "application/vnd.example.thing+json";
    let put = PutManifest::tagged(tag("thing"), media_type, bytes.clone());
    user.put(&a, put).await.expect("a put");
    let manifest = user.get(&a, tag("thing")).await.expect("a manifest");
    assert_eq!(
        (manifest.info.media_type.as_str(), manifest.bytes),
        (media_type, bytes)
    );
}

/// By kind, and without a trace.
pub async fn what_is_no_manifest_is_refused_and_leaves_nothing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let good = user.prepared(&a, "one").await;
    for (media_type, bytes) in [
        (OCI_MANIFEST, Bytes::from_static(b"not json")),
        (OCI_MANIFEST, Bytes::from_static(b"[]")),
        (OCI_MANIFEST, Bytes::from_static(b"{}")),
        (OCI_INDEX, good.clone()),
        (OCI_MANIFEST, good.slice(..good.len() - 1)),
        (OCI_MANIFEST, index(&[])),
    ] {
        let digest = Digest::sha256(&bytes);
        let put = PutManifest::tagged(tag("bad"), media_type, bytes);
        assert_kind(user.put(&a, put).await, ErrorKind::ManifestInvalid);
        assert_kind(user.get(&a, digest).await, ErrorKind::ManifestUnknown);
    }
    assert_eq!(user.at(&a, "bad").await, None);
}

/// `ManifestTooLarge`.
pub async fn a_manifest_beyond_the_limit_is_refused(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let mut bytes = user.prepared(&a, "one").await.to_vec();
    bytes.resize(SIZE_MAX + 1, b' ');
    let put = PutManifest::tagged(tag("large"), OCI_MANIFEST, bytes);
    assert_kind(user.put(&a, put).await, ErrorKind::ManifestTooLarge);
    assert_eq!(user.at(&a, "large").await, None);
}

/// distribution-spec: at least 4 MiB should be.
pub async fn a_manifest_of_nearly_four_mebibytes_is_taken(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let mut bytes = user.prepared(&a, "one").await.to_vec();
    bytes.resize(SIZE_MAX, b' ');
    let put = PutManifest::tagged(tag("large"), OCI_MANIFEST, bytes.clone());
    user.put(&a, put).await.expect("a put");
    assert!(
        user.get(&a, tag("large")).await.expect("a manifest").bytes == bytes,
        "other bytes were read"
    );
}

/// Under the same tag, or another.
pub async fn putting_again_changes_nothing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    for name in ["latest", "latest", "other"] {
        let put = PutManifest::tagged(tag(name), OCI_MANIFEST, manifest.clone());
        assert_eq!(
            user.put(&a, put).await.expect("a put").digest,
            Digest::sha256(&manifest)
        );
    }
    assert_eq!(user.tags(&a).await, ["latest", "other"]);
    assert_eq!(
        user.get(&a, tag("latest")).await.expect("a manifest").bytes,
        manifest
    );
}

/// By digest and by tag, in a repository that exists and in one that does not.
pub async fn what_was_never_put_is_unknown(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    user.image(&a, "one", "latest").await;
    let never = Digest::sha256(b"never");
    for reference in [Reference::Tag(tag("never")), Reference::Digest(never)] {
        assert_kind(user.get(&a, reference.clone()).await, ErrorKind::ManifestUnknown);
        assert_unknown(user.registry.stat_manifest(&user.ctx, &a, &reference).await);
        assert_kind(user.get(&b, reference.clone()).await, ErrorKind::NameUnknown);
        assert_unknown(user.registry.stat_manifest(&user.ctx, &b, &reference).await);
    }
    assert_kind(user.delete(&a, &never).await, ErrorKind::ManifestUnknown);
    assert_kind(user.delete(&b, &never).await, ErrorKind::NameUnknown);
}

/// Each tag that pointed at it, and no other.
pub async fn a_deleted_manifest_is_unknown_with_all_its_tags(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let one = user.image(&a, "one", "first").await;
    assert_eq!(user.image(&a, "one", "second").await, one);
    let two = user.image(&a, "two", "third").await;
    user.delete(&a, &one).await.expect("a delete");
    for reference in [Reference::Digest(one), tag("first").into(), tag("second").into()] {
        assert_kind(user.get(&a, reference).await, ErrorKind::ManifestUnknown);
    }
    assert_eq!(user.at(&a, "third").await, Some(two));
    assert_eq!(user.tags(&a).await, ["third"]);
    assert_kind(user.delete(&a, &one).await, ErrorKind::ManifestUnknown);
}

/// `InUse`, until the index is gone.
pub async fn a_manifest_that_an_index_lists_cannot_be_deleted(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let child = user.image(&a, "one", "child").await;
    let index = put_index(&user, &a, &child).await.expect("a put").digest;
    assert_kind(user.delete(&a, &child).await, ErrorKind::InUse);
    assert_eq!(user.at(&a, "child").await, Some(child));
    user.delete(&a, &index).await.expect("the index goes first");
    user.delete(&a, &child).await.expect("nothing lists it any more");
    assert_kind(user.get(&a, child).await, ErrorKind::ManifestUnknown);
}

/// Its blobs are still here for a while.
pub async fn a_deleted_manifest_can_be_put_again(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    for _ in 0..3 {
        let put = PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest.clone());
        let digest = user.put(&a, put).await.expect("a put").digest;
        assert_eq!(
            user.get(&a, tag("latest")).await.expect("a manifest").bytes,
            manifest
        );
        user.read(&a, &Digest::sha256(b"layer one"))
            .await
            .expect("its layer");
        user.delete(&a, &digest).await.expect("a delete");
        assert_eq!(user.at(&a, "latest").await, None);
    }
}

/// Knowing its digest opens nothing elsewhere.
pub async fn a_manifest_stays_in_its_repository(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let digest = user.image(&a, "one", "latest").await;
    user.image(&b, "two", "latest").await;
    assert_kind(user.get(&b, digest).await, ErrorKind::ManifestUnknown);
    assert_kind(user.delete(&b, &digest).await, ErrorKind::ManifestUnknown);
    assert_eq!(user.at(&a, "latest").await, Some(digest));
}
