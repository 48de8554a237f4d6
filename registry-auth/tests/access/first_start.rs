//! The first administrator: nobody has a password that is the same everywhere (CVE-2026-4404).

use std::sync::Arc;

use futures_executor::block_on;
use registry_auth::secret::Secret;
use registry_auth::{ADMIN, AccountError, Argon2id, Directory, Settings, Tenants, initial_password};
use registry_core::runtime::Threads;
use registry_storage::memory::MemoryKv;

fn fresh() -> Tenants {
    let records = Arc::new(MemoryKv::new());
    let hashing = Arc::new(Argon2id::cheap());
    Tenants::open(records, Threads::shared(), hashing, Settings::default()).unwrap()
}

fn logs_in(tenants: &Tenants, secret: &str) -> bool {
    block_on(tenants.accounts.verify(ADMIN, secret))
        .unwrap()
        .is_some()
}

#[test]
fn without_a_password_a_random_one_is_drawn_and_told_once() {
    let (a, b) = (fresh(), fresh());
    let start = |tenants: &Tenants| block_on(tenants.accounts.first_start(None)).unwrap();
    let (of_a, of_b) = (start(&a).unwrap(), start(&b).unwrap());
    assert_ne!(of_a, of_b);
    assert!(logs_in(&a, of_a.reveal()) && logs_in(&b, of_b.reveal()));
    for guess in ["Harbor12345", "admin", "", of_b.reveal()] {
        assert!(!logs_in(&a, guess), "{guess:?}");
    }
    assert_eq!(start(&a), None, "a second start tells nothing");
    assert!(logs_in(&a, of_a.reveal()), "and changes nothing");
    assert!(!format!("{of_a:?} {a:?}").contains(of_a.reveal()));
}

#[test]
fn before_the_first_start_nobody_logs_in() {
    let tenants = fresh();
    for guess in ["", "admin", "Harbor12345"] {
        assert!(!logs_in(&tenants, guess));
    }
}

#[test]
fn a_given_password_must_be_acceptable() {
    let tenants = fresh();
    let refused = block_on(tenants.accounts.first_start(Some(Secret::new("admin"))));
    assert!(matches!(refused, Err(AccountError::Invalid(_))));
    let given = block_on(tenants.accounts.first_start(Some(Secret::new("Correct1Horse")))).unwrap();
    assert_eq!(given, None);
    assert!(logs_in(&tenants, "Correct1Horse"));
}

#[test]
fn a_file_tells_the_password_without_the_end_of_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Correct1 Horse\n").unwrap();
    let told = initial_password(Some(file.path())).unwrap().unwrap();
    assert_eq!(told.reveal(), "Correct1 Horse");
    assert!(initial_password(Some(std::path::Path::new("/no/such/file"))).is_err());
    assert_eq!(initial_password(None).unwrap(), None);
}

#[test]
fn the_first_administrator_stays_one() {
    let tenants = fresh();
    block_on(tenants.accounts.first_start(None)).unwrap();
    let accounts = &tenants.accounts;
    for refused in [
        block_on(accounts.set_admin(1, false)),
        block_on(accounts.set_enabled(1, false)),
        block_on(accounts.delete_user(1)),
    ] {
        assert!(matches!(refused, Err(AccountError::Forbidden(_))), "{refused:?}");
    }
}
