//! What the scrub keeps in the records.

use std::sync::Arc;

use registry_core::runtime::Threads;
use registry_core::store::{
    Damage, FINDINGS_KEPT, Kv, Lifetimes, NeededBy, Scrub, ScrubCount, ScrubCursor, ScrubFinding, ScrubPlace,
    Txn,
};
use registry_core::{Digest, Timestamp};
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

fn records() -> (Arc<MemoryKv>, Records) {
    let kv = Arc::new(MemoryKv::new());
    (
        kv.clone(),
        Records::new(kv, Threads::shared(), Lifetimes::default()),
    )
}

fn cursor(holder: &str, place: ScrubPlace) -> ScrubCursor {
    ScrubCursor {
        began: Timestamp(1),
        place,
        finished: None,
        holder: holder.into(),
        held_until: Timestamp(2),
        done: ScrubCount::default(),
    }
}

fn finding(number: u64) -> ScrubFinding {
    ScrubFinding {
        at: Timestamp(number),
        digest: Digest::sha256(&number.to_le_bytes()),
        location: None,
        damage: Damage::Unreadable("a bad sector".into()),
        suspect: true,
        needed_by: vec![NeededBy {
            repository: "some/repository".parse().unwrap(),
            manifest: Digest::sha256(b"manifest"),
            trashed: false,
        }],
        unlisted: None,
    }
}

#[test]
fn of_two_nodes_that_read_one_cursor_one_moves_it() {
    block_on(async {
        let (_, records) = records();
        assert_eq!(records.cursor().await.unwrap(), None);
        let (mine, other) = (
            cursor("me", ScrubPlace::Blobs(None)),
            cursor("other", ScrubPlace::End),
        );
        let stamp = records
            .save_cursor(&mine, None)
            .await
            .unwrap()
            .expect("nobody was faster");
        assert_eq!(records.save_cursor(&other, None).await.unwrap(), None);
        assert_eq!(records.cursor().await.unwrap(), Some((mine, stamp)));
        let place = ScrubPlace::Blobs(Some(Digest::sha256(b"here")));
        let further = cursor("other", place);
        let moved = records
            .save_cursor(&further, Some(stamp))
            .await
            .unwrap()
            .expect("nobody was faster");
        assert_eq!(records.save_cursor(&other, Some(stamp)).await.unwrap(), None);
        assert_eq!(records.cursor().await.unwrap(), Some((further, moved)));
    });
}

#[test]
fn the_last_findings_are_kept_in_the_order_in_which_they_were_made() {
    block_on(async {
        let (_, records) = records();
        let all = FINDINGS_KEPT as u64 + 5;
        for number in 0..all {
            records.add_finding(&finding(number)).await.unwrap();
        }
        let expected: Vec<_> = (5..all).map(finding).collect();
        assert_eq!(records.findings().await.unwrap(), expected);
    });
}

#[test]
fn a_record_that_is_no_blobs_is_stepped_over() {
    block_on(async {
        let (kv, records) = records();
        let digest = Digest::sha256(b"blob");
        kv.commit(
            Txn::new()
                .put("blob/no-digest", &b"{}"[..])
                .put("blob/also-none", &b"{}"[..])
                .put(
                    format!("blob/{digest}"),
                    &br#"{"v":1,"size":4,"location":"inline","state":"live"}"#[..],
                ),
        )
        .await
        .unwrap();
        for limit in [1, 2, 10] {
            let page = records.blobs(None, limit).await.unwrap();
            assert_eq!(page.items.len(), 1);
            assert_eq!(page.items[0].info.digest, digest);
        }
    });
}

#[test]
fn a_place_among_manifests_from_before_the_trash_was_read_is_still_one() {
    block_on(async {
        let (kv, records) = records();
        let ids = ["0".repeat(32), "1".repeat(32)];
        let digest = Digest::sha256(b"manifest");
        let mut txn = Txn::new();
        for id in &ids {
            txn = txn
                .put(format!("named/{id}"), format!(r#"{{"v":1,"name":"r{id}"}}"#))
                .put(format!("manifest/{id}/{digest}"), &b"{}"[..])
                .put(format!("trash/{id}/{digest}"), &b"{}"[..]);
        }
        kv.commit(txn).await.unwrap();
        for place in [
            format!("{}/{digest}", ids[0]),
            format!("manifest/{}/{digest}", ids[0]),
        ] {
            let mut read = Vec::new();
            let mut after = place;
            loop {
                let page = records.manifests(Some(&after), 2).await.unwrap();
                let Some(last) = page.items.last() else { break };
                after = last.position.clone();
                read.extend(
                    page.items
                        .iter()
                        .map(|manifest| (manifest.trashed, manifest.repository.to_string())),
                );
            }
            let name = |id: &String| format!("r{id}");
            let expected = [
                (false, name(&ids[1])),
                (true, name(&ids[0])),
                (true, name(&ids[1])),
            ];
            assert_eq!(read, expected);
        }
    });
}

#[test]
fn a_finding_that_cannot_be_read_hides_no_other() {
    block_on(async {
        let (kv, records) = records();
        records.add_finding(&finding(1)).await.unwrap();
        kv.commit(Txn::new().put("scrub/found/0", &b"nonsense"[..]))
            .await
            .unwrap();
        assert_eq!(records.findings().await.unwrap(), [finding(1)]);
    });
}
