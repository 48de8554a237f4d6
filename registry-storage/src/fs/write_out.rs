//! Begins to write what the system holds of a file.
#![allow(unsafe_code, reason = "no library has the call")]

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Has the system begin to write these bytes of the file, and waits for nothing. What cannot be written is told by the sync that
/// must follow: a call that does not wait for writes does not take their errors either (sync_file_range(2)).
pub(super) fn begin(file: &File, part: Range<u64>) {
    let (Ok(from), Ok(length)) = (i64::try_from(part.start), i64::try_from(part.end - part.start)) else {
        return;
    };
    // SAFETY: the descriptor is open for as long as the file is borrowed, and the call reads and writes no memory of this process.
    let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    if begun != 0 {
        tracing::trace!(error = %std::io::Error::last_os_error(), "writing to the disk is left to the sync");
    }
}
