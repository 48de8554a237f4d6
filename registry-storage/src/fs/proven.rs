//! What a file that was there is known to hold.

use std::io;
use std::ops::Range;

use registry_core::Hasher;

use super::disk::{DiskFile, FileInfo};
use super::mark::{Mark, Point};

/// How much is read at once to hash what is there already.
const REREAD: usize = 256 << 10;

/// What is known of a file that was there.
pub(super) struct Proven {
    /// So many of its bytes are those that were sent.
    pub(super) length: u64,
    /// Of these bytes; `None` if there is no mark, or none is kept.
    pub(super) hasher: Option<Hasher>,
    /// They are all there will be.
    pub(super) sealed: bool,
    /// Whether the file system keeps marks.
    pub(super) marks: bool,
}

impl Proven {
    /// Reads as much of a file as its mark speaks of.
    pub(super) fn of(file: &dyn DiskFile, info: FileInfo) -> io::Result<Proven> {
        let mut proven = Proven {
            length: 0,
            hasher: None,
            sealed: false,
            marks: true,
        };
        let mark = match file.mark() {
            Ok(mark) => mark.as_deref().and_then(Mark::decode),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(Proven {
                    length: info.length,
                    sealed: is_sealed(info),
                    marks: false,
                    ..proven
                });
            }
            Err(error) => return Err(error),
        };
        let Some(mark) = mark else {
            // Nothing of it was ever acknowledged.
            return Ok(proven);
        };
        let (mut hasher, mut read) = (Hasher::new(mark.algorithm), 0);
        for point in [mark.acknowledged, mark.latest] {
            if !(read..=info.length).contains(&point.length) {
                continue;
            }
            read_into(&mut hasher, file, read..point.length)?;
            read = point.length;
            if Point::of(&hasher, read) == point {
                proven.length = read;
                proven.hasher = Some(hasher.clone());
                proven.sealed = is_sealed(info) && mark.whole && point == mark.latest && read == info.length;
            }
        }
        Ok(proven)
    }
}

/// Whether nobody may write a file any more.
pub(super) fn is_sealed(info: FileInfo) -> bool {
    info.mode & 0o222 == 0
}

/// Hashes a part of a file.
pub(super) fn read_into(hasher: &mut Hasher, file: &dyn DiskFile, part: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; REREAD.min((part.end - part.start) as usize)];
    let mut at = part.start;
    while at < part.end {
        let wanted = buffer.len().min((part.end - at) as usize);
        match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
