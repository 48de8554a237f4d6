//! Keys on several nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_executor::block_on;
use futures_util::future::join_all;
use registry_auth::tokens::{KeyOptions, Keys, Rotation, SealingKey, TokenAuthority, TokenOptions, key_id};
use registry_core::ErrorKind;
use registry_core::runtime::Threads;
use registry_core::store::Kv;
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Counting;

use crate::harness::{Accounts, Node};

const SCOPE: &str = "repository:p/a:pull";

#[test]
fn nodes_that_need_the_first_key_at_once_make_one() {
    let node = Node::new();
    let others: Vec<Node> = (0..8).map(|_| node.another()).collect();
    std::thread::scope(|scope| {
        for other in &others {
            scope.spawn(|| block_on(other.keys.signer()).unwrap());
        }
    });
    assert_eq!(node.stolen().len(), 1);
    let token = others[0].token(SCOPE);
    for other in &others {
        other.check(&token).unwrap();
    }
}

#[test]
fn a_key_that_a_node_has_not_heard_of_is_found_at_once() {
    let (one, two) = (Node::new(), Node::new().another());
    let two = Node::on(
        one.clock.clone(),
        Arc::clone(&one.kv),
        two.accounts,
        KeyOptions::default(),
    );
    // The second has just read that there is none.
    assert!(
        block_on(two.keys.jwks()).unwrap()["keys"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    two.check(&one.token(SCOPE)).unwrap();
}

#[test]
fn a_new_key_signs_when_all_may_know_it_and_an_old_one_verifies_as_long_as_its_tokens_live() {
    let node = Node::new();
    let old = node.token(SCOPE);
    let began = node.clock.now();
    let rotated = block_on(node.keys.rotate(Rotation::Overlapping)).unwrap();
    assert_eq!(rotated.signs_from, began + Duration::from_secs(5));
    assert_eq!(rotated.before[0].0, key_id(&old).unwrap());
    assert_eq!(key_id(&node.token(SCOPE)).unwrap(), key_id(&old).unwrap());
    assert_eq!(
        block_on(node.keys.jwks()).unwrap()["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    node.advance(Duration::from_secs(5));
    let new = node.token(SCOPE);
    assert_eq!(key_id(&new).unwrap(), rotated.key);
    node.check(&old).unwrap();
    node.another().check(&new).unwrap();

    node.advance(rotated.before[0].1.unwrap().since(node.clock.now()));
    assert_eq!(
        block_on(node.keys.jwks()).unwrap()["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(
        block_on(node.keys.verifier(&key_id(&old).unwrap()))
            .unwrap()
            .is_none()
    );
    // The next rotation clears the record.
    block_on(node.keys.rotate(Rotation::Overlapping)).unwrap();
    assert_eq!(node.stolen().len(), 2);
}

#[test]
fn an_immediate_rotation_ends_all_tokens_within_a_second_on_every_node() {
    let (one, two) = (Node::new(), Node::new());
    let two = Node::on(
        one.clock.clone(),
        Arc::clone(&one.kv),
        two.accounts,
        KeyOptions::default(),
    );
    let old = one.token(SCOPE);
    one.check(&old).unwrap();
    two.check(&old).unwrap();
    block_on(one.keys.rotate(Rotation::Immediate)).unwrap();
    let new = one.token(SCOPE);
    two.check(&new).unwrap();
    one.advance(Duration::from_secs(1));
    one.refuses(&old);
    two.refuses(&old);
    two.check(&new).unwrap();
    assert_eq!(one.stolen().len(), 1);
}

#[test]
fn rotations_at_once_are_one_after_the_other() {
    let node = Node::new();
    node.token(SCOPE);
    let others: Vec<Node> = (0..4).map(|_| node.another()).collect();
    std::thread::scope(|scope| {
        for other in &others {
            scope.spawn(|| block_on(other.keys.rotate(Rotation::Overlapping)).unwrap());
        }
    });
    assert_eq!(node.stolen().len(), 5);
    let open = block_on(node.kv.scan("token-key/", None, 10)).unwrap();
    let open = open
        .iter()
        .filter(|(_, entry)| !String::from_utf8_lossy(&entry.value).contains("verify_until"));
    assert_eq!(open.count(), 1);
}

#[test]
fn a_sealed_key_signs_only_where_it_can_be_opened_and_verifies_everywhere() {
    let base = Node::new();
    let sealed = |byte: Option<u8>| KeyOptions {
        sealing: byte.map(|byte| SealingKey::new(&[byte; 32])),
        ..KeyOptions::default()
    };
    let on = |options| {
        Node::on(
            base.clock.clone(),
            Arc::clone(&base.kv),
            Arc::clone(&base.accounts),
            options,
        )
    };
    let (right, same, wrong, without) = (
        on(sealed(Some(1))),
        on(sealed(Some(1))),
        on(sealed(Some(2))),
        on(sealed(None)),
    );
    let token = right.token(SCOPE);
    let records = block_on(base.kv.scan("token-key/", None, 10)).unwrap();
    assert!(!String::from_utf8_lossy(&records[0].1.value).contains("private"));
    same.check(&same.token(SCOPE)).unwrap();
    for node in [&wrong, &without] {
        let error = block_on(node.keys.signer()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(format!("{error:?}").contains("sealed"), "{error:?}");
        node.check(&token).unwrap();
    }
}

#[test]
fn ids_that_no_key_has_cost_no_read_each() {
    let base = Node::new();
    let kv = Arc::new(Counting::new(Arc::new(MemoryKv::with_clock(base.clock.clock()))));
    let keys = Keys::new(kv.clone(), Arc::clone(&base.runtime), KeyOptions::default());
    let reads = || kv.take().reads;
    block_on(async {
        keys.signer().await.unwrap();
        reads();
        // Out of grammar: none at all.
        for id in [
            "",
            "short",
            &"x".repeat(17),
            "AAAAAAAAAAAAAA/A",
            "AAAAAAAAAAAAAAÄ",
        ] {
            assert!(keys.verifier(id).await.unwrap().is_none());
        }
        assert_eq!(reads(), 0);
        // Once known to be nobody's, none.
        for _ in 0..100 {
            assert!(keys.verifier("AAAAAAAAAAAAAAAA").await.unwrap().is_none());
        }
        assert_eq!(reads(), 1);
        // Many different ones at the same time share what is read.
        let ids: Vec<String> = (0..1000).map(|number| format!("{number:016}")).collect();
        let found = join_all(ids.iter().map(|id| keys.verifier(id))).await;
        assert!(found.into_iter().all(|found| found.unwrap().is_none()));
        assert!(reads() <= 2, "{}", reads());
    });
}

/// Two nodes with handles and caches of their own on the same records, while keys are replaced again and again.
#[test]
fn no_request_is_refused_while_keys_are_rotated_under_load() {
    const REQUESTS: u64 = 20_000;
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let accounts = Arc::new(Accounts::default());
    accounts.set_project("p", Some(1));
    let options = || KeyOptions {
        settle: Duration::from_millis(50),
        ..KeyOptions::default()
    };
    let node = || {
        let runtime = Threads::shared();
        let keys = Arc::new(Keys::new(Arc::clone(&kv), Arc::clone(&runtime), options()));
        TokenAuthority::new(keys, accounts.clone(), runtime, TokenOptions::default())
    };
    let nodes = [node(), node()];
    let (asked, refused, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let scope = SCOPE.parse().unwrap();
    let rotations = std::thread::scope(|threads| {
        for worker in 0..4 {
            let (nodes, scope, asked, refused, over) = (&nodes, &scope, &asked, &refused, &over);
            threads.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let token = block_on(nodes[worker % 2].issue(None, scope)).unwrap().token;
                    for request in 0..8 {
                        if block_on(nodes[(worker + request) % 2].check(&token)).is_err() {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let mut rotations = 0;
        while asked.load(Ordering::SeqCst) < REQUESTS || rotations < 20 {
            let rotated = block_on(nodes[rotations % 2].keys().rotate(Rotation::Overlapping)).unwrap();
            rotations += 1;
            // Until the new key signs.
            while key_id(&block_on(nodes[0].issue(None, &scope)).unwrap().token).unwrap() != rotated.key {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::SeqCst);
        rotations
    });
    let asked = asked.into_inner();
    println!("{asked} requests, {rotations} rotations");
    assert_eq!(
        refused.into_inner(),
        0,
        "of {asked} requests in {rotations} rotations"
    );
}
