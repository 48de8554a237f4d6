//! What keeps what: indexes their children, subjects their referrers, tags their manifests; and what no tag keeps.

use std::time::Duration;

use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry_core::store::{ManifestWrite, Untagged};
use registry_core::{Digest, ErrorKind, Reference, RepositoryName};

use super::{Fixture, SLACK, assert_kind, caller, digest, image, repo, write};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_keeping_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::keeping,
            $name,
            $factory,
            [
                an_image_of_many_architectures_keeps_all_children,
                an_index_of_indexes_keeps_all_that_is_below,
                referrers_of_referrers_stay_while_the_first_subject_does,
                a_child_shared_by_a_deleted_and_a_live_index_is_kept,
                a_subject_pushed_after_its_referrer_keeps_it,
                an_image_that_lost_its_tag_goes_by_policy,
                an_image_that_never_had_a_tag_goes_by_policy,
                a_tag_that_comes_back_in_time_keeps_its_image,
                a_tag_that_comes_while_its_image_is_chosen_keeps_it,
                a_tag_that_comes_and_goes_while_its_image_is_chosen_has_its_time_begin_anew,
                an_image_put_again_while_it_is_chosen_has_its_time_begin_anew,
                the_time_without_a_tag_begins_anew_with_each_loss,
                the_feed_is_followed_once,
            ]
        );
    };
}

/// How long untagged manifests are kept here, at least.
const KEPT: Duration = Duration::from_secs(24 * 3600);

fn index_of(children: &[&ManifestWrite], tags: &[&str]) -> ManifestWrite {
    let manifests: Vec<_> = children
        .iter()
        .map(|child| {
            let media_type = &child.parsed.media_type;
            serde_json::json!({ "mediaType": media_type, "digest": child.digest, "size": child.bytes.len() })
        })
        .collect();
    write(
        OCI_INDEX,
        &serde_json::json!({ "schemaVersion": 2, "manifests": manifests }),
        tags,
    )
}

/// A manifest about another, which need not be there.
fn about(subject: &ManifestWrite, blob: &str) -> ManifestWrite {
    let config = serde_json::json!({ "mediaType": "x/y", "digest": digest(blob), "size": blob.len() });
    let of = serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": subject.digest, "size": subject.bytes.len() });
    write(
        OCI_MANIFEST,
        &serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [], "subject": of }),
        &[],
    )
}

impl Fixture {
    /// Puts a manifest, and the blobs that it names first.
    async fn put_with(&self, name: &RepositoryName, blobs: &[&str], write: &ManifestWrite) -> Digest {
        for blob in blobs {
            self.publish(name, blob).await;
        }
        self.put(name, write.clone()).await.expect("a manifest").digest
    }

    async fn is_there(&self, name: &RepositoryName, digest: &Digest) -> bool {
        match self.store.manifest_bytes(name, &Reference::Digest(*digest)).await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::ManifestUnknown => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// One pass of the policy. How many manifests it deleted.
    async fn by_policy(&self) -> usize {
        while self.store.follow(3).await.expect("the feed") {}
        let until = self.now() - KEPT;
        let (mut deleted, mut after) = (0, None);
        loop {
            let page = self
                .store
                .untagged(until, after.as_ref(), 2)
                .await
                .expect("a list");
            let Some(last) = page.last() else { return deleted };
            after = Some(last.clone());
            for untagged in &page {
                deleted += usize::from(self.store.delete_untagged(untagged).await.expect("an answer"));
            }
        }
    }

    /// Passes of the policy and of the collector for as long as anything could take.
    async fn tidy_for_long(&self) -> usize {
        let mut deleted = 0;
        for _ in 0..4 {
            self.clock.advance(KEPT + SLACK);
            deleted += self.by_policy().await;
        }
        self.collect_all().await;
        deleted
    }
}

/// None of which has a tag.
pub async fn an_image_of_many_architectures_keeps_all_children(fixture: Fixture) {
    let a = repo("a");
    let children: Vec<_> = ["amd64", "arm64", "riscv64"]
        .map(|blob| image(&[blob], &[]))
        .into();
    for (child, blob) in children.iter().zip(["amd64", "arm64", "riscv64"]) {
        fixture.put_with(&a, &[blob], child).await;
    }
    let whole = index_of(&children.iter().collect::<Vec<_>>(), &["v"]);
    let whole = fixture.put(&a, whole).await.expect("an index").digest;
    assert_eq!(fixture.tidy_for_long().await, 0);
    for (child, blob) in children.iter().zip(["amd64", "arm64", "riscv64"]) {
        assert!(fixture.is_there(&a, &child.digest).await && fixture.belongs(&a, blob).await);
        assert_kind(fixture.delete(&a, &child.digest).await, ErrorKind::InUse);
    }
    // And when it goes, they do: nothing else points at them.
    fixture.delete(&a, &whole).await.expect("a delete");
    assert_eq!(fixture.tidy_for_long().await, 3);
    assert_eq!(fixture.record("arm64").await, None);
}

/// However deep.
pub async fn an_index_of_indexes_keeps_all_that_is_below(fixture: Fixture) {
    let a = repo("a");
    let leaf = image(&["x"], &[]);
    fixture.put_with(&a, &["x"], &leaf).await;
    let middle = index_of(&[&leaf], &[]);
    fixture.put(&a, middle.clone()).await.expect("an index");
    let top = fixture
        .put(&a, index_of(&[&middle], &["v"]))
        .await
        .expect("an index")
        .digest;
    assert_eq!(fixture.tidy_for_long().await, 0);
    assert!(fixture.is_there(&a, &middle.digest).await && fixture.is_there(&a, &leaf.digest).await);
    assert!(fixture.belongs(&a, "x").await);
    fixture.delete(&a, &top).await.expect("a delete");
    assert_eq!(fixture.tidy_for_long().await, 2);
    assert_eq!(fixture.record("x").await, None);
}

/// A signature of a list of materials of an image.
pub async fn referrers_of_referrers_stay_while_the_first_subject_does(fixture: Fixture) {
    let a = repo("a");
    let subject = image(&["x"], &["v"]);
    let materials = about(&subject, "materials");
    let signature = about(&materials, "signature");
    let image = fixture.put_with(&a, &["x"], &subject).await;
    fixture.put_with(&a, &["materials"], &materials).await;
    fixture.put_with(&a, &["signature"], &signature).await;
    assert_eq!(fixture.tidy_for_long().await, 0);
    assert!(fixture.belongs(&a, "materials").await && fixture.belongs(&a, "signature").await);
    fixture.delete(&a, &image).await.expect("a delete");
    assert_eq!(fixture.tidy_for_long().await, 2);
    assert_eq!(fixture.record("signature").await, None);
}

/// With its blobs.
pub async fn a_child_shared_by_a_deleted_and_a_live_index_is_kept(fixture: Fixture) {
    let a = repo("a");
    let (shared, own) = (image(&["shared"], &[]), image(&["own"], &[]));
    fixture.put_with(&a, &["shared"], &shared).await;
    fixture.put_with(&a, &["own"], &own).await;
    let old = fixture
        .put(&a, index_of(&[&shared, &own], &["old"]))
        .await
        .expect("an index");
    fixture
        .put(&a, index_of(&[&shared], &["new"]))
        .await
        .expect("an index");
    fixture.delete(&a, &old.digest).await.expect("a delete");
    assert_eq!(fixture.tidy_for_long().await, 1, "only what nothing else lists");
    assert!(fixture.is_there(&a, &shared.digest).await && fixture.belongs(&a, "shared").await);
    assert!(!fixture.is_there(&a, &own.digest).await);
}

/// The order is the client's to choose.
pub async fn a_subject_pushed_after_its_referrer_keeps_it(fixture: Fixture) {
    let a = repo("a");
    let subject = image(&["x"], &["v"]);
    let signature = about(&subject, "signature");
    fixture.put_with(&a, &["signature"], &signature).await;
    fixture.clock.advance(KEPT / 2);
    fixture.put_with(&a, &["x"], &subject).await;
    assert_eq!(fixture.tidy_for_long().await, 0);
    let referrers = fixture
        .store
        .list_referrers(&a, &subject.digest, None, None, 9)
        .await;
    assert_eq!(referrers.expect("a list").items.len(), 1);
    assert!(fixture.belongs(&a, "signature").await);
}

/// And not sooner than the policy says.
pub async fn an_image_that_lost_its_tag_goes_by_policy(fixture: Fixture) {
    let a = repo("a");
    let old = fixture.image(&a, "old", "v").await;
    fixture.clock.advance(2 * KEPT);
    let new = fixture.image(&a, "new", "v").await;
    fixture.clock.advance(KEPT - Duration::from_millis(1));
    assert_eq!(fixture.by_policy().await, 0);
    fixture.clock.advance(SLACK);
    assert_eq!(fixture.by_policy().await, 1);
    assert!(!fixture.is_there(&a, &old).await && fixture.is_there(&a, &new).await);
}

/// Pushed by digest, for whoever pulls by digest, which is why there is no such policy unless one is set.
pub async fn an_image_that_never_had_a_tag_goes_by_policy(fixture: Fixture) {
    let a = repo("a");
    let lone = fixture.put_with(&a, &["x"], &image(&["x"], &[])).await;
    fixture.collect_all().await;
    assert!(fixture.is_there(&a, &lone).await, "without a policy it stays");
    fixture.clock.advance(KEPT + SLACK);
    assert_eq!(fixture.by_policy().await, 1);
    assert!(!fixture.is_there(&a, &lone).await);
}

/// Although it had lost it.
pub async fn a_tag_that_comes_back_in_time_keeps_its_image(fixture: Fixture) {
    let a = repo("a");
    let write = image(&["x"], &["v"]);
    let kept = fixture.put_with(&a, &["x"], &write).await;
    fixture
        .store
        .delete_tag(&caller(), &a, &write.tags[0])
        .await
        .expect("a delete");
    fixture.clock.advance(KEPT / 2);
    fixture.put(&a, write).await.expect("the tag is back");
    assert_eq!(fixture.tidy_for_long().await, 0);
    assert!(fixture.is_there(&a, &kept).await);
}

/// What was looked at before is not what is deleted.
pub async fn a_tag_that_comes_while_its_image_is_chosen_keeps_it(fixture: Fixture) {
    let a = repo("a");
    let write = image(&["x"], &[]);
    let kept = fixture.put_with(&a, &["x"], &write).await;
    fixture.clock.advance(KEPT + SLACK);
    while fixture.store.follow(10).await.expect("the feed") {}
    let chosen = fixture
        .store
        .untagged(fixture.now() - KEPT, None, 10)
        .await
        .expect("a list");
    assert_eq!(chosen.len(), 1);
    fixture.put(&a, image(&["x"], &["v"])).await.expect("a tag");
    assert!(
        !fixture
            .store
            .delete_untagged(&chosen[0])
            .await
            .expect("an answer")
    );
    assert!(fixture.is_there(&a, &kept).await);
}

impl Fixture {
    /// An image that the policy has chosen, while the feed goes on where the policy has not looked.
    async fn chosen(&self, name: &RepositoryName, write: &ManifestWrite) -> Untagged {
        self.put_with(name, &["x"], write).await;
        self.clock.advance(KEPT + SLACK);
        while self.store.follow(10).await.expect("the feed") {}
        let chosen = self.store.untagged(self.now() - KEPT, None, 10).await;
        chosen.expect("a list").remove(0)
    }

    async fn goes_later_than_chosen(&self, name: &RepositoryName, chosen: &Untagged) {
        let deleted = self.store.delete_untagged(chosen).await;
        assert!(!deleted.expect("an answer"));
        self.clock.advance(KEPT - Duration::from_millis(1));
        assert_eq!(self.by_policy().await, 0);
        assert!(self.is_there(name, &chosen.digest).await);
        self.clock.advance(SLACK);
        assert_eq!(self.by_policy().await, 1);
    }
}

/// Although no tag points at it when it would be deleted.
pub async fn a_tag_that_comes_and_goes_while_its_image_is_chosen_has_its_time_begin_anew(fixture: Fixture) {
    let a = repo("a");
    let chosen = fixture.chosen(&a, &image(&["x"], &[])).await;
    let tagged = image(&["x"], &["v"]);
    fixture.put(&a, tagged.clone()).await.expect("a tag");
    let lost = fixture.store.delete_tag(&caller(), &a, &tagged.tags[0]).await;
    lost.expect("a delete");
    fixture.goes_later_than_chosen(&a, &chosen).await;
}

/// Somebody has just pushed it, and is about to pull it by its digest.
pub async fn an_image_put_again_while_it_is_chosen_has_its_time_begin_anew(fixture: Fixture) {
    let a = repo("a");
    let write = image(&["x"], &[]);
    let chosen = fixture.chosen(&a, &write).await;
    fixture.put(&a, write).await.expect("a manifest");
    fixture.goes_later_than_chosen(&a, &chosen).await;
}

/// Not with the first.
pub async fn the_time_without_a_tag_begins_anew_with_each_loss(fixture: Fixture) {
    let a = repo("a");
    let write = image(&["x"], &["v"]);
    fixture.put_with(&a, &["x"], &write).await;
    for _ in 0..3 {
        let lost = fixture.store.delete_tag(&caller(), &a, &write.tags[0]).await;
        lost.expect("a delete");
        fixture.clock.advance(KEPT - Duration::from_millis(1));
        assert_eq!(fixture.by_policy().await, 0);
        fixture.put(&a, write.clone()).await.expect("the tag is back");
    }
    fixture
        .store
        .delete_tag(&caller(), &a, &write.tags[0])
        .await
        .expect("a delete");
    fixture.clock.advance(KEPT + SLACK);
    assert_eq!(fixture.by_policy().await, 1);
}

/// And what was seen is remembered: a second look finds the same and writes nothing.
pub async fn the_feed_is_followed_once(fixture: Fixture) {
    let a = repo("a");
    for n in 0..7 {
        let blob = format!("blob {n}");
        fixture.put_with(&a, &[&blob], &image(&[&blob], &[])).await;
    }
    let mut pages = 1;
    while fixture.store.follow(2).await.expect("the feed") {
        pages += 1;
    }
    assert_eq!(pages, 4);
    let found = fixture
        .store
        .untagged(fixture.now() + SLACK, None, 10)
        .await
        .expect("a list");
    assert_eq!(found.len(), 7);
    assert!(!fixture.store.follow(2).await.expect("the feed"));
    assert_eq!(
        fixture
            .store
            .untagged(fixture.now() + SLACK, None, 10)
            .await
            .expect("a list"),
        found
    );
}
