//! A disk that does not take what sled writes: everybody is told, nobody waits for ever.
#![allow(
    unsafe_code,
    reason = "a function of the C library is replaced in this process, which is how sled is told of a failing disk"
)]

use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use registry_core::store::{Kv, KvError, Txn};
use registry_storage::kv::{EmbeddedKv, EngineKind, OpenError, Options};
use registry_storage::testkit::block_on;

static FAILING: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// The message that begins a batch is shorter; that is the one whose failure sled tells nobody.
const SHORT: i64 = 200;

const EIO: c_int = 5;

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// In the place of the C library's.
// SAFETY: it has the same arguments and result, and touches nothing but this thread's error number.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(_file: c_int, _offset: i64, length: i64, _flags: c_uint) -> c_int {
    if !FAILING.load(Ordering::SeqCst) || length >= SHORT {
        return 0;
    }
    // Long enough for the commit to have begun to wait, which is when the failure would be lost on it. Nothing here
    // depends on that: a commit that has not may only find the error by itself.
    std::thread::sleep(Duration::from_millis(300));
    FAILED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the C library gives a pointer to this thread's own number.
    unsafe { *__errno_location() = EIO };
    -1
}

fn open(directory: &std::path::Path) -> Result<EmbeddedKv, OpenError> {
    let options = Options {
        engine: EngineKind::Sled,
        ..Options::default()
    };
    EmbeddedKv::open(directory, options)
}

#[test]
fn a_write_of_sled_that_fails_is_an_error_and_readers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let kv = Arc::new(open(directory.path()).unwrap());
    block_on(kv.commit(Txn::new().put("k", vec![1; 4000]))).unwrap();
    FAILING.store(true, Ordering::SeqCst);
    let (send, done) = mpsc::channel();
    let user = std::thread::spawn({
        let kv = kv.clone();
        move || {
            let outcome = block_on(kv.commit(Txn::new().put("k", vec![2; 4000])));
            let read = block_on(kv.get("k"));
            let again = block_on(kv.commit(Txn::new().put("k", vec![3; 4000])));
            send.send((outcome, read, again)).unwrap();
        }
    });
    let Ok((outcome, read, again)) = done.recv_timeout(Duration::from_secs(60)) else {
        // What waits for ever would be waited for when it is dropped.
        std::mem::forget((kv, directory));
        panic!("a commit waits for ever, and every reader with it");
    };
    user.join().unwrap();
    assert_eq!(FAILED.load(Ordering::SeqCst), 1, "sled tries no other write");
    assert!(matches!(outcome, Err(KvError::OutcomeUnknown(_))), "{outcome:?}");
    assert_eq!(read.unwrap().unwrap().value, vec![1; 4000]);
    assert!(matches!(again, Err(KvError::Failed(_))), "{again:?}");
    FAILING.store(false, Ordering::SeqCst);

    drop(kv);
    let kv = open(directory.path()).unwrap();
    let found = block_on(kv.get("k")).unwrap().unwrap().value;
    assert!(found == vec![1; 4000] || found == vec![2; 4000]);
    block_on(kv.commit(Txn::new().put("k", "goes on"))).unwrap();
}
