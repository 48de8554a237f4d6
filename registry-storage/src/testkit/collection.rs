//! What [`Collection`] promises over any [`Kv`].

use std::borrow::Cow;
use std::sync::Arc;

use registry_core::store::collection::{
    Collection, CollectionError, Field, Found, Get, Match, Query, QueryError, Record, Row, Unique, keys,
};
use registry_core::store::{Kv, Txn};
use serde::{Deserialize, Serialize};

use super::Fixture;

/// Stamps one test per clause of the contract of collections. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! collection_suite {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::collection,
            $name,
            $factory,
            [
                what_is_inserted_is_read_back_by_id_and_by_unique_key,
                ids_count_up_from_one_and_never_repeat,
                a_taken_unique_key_is_named_and_nothing_is_written,
                a_unique_key_is_free_again_after_a_rename_and_after_a_delete,
                of_32_concurrent_inserts_of_one_unique_key_exactly_one_wins,
                concurrent_inserts_all_get_ids_of_their_own,
                concurrent_updates_lose_none,
                a_replace_of_what_was_written_since_does_nothing,
                an_update_that_is_refused_writes_nothing,
                an_update_of_nothing_says_so,
                what_is_not_declared_cannot_be_asked_for,
                every_kind_of_condition_holds_where_it_should,
                pages_make_the_whole_in_every_order,
                a_deleted_record_is_on_no_page,
                a_mark_changes_with_every_write_and_no_read,
                records_of_a_later_version_are_not_guessed_at,
                too_long_a_value_is_refused,
                the_index_follows_what_an_update_changes,
            ]
        );
    };
}

type F = Fixture<dyn Kv>;

/// The records of the suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pet {
    /// Unique.
    pub name: String,
    /// Indexed.
    pub kind: String,
    /// Indexed.
    pub age: i64,
    /// Without an index.
    pub tame: bool,
    /// Several, indexed.
    pub owners: Vec<i64>,
    /// Not to be asked for.
    pub secret: String,
}

impl Record for Pet {
    const TABLE: &'static str = "pet";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("name", Get::Text(|pet: &Self| &pet.name)).indexed(),
        Field::new("kind", Get::Text(|pet: &Self| &pet.kind)).indexed(),
        Field::new("age", Get::Number(|pet: &Self| pet.age)).indexed(),
        Field::new("tame", Get::Flag(|pet: &Self| pet.tame)),
        Field::new("owner_id", Get::Numbers(|pet: &Self| Cow::Borrowed(&pet.owners))).indexed(),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[Unique::new("name", |pet| Some(pet.name.as_str().into()))];
    const MARK: Option<&'static str> = Some("pets");
}

/// A record of which nothing but the name matters.
pub fn pet(name: &str) -> Pet {
    Pet {
        name: name.to_owned(),
        kind: "cat".to_owned(),
        age: 3,
        tame: true,
        owners: Vec::new(),
        secret: "hidden".to_owned(),
    }
}

fn pets(fixture: &F) -> Collection<Pet> {
    Collection::new(Arc::clone(&fixture.store))
}

async fn insert(pets: &Collection<Pet>, pet: Pet) -> Row<Pet> {
    pets.insert(&pet).await.expect("an insert")
}

async fn ask(pets: &Collection<Pet>, query: Query) -> Found<Pet> {
    pets.query(&query).await.expect("a query")
}

fn names(found: &Found<Pet>) -> Vec<&str> {
    found.rows.iter().map(|row| row.value.name.as_str()).collect()
}

/// Every record's entry in the other tables, by their keys.
async fn beside(kv: &dyn Kv) -> Vec<String> {
    let mut found = Vec::new();
    for table in [keys::UNIQUE, keys::INDEX] {
        let page = kv.scan(table, None, usize::MAX).await.expect("a scan");
        found.extend(page.into_iter().map(|(key, _)| key));
    }
    found
}

/// A record has its id and its unique key from the moment that it is there.
pub async fn what_is_inserted_is_read_back_by_id_and_by_unique_key(fixture: F) {
    let pets = pets(&fixture);
    let tom = insert(&pets, pet("Tom ! \"the/cat\"")).await;
    assert_eq!(pets.get(tom.id).await.unwrap(), Some(tom.clone()));
    assert_eq!(pets.by("name", &tom.value.name).await.unwrap(), Some(tom));
    assert_eq!(pets.by("name", "Tom").await.unwrap(), None);
    assert_eq!(pets.by("name", &"x".repeat(5000)).await.unwrap(), None);
    assert_eq!(pets.get(99).await.unwrap(), None);
}

/// Not after a delete either.
pub async fn ids_count_up_from_one_and_never_repeat(fixture: F) {
    let pets = pets(&fixture);
    for (name, id) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(insert(&pets, pet(name)).await.id, id);
    }
    assert_eq!(pets.delete(3).await.unwrap().unwrap().value, pet("c"));
    assert_eq!(pets.delete(3).await.unwrap(), None);
    assert_eq!(insert(&pets, pet("c")).await.id, 4);
    assert_eq!(pets.count().await.unwrap(), 3);
}

/// An insert and an update alike.
pub async fn a_taken_unique_key_is_named_and_nothing_is_written(fixture: F) {
    let pets = pets(&fixture);
    insert(&pets, pet("a")).await;
    let b = insert(&pets, pet("b")).await;
    let before = beside(&*fixture.store).await;
    let rename = |pet: &mut Pet| -> Result<(), CollectionError> {
        pet.name = "a".into();
        Ok(())
    };
    for refused in [pets.insert(&pet("a")).await, pets.update(b.id, rename).await] {
        match refused {
            Err(CollectionError::Taken { table, unique }) => assert_eq!((&*table, &*unique), ("pet", "name")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pets.count().await.unwrap(), 2);
    assert_eq!(pets.get(b.id).await.unwrap(), Some(b));
    assert_eq!(beside(&*fixture.store).await, before);
}

/// For others, at once.
pub async fn a_unique_key_is_free_again_after_a_rename_and_after_a_delete(fixture: F) {
    let pets = pets(&fixture);
    let a = insert(&pets, pet("a")).await;
    let renamed = pets.update(a.id, |pet| {
        pet.name = "b".into();
        Ok::<_, CollectionError>(())
    });
    renamed.await.unwrap();
    assert_eq!(insert(&pets, pet("a")).await.id, 2);
    pets.delete(1).await.unwrap();
    assert_eq!(insert(&pets, pet("b")).await.id, 3);
}

/// And the others are told.
pub async fn of_32_concurrent_inserts_of_one_unique_key_exactly_one_wins(fixture: F) {
    let pets = pets(&fixture);
    let tasks: Vec<_> = (0..32)
        .map(|age| {
            let pets = pets.clone();
            tokio::spawn(async move { pets.insert(&Pet { age, ..pet("one") }).await })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(row) => won.push(row),
            Err(CollectionError::Taken { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(pets.by("name", "one").await.unwrap(), won.pop());
    assert_eq!(pets.count().await.unwrap(), 1);
}

/// Whoever comes second takes the next.
pub async fn concurrent_inserts_all_get_ids_of_their_own(fixture: F) {
    let pets = pets(&fixture);
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let pets = pets.clone();
            tokio::spawn(async move { insert(&pets, pet(&format!("p{number}"))).await.id })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.sort();
    assert_eq!(ids, (1..=16).collect::<Vec<u64>>());
}

/// Each is made on what the one before left.
pub async fn concurrent_updates_lose_none(fixture: F) {
    let pets = pets(&fixture);
    let id = insert(&pets, Pet { age: 0, ..pet("a") }).await.id;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let pets = pets.clone();
            tokio::spawn(async move {
                let older = pets.update(id, |pet| {
                    pet.age += 1;
                    Ok::<_, CollectionError>(())
                });
                older.await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(pets.get(id).await.unwrap().unwrap().value.age, 16);
    let sixteen = ask(&pets, Query::all().and("age", Match::Is("16".into()))).await;
    assert_eq!(sixteen.total, 1);
}

/// It says so.
pub async fn a_replace_of_what_was_written_since_does_nothing(fixture: F) {
    let pets = pets(&fixture);
    let read = insert(&pets, pet("a")).await;
    let written = pets
        .replace(&read, Pet { age: 4, ..pet("a") })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        pets.replace(&read, Pet { age: 5, ..pet("b") }).await.unwrap(),
        None
    );
    assert_eq!(pets.get(read.id).await.unwrap(), Some(written));
    assert_eq!(pets.by("name", "b").await.unwrap(), None);
}

/// Whatever the closure did to its copy.
pub async fn an_update_that_is_refused_writes_nothing(fixture: F) {
    let pets = pets(&fixture);
    let a = insert(&pets, pet("a")).await;
    let refuse = |pet: &mut Pet| {
        pet.age = 99;
        Err(CollectionError::TooLong { field: "no" })
    };
    assert!(pets.update(a.id, refuse).await.is_err());
    let refused = pets
        .delete_if(a.id, |_| Err(CollectionError::TooLong { field: "no" }))
        .await;
    assert!(refused.is_err());
    assert_eq!(pets.get(a.id).await.unwrap(), Some(a));
}

/// Nothing is made by it.
pub async fn an_update_of_nothing_says_so(fixture: F) {
    let pets = pets(&fixture);
    let updated = pets.update(7, |_| Ok::<_, CollectionError>(())).await;
    assert!(matches!(
        updated,
        Err(CollectionError::Missing { table: "pet", id: 7 })
    ));
}

/// CVE-2025-30086: a filter on a hidden field tells, letter by letter, what it holds.
pub async fn what_is_not_declared_cannot_be_asked_for(fixture: F) {
    let pets = pets(&fixture);
    insert(&pets, pet("a")).await;
    for field in [
        "secret",
        "Secret",
        "value",
        "",
        "name,secret",
        "secret__icontains",
    ] {
        for query in [
            Query::all().and(field, Match::Like("h".into())),
            Query::all().by(field, true),
        ] {
            match pets.query(&query).await {
                Err(CollectionError::Query(QueryError::UnknownField { field: told, known })) => {
                    assert_eq!(told, field);
                    assert_eq!(known, "id, name, kind, age, tame, owner_id");
                }
                other => panic!("{field}: {other:?}"),
            }
        }
    }
    let not_a_number = Query::all().and("age", Match::Is("old".into()));
    let refused = pets.query(&not_a_number).await;
    assert!(matches!(
        refused,
        Err(CollectionError::Query(QueryError::NotAValue { .. }))
    ));
    let several = pets.query(&Query::all().by("owner_id", false)).await;
    assert!(matches!(
        several,
        Err(CollectionError::Query(QueryError::NotAnOrder { .. }))
    ));
}

/// With an index and without one.
pub async fn every_kind_of_condition_holds_where_it_should(fixture: F) {
    let pets = pets(&fixture);
    for (name, kind, age, tame, owners) in [
        ("Tom", "cat", 3, true, vec![1, 2]),
        ("Tim", "dog", -5, false, vec![2]),
        ("Ann", "", 10, true, vec![]),
    ] {
        let kind = kind.to_owned();
        let made = Pet {
            kind,
            age,
            tame,
            owners,
            ..pet(name)
        };
        insert(&pets, made).await;
    }
    let text = |text: &str| text.to_owned();
    let some = |text: &str| Some(text.to_owned());
    let expected: Vec<(&str, Match, &[&str])> = vec![
        ("name", Match::Is(text("Tom")), &["Tom"]),
        ("name", Match::Is(text("tom")), &[]),
        ("name", Match::Like(text("t")), &["Tom", "Tim"]),
        ("name", Match::Range(some("T"), None), &["Tom", "Tim"]),
        ("name", Match::Range(None, some("Tim")), &["Tim", "Ann"]),
        (
            "name",
            Match::Any(vec![text("Ann"), text("Tom"), text("Bob")]),
            &["Tom", "Ann"],
        ),
        ("kind", Match::Like(text("O")), &["Tim"]),
        ("age", Match::Is(text("-5")), &["Tim"]),
        ("age", Match::Range(some("-5"), some("3")), &["Tom", "Tim"]),
        ("tame", Match::Is(text("true")), &["Tom", "Ann"]),
        ("tame", Match::Is(text("False")), &["Tim"]),
        ("OwnerID", Match::Is(text("2")), &["Tom", "Tim"]),
        (
            "owner_id",
            Match::Any(vec![text("1"), text("2")]),
            &["Tom", "Tim"],
        ),
        ("owner_id", Match::All(vec![text("1"), text("2")]), &["Tom"]),
        ("id", Match::Is(text("3")), &["Ann"]),
        ("id", Match::Range(some("2"), None), &["Tim", "Ann"]),
    ];
    for (field, test, names_of) in expected {
        let query = Query::all().and(field, test);
        // Without another order, in that of the field, and in one that needs the records.
        for query in [
            query.clone(),
            query
                .clone()
                .and("tame", Match::Any(vec!["true".into(), "false".into()])),
        ] {
            let found = ask(&pets, query.clone()).await;
            assert_eq!(names(&found), names_of, "{query:?}");
            assert_eq!(found.total, names_of.len() as u64, "{query:?}");
        }
    }
    let both = Query::all()
        .and("kind", Match::Is("cat".into()))
        .and("age", Match::Is("10".into()));
    assert_eq!(ask(&pets, both).await.total, 0);
}

/// By an index, in both directions, by what has none, by several, and under one value of an index.
pub async fn pages_make_the_whole_in_every_order(fixture: F) {
    let pets = pets(&fixture);
    for number in 0..23_i64 {
        let made = Pet {
            kind: ["", "cat", "dog"][number as usize % 3].to_owned(),
            age: number % 5 - 2,
            tame: number % 2 == 0,
            ..pet(&format!("p{:02}", (number * 7) % 23))
        };
        insert(&pets, made).await;
    }
    let cats = || Query::all().and("kind", Match::Is("cat".into()));
    for query in [
        Query::all(),
        Query::all().by("id", true),
        Query::all().by("name", false),
        Query::all().by("name", true),
        Query::all().by("kind", true),
        Query::all()
            .by("age", false)
            .and("age", Match::Range(Some("-1".into()), None)),
        Query::all().by("tame", true).by("age", false),
        cats(),
        cats().by("id", true),
        cats().by("age", true).by("name", false),
    ] {
        let whole = ask(&pets, query.clone()).await;
        assert_eq!(whole.rows.len() as u64, whole.total, "{query:?}");
        for size in [1, 4, 100] {
            let mut paged = Vec::new();
            for offset in (0..whole.rows.len() + size).step_by(size) {
                let page = ask(&pets, query.clone().page(offset, size)).await;
                assert_eq!(page.total, whole.total, "{query:?}");
                assert!(page.rows.len() <= size);
                paged.extend(page.rows);
            }
            assert_eq!(paged, whole.rows, "{query:?} by {size}");
        }
        assert_eq!(
            ask(&pets, query.clone().page(usize::MAX, usize::MAX)).await.rows,
            []
        );
        assert_eq!(ask(&pets, query.page(0, 0)).await.rows, []);
    }
}

/// By whatever way it is asked for.
pub async fn a_deleted_record_is_on_no_page(fixture: F) {
    let pets = pets(&fixture);
    for name in ["a", "b", "c"] {
        insert(&pets, pet(name)).await;
    }
    pets.delete(2).await.unwrap();
    for query in [
        Query::all(),
        Query::all().by("name", false),
        Query::all().by("tame", false),
        Query::all().and("kind", Match::Is("cat".into())),
    ] {
        assert_eq!(names(&ask(&pets, query).await), ["a", "c"]);
    }
    pets.delete(1).await.unwrap();
    pets.delete(3).await.unwrap();
    assert_eq!(beside(&*fixture.store).await, [""; 0]);
}

/// So a copy that is as old as the mark is no older than the records.
pub async fn a_mark_changes_with_every_write_and_no_read(fixture: F) {
    let pets = pets(&fixture);
    assert_eq!(pets.mark().await.unwrap(), None);
    let a = insert(&pets, pet("a")).await;
    let inserted = pets.mark().await.unwrap();
    assert_eq!(inserted, Some(a.stamp));
    let b = pets.replace(&a, pet("b")).await.unwrap().unwrap();
    assert_eq!(pets.mark().await.unwrap(), Some(b.stamp));
    ask(&pets, Query::all()).await;
    assert!(pets.insert(&pet("b")).await.is_err());
    assert_eq!(pets.mark().await.unwrap(), Some(b.stamp));
    pets.delete(a.id).await.unwrap();
    assert!(pets.mark().await.unwrap() > Some(b.stamp));
}

/// An older program refuses them.
pub async fn records_of_a_later_version_are_not_guessed_at(fixture: F) {
    let pets = pets(&fixture);
    let a = insert(&pets, pet("a")).await;
    let key = keys::row("pet", a.id);
    let entry = fixture.store.get(&key).await.unwrap().unwrap();
    let text = String::from_utf8(entry.value.to_vec()).unwrap();
    let later = text.replacen("\"v\":1", "\"v\":2", 1);
    assert_ne!(later, text);
    fixture.store.commit(Txn::new().put(key, later)).await.unwrap();
    match pets.get(a.id).await {
        Err(CollectionError::Illegible { why, .. }) => assert!(why.contains("version 2"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Rather than cut.
pub async fn too_long_a_value_is_refused(fixture: F) {
    let pets = pets(&fixture);
    insert(&pets, pet(&"x".repeat(400))).await;
    let refused = pets.insert(&pet(&"x".repeat(401))).await;
    assert!(matches!(refused, Err(CollectionError::TooLong { field: "name" })));
}

/// What it had before leads to it no more.
pub async fn the_index_follows_what_an_update_changes(fixture: F) {
    let pets = pets(&fixture);
    let a = insert(
        &pets,
        Pet {
            owners: vec![1, 2, 2],
            ..pet("a")
        },
    )
    .await;
    let changed = pets.replace(
        &a,
        Pet {
            owners: vec![2, 3],
            kind: "dog".into(),
            ..pet("a")
        },
    );
    changed.await.unwrap().unwrap();
    for (field, value, total) in [
        ("owner_id", "1", 0),
        ("owner_id", "2", 1),
        ("owner_id", "3", 1),
        ("kind", "cat", 0),
        ("kind", "dog", 1),
        ("age", "3", 1),
    ] {
        let found = ask(&pets, Query::all().and(field, Match::Is(value.into()))).await;
        assert_eq!(found.total, total, "{field} {value}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(include_str!("collection.rs"));
    }
}
