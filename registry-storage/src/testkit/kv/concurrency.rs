//! Many at once.

use super::*;

/// However many try at once to be first.
pub async fn of_64_concurrent_absent_writers_exactly_one_wins(f: F) {
    for round in 0..4 {
        let key = format!("tag/{round}");
        let outcomes = at_once((0..64).map(|i| {
            let (store, key) = (f.store.clone(), key.clone());
            async move {
                (
                    i,
                    store
                        .commit(Txn::new().absent(&key).put(&key, i.to_string()))
                        .await,
                )
            }
        }))
        .await;
        let mut winners = Vec::new();
        for (i, outcome) in outcomes {
            match outcome {
                Ok(stamp) => winners.push((i, stamp)),
                lost => assert_conflict(lost, &Precondition::Absent(key.clone())),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let entry = f.store.get(&key).await.unwrap().unwrap();
        assert_eq!(
            (entry.value, entry.stamp),
            (winners[0].0.to_string().into(), winners[0].1)
        );
    }
}

/// Transactions that are made durable together still see each other in order: no update is lost, and ranges too
/// are seen as the earlier ones left them.
pub async fn a_later_txn_of_the_same_group_sees_the_earlier(f: F) {
    let counters = (0..32).map(|_| {
        let store = f.store.clone();
        async move {
            loop {
                let read = store.get("counter").await.unwrap();
                let count = read.as_ref().map_or(0, |entry| {
                    std::str::from_utf8(&entry.value).unwrap().parse::<u32>().unwrap()
                });
                let txn = Txn::new()
                    .unchanged("counter", read.as_ref())
                    .put("counter", format!("{}", count + 1));
                match store.commit(txn).await {
                    Ok(_) => break,
                    Err(KvError::Conflict(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    });
    at_once(counters).await;
    assert_eq!(value(&*f.store, "counter").await.as_deref(), Some("32"));

    let ranges = (0..32).map(|i| {
        let store = f.store.clone();
        async move {
            store
                .commit(Txn::new().nothing_under("edge/").put(format!("edge/{i}"), ""))
                .await
                .is_ok()
        }
    });
    let winners = at_once(ranges).await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
    assert_eq!(keys(&*f.store, "edge/").await.len(), 1);
}

/// Every commit that succeeded did so in a state that the earlier ones, in the order of stamps, had made.
pub async fn concurrent_commits_are_as_if_one_after_another_in_the_order_of_stamps(f: F) {
    let tasks = (0..16_u32).map(|i| {
        let store = f.store.clone();
        async move {
            let mut done = Vec::new();
            let mut random = i.wrapping_mul(2_654_435_761) | 1;
            for step in 0..30 {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                let (read, other) = (format!("k{}", random % 5), format!("k{}", random / 5 % 5));
                let seen = store.get(&read).await.unwrap().map(|entry| entry.stamp);
                let mut txn = match seen {
                    Some(stamp) => Txn::new().at(&read, stamp),
                    None => Txn::new().absent(&read),
                };
                let put = random / 25 % 3 > 0;
                txn = if put {
                    txn.put(&other, format!("{i}.{step}"))
                } else {
                    txn.delete(&other)
                };
                if let Ok(stamp) = store.commit(txn).await {
                    done.push((stamp, read, seen, other, put.then(|| format!("{i}.{step}"))));
                }
            }
            done
        }
    });
    let mut done: Vec<_> = at_once(tasks).await.into_iter().flatten().collect();
    done.sort();
    assert!(
        done.len() > 30,
        "too few succeeded to say anything: {}",
        done.len()
    );
    let mut model: BTreeMap<String, (Stamp, String)> = BTreeMap::new();
    for (stamp, read, seen, other, put) in done {
        assert_eq!(
            model.get(&read).map(|(at, _)| *at),
            seen,
            "what {stamp:?} asserted of {read}"
        );
        match put {
            Some(value) => model.insert(other, (stamp, value)),
            None => model.remove(&other),
        };
    }
    let page = f.store.scan("", None, 100).await.unwrap();
    let found: Vec<_> = page
        .into_iter()
        .map(|(key, entry)| {
            (
                key,
                (entry.stamp, String::from_utf8(entry.value.to_vec()).unwrap()),
            )
        })
        .collect();
    assert_eq!(found, model.into_iter().collect::<Vec<_>>());
}

/// A transaction that conflicts, or is refused, takes nobody down with it.
pub async fn a_conflict_does_not_disturb_its_neighbours(f: F) {
    put(&*f.store, "taken", "").await;
    let outcomes = at_once((0..48).map(|i| {
        let store = f.store.clone();
        let txn = match i % 3 {
            0 => Txn::new().put(format!("ok/{i:02}"), ""),
            1 => Txn::new().put(format!("bad/{i}"), "").absent("taken"),
            _ => Txn::new()
                .put(format!("bad/{i}"), "")
                .put("x".repeat(2 * KEY_MAX), ""),
        };
        async move { (i, store.commit(txn).await.is_ok()) }
    }))
    .await;
    assert!(outcomes.iter().all(|(i, ok)| *ok == (i % 3 == 0)), "{outcomes:?}");
    assert_eq!(keys(&*f.store, "ok/").await.len(), 16);
    assert_eq!(keys(&*f.store, "bad/").await, Vec::<String>::new());
}

/// Nobody sees a half of a transaction.
pub async fn a_scan_sees_all_writes_of_a_txn_or_none(f: F) {
    let writer = {
        let store = f.store.clone();
        tokio::spawn(async move {
            for i in 0..60 {
                let value = i.to_string();
                store
                    .commit(Txn::new().put("pair/a", value.clone()).put("pair/b", value))
                    .await
                    .unwrap();
            }
        })
    };
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let page = f.store.scan("pair/", None, 10).await.unwrap();
        assert!(
            page.is_empty() || page.len() == 2 && page[0].1 == page[1].1,
            "{page:?}"
        );
        looks += usize::from(!page.is_empty());
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// A caller that goes away leaves a transaction that happened, or none, never a half.
pub async fn a_commit_whose_caller_left_happens_whole_or_not_at_all(f: F) {
    for i in 0..16 {
        let txn = Txn::new()
            .put(format!("gone/{i}/a"), "")
            .put(format!("gone/{i}/b"), "");
        let mut commit = f.store.commit(txn);
        let polled = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(outcome) = polled {
            outcome.unwrap();
        }
        drop(commit);
    }
    put(&*f.store, "after", "").await;
    for i in 0..16 {
        let halves = keys(&*f.store, &format!("gone/{i}/")).await.len();
        assert!(halves == 0 || halves == 2, "{halves} of 2");
    }
}
