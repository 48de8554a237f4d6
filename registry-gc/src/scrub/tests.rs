use std::io;

use registry_core::Digest;
use registry_core::store::Damage;
use rustix::io::Errno;

use super::read::{Verdict, is_of_this_process};

fn verdict(errno: Errno) -> Verdict {
    Verdict::of(
        Err(io::Error::from_raw_os_error(errno.raw_os_error())),
        &Digest::sha256(b"any"),
    )
}

#[test]
fn only_an_error_of_the_medium_is_damage_and_what_a_process_lacks_is_nothing_of_the_blob() {
    for lacking in [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::AGAIN,
    ] {
        let verdict = verdict(lacking);
        assert!(
            matches!(verdict, Verdict::Failed(why) if is_of_this_process(&why)),
            "{lacking}"
        );
    }
    for medium in [Errno::IO, Errno::BADMSG] {
        let verdict = verdict(medium);
        assert!(matches!(verdict, Verdict::Bad(Damage::Unreadable(_))), "{medium}");
    }
    for other in [Errno::ACCESS, Errno::STALE, Errno::NXIO] {
        let verdict = verdict(other);
        assert!(
            matches!(verdict, Verdict::Failed(why) if !is_of_this_process(&why)),
            "{other}"
        );
    }
}
