//! What the store keeps about its last commit: its stamp, and the clock at it.

use registry_core::store::{Kv, Txn};
use registry_storage::kv::{EmbeddedKv, OpenError};
use registry_storage::testkit::block_on;

const KEY: &[u8] = b"\x00last";

#[test]
fn a_store_that_cannot_tell_its_last_commit_is_refused_rather_than_opened_with_another_clock() {
    let directory = tempfile::tempdir().unwrap();
    let open = || EmbeddedKv::open(directory.path(), Default::default());
    let stamp = block_on(open().unwrap().commit(Txn::new().put("k", "1"))).unwrap();
    let path = directory.path().join("data.mdb");
    let whole = std::fs::read(&path).unwrap();
    // The stamp, the time, and the checksum.
    for at in [0, 7, 8, 10, 15, 16, 19] {
        let mut content = whole.clone();
        for start in 0..content.len() - KEY.len() {
            if content[start..].starts_with(KEY) {
                content[start + KEY.len() + at] ^= 4;
            }
        }
        assert_ne!(content, whole);
        std::fs::write(&path, &content).unwrap();
        let refused = open().unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{at}: {refused:?}");
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains("last"), "{cause}");
    }
    std::fs::write(&path, &whole).unwrap();
    let next = block_on(open().unwrap().commit(Txn::new().put("k", "2"))).unwrap();
    assert!(next > stamp);
}
