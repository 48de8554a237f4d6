//! Typed collections: a sound one is not complained of, and what does not agree is found and repaired from the records.

use registry_core::store::collection::{Collection, CollectionError, Match, Query, keys};
use registry_storage::records::check::{FindingKind as Kind, Options, Repair};
use registry_storage::testkit::block_on;
use registry_storage::testkit::collection::{Pet, pet};

use super::house::{House, open};

/// Three records of which the second was deleted.
async fn fill(house: &House) -> Collection<Pet> {
    let pets: Collection<Pet> = Collection::new(house.kv.clone());
    for name in ["a", "b", "c"] {
        pets.insert(&pet(name)).await.unwrap();
    }
    pets.delete(2).await.unwrap();
    pets
}

/// Does harm; the check must find it as this kind and repair it, so that the collection answers as before.
#[track_caller]
fn mends(kind: Kind, about: &str, harm: impl AsyncFnOnce(&House)) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        let pets = fill(&house).await;
        let query = || Query::all().and("kind", Match::Is("cat".into()));
        let before = pets.query(&query()).await.unwrap();
        assert_eq!(house.check(false).await.0, [], "before any harm");
        harm(&house).await;
        let (findings, _) = house.check(false).await;
        assert!(!findings.is_empty());
        for finding in &findings {
            assert_eq!(
                (finding.kind, finding.repair),
                (kind, Repair::Possible),
                "{finding}"
            );
            assert!(
                finding.key.contains(about) || finding.message.contains(about),
                "{finding}"
            );
        }
        let repairing = Options {
            repair: true,
            ..Options::default()
        };
        let (found, report) = house.check_as(repairing).await;
        assert!(report.is_well(), "{found:?}");
        assert_eq!(house.check(false).await.0, [], "after the repair");
        // The stamps too, unless the record itself was written.
        assert_eq!(pets.query(&query()).await.unwrap(), before);
        assert_eq!(pets.by("name", "c").await.unwrap().unwrap().id, 3);
        let next = pets.insert(&pet("d")).await.unwrap();
        assert!(next.id > 3, "an id that no record had");
        assert!(matches!(
            pets.insert(&pet("a")).await,
            Err(CollectionError::Taken { .. })
        ));
    });
}

#[test]
fn a_unique_key_that_is_gone_leads_to_its_record_again() {
    mends(Kind::IndexDisagrees, "unique/pet/name/c", async |house| {
        house.delete("unique/pet/name/c").await;
    });
}

#[test]
fn a_unique_key_that_leads_elsewhere_leads_to_its_record_again() {
    mends(Kind::IndexDisagrees, "unique/pet/name/c", async |house| {
        house.set("unique/pet/name/c", r#"{"v":1,"id":2}"#).await;
    });
}

#[test]
fn an_entry_that_an_index_lacks_is_made_again() {
    mends(Kind::IndexDisagrees, "index/pet/kind/", async |house| {
        house.delete(&keys::indexed("pet", "kind", "cat", 3)).await;
    });
}

#[test]
fn entries_of_records_that_are_not_there_are_taken_away() {
    mends(Kind::IndexDisagrees, "00002", async |house| {
        house.set(&keys::indexed("pet", "kind", "cat", 2), "{}").await;
    });
    mends(Kind::IndexDisagrees, "unique/pet/name/d", async |house| {
        house.set("unique/pet/name/d", r#"{"v":1,"id":2}"#).await;
    });
}

#[test]
fn a_sequence_that_is_behind_wrong_or_gone_gives_no_id_twice() {
    for harmed in [r#"{"v":1,"next":3,"count":2}"#, r#"{"v":1,"next":4,"count":9}"#] {
        mends(Kind::CounterWrong, "pet", async |house| {
            house.set("sequence/pet", harmed).await;
        });
    }
    mends(Kind::CounterWrong, "pet", async |house| {
        house.delete("sequence/pet").await;
    });
}

#[test]
fn an_insert_on_a_sequence_that_is_behind_says_so_instead_of_trying_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        let pets = fill(&house).await;
        house.delete("sequence/pet").await;
        let refused = pets.insert(&pet("d")).await;
        assert!(
            matches!(refused, Err(CollectionError::Illegible { .. })),
            "{refused:?}"
        );
    });
}
