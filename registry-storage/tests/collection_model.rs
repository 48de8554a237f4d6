//! Random writes and queries on a collection, with a plain list as the model of what they mean.

use std::sync::Arc;

use proptest::prelude::*;
use registry_core::store::collection::{Collection, CollectionError, Match, Query, Row};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::block_on;
use registry_storage::testkit::collection::{Pet, pet};

#[derive(Clone, Debug)]
enum Step {
    Insert(Pet),
    Change(usize, Pet),
    Delete(usize),
    Ask(Query),
}

fn a_pet() -> impl Strategy<Value = Pet> {
    (
        "[abA!\"/]{1,2}",
        "[cd]{0,1}",
        -2..3_i64,
        any::<bool>(),
        prop::collection::vec(0..3_i64, 0..3),
    )
        .prop_map(|(name, kind, age, tame, owners)| Pet {
            kind,
            age,
            tame,
            owners,
            ..pet(&name)
        })
}

fn condition() -> impl Strategy<Value = (&'static str, Match)> {
    let number = || (-2..3_i64).prop_map(|number| number.to_string());
    let end = move || prop::option::of(number());
    prop_oneof![
        "[abA!]{1,2}".prop_map(|text| ("name", Match::Is(text))),
        "[abA!]".prop_map(|text| ("name", Match::Like(text))),
        "[cd]{0,1}".prop_map(|text| ("kind", Match::Is(text))),
        number().prop_map(|text| ("age", Match::Is(text))),
        (end(), end()).prop_map(|(min, max)| ("age", Match::Range(min, max))),
        prop::collection::vec(number(), 0..3).prop_map(|texts| ("owner_id", Match::Any(texts))),
        prop::collection::vec(number(), 0..3).prop_map(|texts| ("owner_id", Match::All(texts))),
        any::<bool>().prop_map(|tame| ("tame", Match::Is(tame.to_string()))),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let field = prop::sample::select(vec!["id", "name", "kind", "age", "tame"]);
    let sort = prop::collection::vec((field, any::<bool>()), 0..3);
    (
        prop::collection::vec(condition(), 0..3),
        sort,
        0..4_usize,
        0..6_usize,
    )
        .prop_map(|(conditions, sort, offset, limit)| {
            let query = conditions
                .into_iter()
                .fold(Query::all(), |query, (field, test)| query.and(field, test));
            let query = sort
                .into_iter()
                .fold(query, |query, (field, descending)| query.by(field, descending));
            query.page(offset, limit)
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => a_pet().prop_map(Step::Insert),
        2 => (any::<usize>(), a_pet()).prop_map(|(which, pet)| Step::Change(which, pet)),
        1 => any::<usize>().prop_map(Step::Delete),
        4 => query().prop_map(Step::Ask),
    ]
}

/// What a query means, said as plainly as can be.
fn expected<'m>(model: &'m [(u64, Pet)], query: &Query) -> (Vec<&'m (u64, Pet)>, u64) {
    let number = |text: &String| text.parse::<i64>().unwrap();
    let holds = |pet: &Pet, field: &str, test: &Match| match (field, test) {
        ("name", Match::Is(text)) => pet.name == *text,
        ("name", Match::Like(text)) => pet.name.to_lowercase().contains(&text.to_lowercase()),
        ("kind", Match::Is(text)) => pet.kind == *text,
        ("age", Match::Is(text)) => pet.age == number(text),
        ("age", Match::Range(min, max)) => {
            min.as_ref().is_none_or(|min| pet.age >= number(min))
                && max.as_ref().is_none_or(|max| pet.age <= number(max))
        }
        ("owner_id", Match::Any(texts)) => texts.iter().any(|text| pet.owners.contains(&number(text))),
        ("owner_id", Match::All(texts)) => texts.iter().all(|text| pet.owners.contains(&number(text))),
        ("tame", Match::Is(text)) => pet.tame.to_string() == *text,
        other => panic!("{other:?}"),
    };
    let mut rows: Vec<_> = model
        .iter()
        .filter(|(_, pet)| query.filter.0.iter().all(|it| holds(pet, &it.field, &it.test)))
        .collect();
    rows.sort_by(|(a_id, a), (b_id, b)| {
        let mut order = std::cmp::Ordering::Equal;
        for sort in &query.sort {
            let by = match sort.field.as_str() {
                "id" => a_id.cmp(b_id),
                "name" => a.name.cmp(&b.name),
                "kind" => a.kind.cmp(&b.kind),
                "age" => a.age.cmp(&b.age),
                "tame" => a.tame.cmp(&b.tame),
                other => panic!("{other}"),
            };
            order = order.then(if sort.descending { by.reverse() } else { by });
        }
        let by_id = a_id.cmp(b_id);
        let descends = query.sort.first().is_some_and(|sort| sort.descending);
        order.then(if descends { by_id.reverse() } else { by_id })
    });
    let total = rows.len() as u64;
    let page = rows.into_iter().skip(query.offset).take(query.limit);
    (page.collect(), total)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_collection_is_a_list_with_unique_names(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async {
            let pets: Collection<Pet> = Collection::new(Arc::new(MemoryKv::new()));
            let mut model: Vec<(u64, Pet)> = Vec::new();
            let mut next = 1;
            for step in steps {
                match step {
                    Step::Insert(pet) => {
                        let taken = model.iter().any(|(_, known)| known.name == pet.name);
                        match pets.insert(&pet).await {
                            Ok(row) => {
                                assert!(!taken);
                                assert_eq!(row.id, next);
                                model.push((next, pet));
                                next += 1;
                            }
                            Err(CollectionError::Taken { .. }) => assert!(taken),
                            Err(other) => panic!("{other}"),
                        }
                    }
                    Step::Change(which, pet) if !model.is_empty() => {
                        let at = which % model.len();
                        let id = model[at].0;
                        let taken = model.iter().any(|(other, known)| *other != id && known.name == pet.name);
                        let changed = pets.update(id, |old| {
                            *old = pet.clone();
                            Ok::<_, CollectionError>(())
                        });
                        match changed.await {
                            Ok(_) => {
                                assert!(!taken);
                                model[at].1 = pet;
                            }
                            Err(CollectionError::Taken { .. }) => assert!(taken),
                            Err(other) => panic!("{other}"),
                        }
                    }
                    Step::Delete(which) if !model.is_empty() => {
                        let (id, pet) = model.remove(which % model.len());
                        assert_eq!(pets.delete(id).await.unwrap().unwrap().value, pet);
                    }
                    Step::Ask(query) => {
                        let found = pets.query(&query).await.unwrap();
                        let (page, total) = expected(&model, &query);
                        let told: Vec<(u64, Pet)> =
                            found.rows.into_iter().map(|Row { id, value, .. }| (id, value)).collect();
                        let page: Vec<(u64, Pet)> = page.into_iter().cloned().collect();
                        assert_eq!((told, found.total), (page, total), "{query:?}");
                    }
                    _ => {}
                }
            }
        });
    }
}
