//! Begins to write what the system holds of a file.
#![allow(unsafe_code, reason = "no library has the call")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// Has the system begin to write these bytes of the file, and waits for none of them. What a file system does not know how to do is left
/// to the sync that follows.
///
/// # Errors
/// If the bytes cannot be written. The sync need not be told so again (sync_file_range(2)).
pub(super) fn begin(file: &File, part: Range<u64>) -> io::Result<()> {
    let (Ok(from), Ok(length)) = (i64::try_from(part.start), i64::try_from(part.end - part.start)) else {
        return Ok(());
    };
    // SAFETY: the descriptor is open for as long as the file is borrowed, and the call reads and writes no memory of this process.
    let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    match begun {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if is_unknown(&error) => Ok(()),
            error => Err(error),
        },
    }
}

fn is_unknown(error: &io::Error) -> bool {
    let means = [Errno::NOSYS, Errno::INVAL, Errno::SPIPE, Errno::OPNOTSUPP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|told| means.contains(&told))
}
