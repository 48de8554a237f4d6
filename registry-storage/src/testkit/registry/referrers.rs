//! Referrers: what says that it belongs to a manifest.

use bytes::Bytes;
use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry_core::{Descriptor, Digest, Page, PutManifest};

use super::{F, User, descriptor, digests, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_referrers_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::referrers,
            $name,
            $factory,
            [
                an_unknown_subject_has_no_referrers,
                a_referrer_is_listed_as_it_describes_itself,
                referrers_are_in_the_order_of_their_digests,
                referrers_are_filtered_by_artifact_type,
                pages_of_referrers_make_the_whole,
                a_referrer_that_came_before_its_subject_is_listed,
                a_deleted_referrer_is_not_listed,
                referrers_of_other_subjects_and_repositories_are_not_listed,
            ]
        );
    };
}

const SIGNATURE: &str = "application/vnd.example.signature+json";
const SBOM: &str = "application/vnd.example.sbom+json";

/// An artifact that refers to `subject`, as an index, which needs nothing else to be there.
fn artifact(subject: &Digest, artifact_type: &str, n: usize) -> Bytes {
    let artifact = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": artifact_type,
        "manifests": [],
        "subject": descriptor(OCI_MANIFEST, subject, 1),
        "annotations": { "n": n.to_string() },
    });
    serde_json::to_vec(&artifact).expect("JSON").into()
}

async fn refer(user: &User, subject: &Digest, artifact_type: &str, n: usize) -> Digest {
    let put = PutManifest::untagged(OCI_INDEX, artifact(subject, artifact_type, n));
    user.put(&repo("a"), put).await.expect("a referrer").digest
}

async fn page(
    user: &User,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> Page<Descriptor> {
    let listed = user
        .registry
        .list_referrers(&user.ctx, &repo("a"), subject, artifact_type, after, limit)
        .await;
    listed.expect("a list of referrers")
}

async fn all(user: &User, subject: &Digest) -> Vec<Digest> {
    let page = page(user, subject, None, None, 100).await;
    assert!(!page.more);
    digests(&page.items)
}

/// An empty list and no error, even where there is no repository.
pub async fn an_unknown_subject_has_no_referrers(fixture: F) {
    let user = User::of(&fixture);
    let subject = Digest::sha256(b"nobody's");
    assert_eq!(all(&user, &subject).await, []);
    user.image(&repo("a"), "one", "latest").await;
    assert_eq!(all(&user, &subject).await, []);
}

/// Type, length, artifact type and annotations.
pub async fn a_referrer_is_listed_as_it_describes_itself(fixture: F) {
    let user = User::of(&fixture);
    let subject = user.image(&repo("a"), "one", "latest").await;
    let bytes = artifact(&subject, SIGNATURE, 7);
    let digest = refer(&user, &subject, SIGNATURE, 7).await;
    let listed = page(&user, &subject, None, None, 100)
        .await
        .items
        .pop()
        .expect("a referrer");
    assert_eq!((listed.digest, listed.size), (digest, bytes.len() as u64));
    assert_eq!(
        (listed.media_type.as_str(), listed.artifact_type.as_deref()),
        (OCI_INDEX, Some(SIGNATURE))
    );
    assert_eq!(listed.annotations.get("n").map(String::as_str), Some("7"));

    // An image says what it is by its config.
    let image = super::image(&"config one".into(), &["layer one".into()], Some(&digest));
    let put = PutManifest::untagged(OCI_MANIFEST, image);
    user.put(&repo("a"), put)
        .await
        .expect("a referrer of the referrer");
    let listed = page(&user, &digest, None, None, 100)
        .await
        .items
        .pop()
        .expect("a referrer");
    assert_eq!(
        listed.artifact_type.as_deref(),
        Some("application/vnd.oci.image.config.v1+json")
    );
}

/// Whatever the order in which they came.
pub async fn referrers_are_in_the_order_of_their_digests(fixture: F) {
    let user = User::of(&fixture);
    let subject = user.image(&repo("a"), "one", "latest").await;
    let mut expected = Vec::new();
    for n in 0..9 {
        expected.push(refer(&user, &subject, SIGNATURE, n).await);
    }
    expected.sort();
    assert_eq!(all(&user, &subject).await, expected);
}

/// And by nothing that only begins alike.
pub async fn referrers_are_filtered_by_artifact_type(fixture: F) {
    let user = User::of(&fixture);
    let subject = user.image(&repo("a"), "one", "latest").await;
    let signature = refer(&user, &subject, SIGNATURE, 1).await;
    let sbom = refer(&user, &subject, SBOM, 2).await;
    for (artifact_type, expected) in [
        (SIGNATURE, vec![signature]),
        (SBOM, vec![sbom]),
        ("application/vnd.example", vec![]),
    ] {
        let page = page(&user, &subject, Some(artifact_type), None, 100).await;
        assert_eq!(
            (digests(&page.items), page.more),
            (expected, false),
            "{artifact_type}"
        );
    }
}

/// With and without a filter.
pub async fn pages_of_referrers_make_the_whole(fixture: F) {
    let user = User::of(&fixture);
    let subject = user.image(&repo("a"), "one", "latest").await;
    let (mut whole, mut signatures) = (Vec::new(), Vec::new());
    for n in 0..14 {
        let artifact_type = if n % 3 == 0 { SBOM } else { SIGNATURE };
        let digest = refer(&user, &subject, artifact_type, n).await;
        whole.push(digest);
        if artifact_type == SIGNATURE {
            signatures.push(digest);
        }
    }
    whole.sort();
    signatures.sort();
    for (filter, expected) in [(None, &whole), (Some(SIGNATURE), &signatures)] {
        for limit in [1, 3, 14, 15] {
            let mut listed = page(&user, &subject, filter, None, limit).await;
            while listed.more {
                let after = listed.items.last().map(|descriptor| descriptor.digest);
                let next = page(&user, &subject, filter, after.as_ref(), limit).await;
                assert!(
                    !next.items.is_empty() && next.items.len() <= limit,
                    "{} of {limit}",
                    next.items.len()
                );
                listed.items.extend(next.items);
                listed.more = next.more;
            }
            assert_eq!(
                digests(&listed.items),
                *expected,
                "{filter:?} in pages of {limit}"
            );
        }
    }
}

/// As soon as it is there, and still when its subject is.
pub async fn a_referrer_that_came_before_its_subject_is_listed(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    let subject = Digest::sha256(&manifest);
    let referrer = refer(&user, &subject, SIGNATURE, 1).await;
    assert_eq!(all(&user, &subject).await, [referrer]);
    user.put(&a, PutManifest::untagged(OCI_MANIFEST, manifest))
        .await
        .expect("the subject");
    assert_eq!(all(&user, &subject).await, [referrer]);
}

/// At once; the others are.
pub async fn a_deleted_referrer_is_not_listed(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let subject = user.image(&a, "one", "latest").await;
    let (one, two) = (
        refer(&user, &subject, SIGNATURE, 1).await,
        refer(&user, &subject, SIGNATURE, 2).await,
    );
    user.delete(&a, &one).await.expect("a delete");
    assert_eq!(all(&user, &subject).await, [two]);
}

/// Each subject has its own, in each repository.
pub async fn referrers_of_other_subjects_and_repositories_are_not_listed(fixture: F) {
    let (user, b) = (User::of(&fixture), repo("b"));
    let one = user.image(&repo("a"), "one", "one").await;
    let two = user.image(&repo("a"), "two", "two").await;
    let of_one = refer(&user, &one, SIGNATURE, 1).await;
    let of_two = refer(&user, &two, SIGNATURE, 2).await;
    let elsewhere = PutManifest::untagged(OCI_INDEX, artifact(&one, SIGNATURE, 3));
    user.put(&b, elsewhere)
        .await
        .expect("a referrer in another repository");
    assert_eq!(all(&user, &one).await, [of_one]);
    assert_eq!(all(&user, &two).await, [of_two]);
}
