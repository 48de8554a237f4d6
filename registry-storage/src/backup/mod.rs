//! Backups: all records as they are at one moment, and the blobs that they name.
//!
//! Blobs never change once they are published, so they are copied after the records were dumped, and what is there
//! from an earlier backup is not copied again. All it takes is that nothing is unlinked meanwhile.
//!
//! A backup is a directory:
//!
//! | file | what |
//! |---|---|
//! | `backup.json` | a [`Description`], written last: it names the dump that counts |
//! | `records-….dump` | a [dump] of the records, named after its checksum |
//! | `blobs/xx/…` | blobs, under the names that they have in the store |

mod copy;
pub mod dump;
mod restore;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use registry_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

pub use dump::{DumpError, DumpReader, DumpWriter, Dumped};
pub use restore::{Restoring, Source};

use crate::fs::lock;
use crate::kv::{self, OpenError};
use crate::records::snapshot::{NamedBlob, named_blob};

/// The file that describes a backup.
const DESCRIPTION: &str = "backup.json";
/// The version of a backup's layout.
const FORMAT: u32 = 1;
/// In a directory that a restore has begun to fill, and has not finished: nothing else opens it.
pub const UNFINISHED: &str = "RESTORING";

/// What `backup.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The version of the backup's layout.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was finished, in milliseconds since the Unix epoch.
    pub created: Timestamp,
    /// The records.
    pub records: RecordsPart,
    /// The blobs outside the records; none in a backup of the records alone.
    pub blobs: Option<Tally>,
    /// Blobs that are not in it, because their bytes were missing or wrong when it was made.
    pub damaged: u64,
}

/// The dump of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsPart {
    /// Its file.
    pub file: String,
    /// The format of the records.
    pub format: u32,
    /// Entries in it.
    pub entries: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 with which it ends, of all before.
    pub digest: Digest,
}

/// How many blobs, and how many bytes they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// How far copying is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Blobs that were copied.
    pub copied: Tally,
    /// Blobs that were there already, with the right size.
    pub kept: Tally,
    /// Blobs that could not be copied, because their bytes were missing or wrong.
    pub damaged: u64,
}

/// What is told while a backup is made or restored.
#[derive(Debug)]
pub enum Told<'a> {
    /// The records are safe.
    Records(&'a Dumped),
    /// Blobs are being copied; often.
    Copying(&'a Copied),
    /// A blob could not be copied, in plain words.
    Damaged(&'a str),
}

/// Who is told.
pub type Tell<'a> = &'a mut dyn FnMut(Told<'_>);

/// Why there is no backup, or nothing restored from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused.
    #[error("{path} cannot be used")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The records could not be dumped or loaded.
    #[error("{path} cannot be used")]
    Dump {
        /// The dump.
        path: PathBuf,
        /// Why.
        #[source]
        source: DumpError,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another backup is being written there.
    #[error("{0} is in use by another backup")]
    InUse(PathBuf),
    /// Blobs may have gone while they were copied.
    #[error(
        "the server let go of its blobs before all were copied; what was copied is kept, so run it again"
    )]
    Released(#[source] io::Error),
    /// There is no whole backup.
    #[error("{path} is no whole backup: {why}")]
    NotABackup {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A restore goes into nothing.
    #[error("{0} is not empty; a restore needs a directory that holds nothing, or that is not there")]
    NotEmpty(PathBuf),
    /// A backup of the records alone.
    #[error("{0} has records and no blobs; say where the blobs are")]
    NoBlobs(PathBuf),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

fn undumped(path: &Path) -> impl FnOnce(DumpError) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Dump { path, source }
}

/// What a backup has come to.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it says of itself.
    pub description: Description,
    /// What was done for its blobs.
    pub blobs: Copied,
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory)
        .and_then(|entries| entries.sync_all())
        .map_err(failed(directory))
}

/// Writes to `out` whatever is read.
struct Tee<R, W> {
    input: R,
    out: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.out.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Writes a backup into the directory `to`, which is created if it is not there: the records from the stream `dump`,
/// and the blobs that they name from the directory `blobs`; without it, the records alone. Nothing there may be
/// unlinked meanwhile: `still_held` is asked at the end whether that was so. A backup that is there already counts until
/// the new one is whole. Blocks.
///
/// # Errors
/// [`BackupError`]. A blob that is damaged is told and left out, and no error.
pub fn write(
    to: &Path,
    dump: impl Read,
    blobs: Option<&Path>,
    still_held: impl FnOnce() -> io::Result<()>,
    tell: Tell<'_>,
) -> Result<Written, BackupError> {
    let mut directory = fs::DirBuilder::new();
    directory
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(failed(to))?;
    let held = lock(to).map_err(failed(to))?;
    let Some(_held) = held else {
        return Err(BackupError::InUse(to.to_owned()));
    };
    let records = receive(to, dump)?;
    let path = to.join(&records.file);
    tell(Told::Records(&Dumped {
        entries: records.entries,
        bytes: records.bytes,
        digest: records.digest,
    }));
    let copied = match blobs {
        Some(from) => copy::all(&path, from, &to.join("blobs"), tell)?,
        None => Copied::default(),
    };
    still_held().map_err(BackupError::Released)?;
    let description = Description {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created: Timestamp::system(),
        records,
        blobs: blobs.map(|_| Tally {
            count: copied.copied.count + copied.kept.count,
            bytes: copied.copied.bytes + copied.kept.bytes,
        }),
        damaged: copied.damaged,
    };
    describe(to, &description)?;
    forget_older(to, &description.records.file);
    Ok(Written {
        description,
        blobs: copied,
    })
}

/// Reads a dump to its end into a file that is named after its checksum, and makes it durable.
fn receive(to: &Path, dump: impl Read) -> Result<RecordsPart, BackupError> {
    let part = to.join("records.part");
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(failed(&part))?;
    let mut tee = Tee {
        input: BufReader::with_capacity(1 << 20, dump),
        out: BufWriter::with_capacity(1 << 20, file),
    };
    let mut reader = DumpReader::begin(&mut tee).map_err(undumped(&part))?;
    let format = reader.format();
    while reader.next().map_err(undumped(&part))?.is_some() {}
    let dumped = reader.read();
    tee.out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(failed(&part))?;
    let file = format!("records-{}.dump", &dumped.digest.hex()[..16]);
    fs::rename(&part, to.join(&file)).map_err(failed(&part))?;
    sync(to)?;
    Ok(RecordsPart {
        file,
        format,
        entries: dumped.entries,
        bytes: dumped.bytes,
        digest: dumped.digest,
    })
}

/// Makes a backup the one that counts.
fn describe(to: &Path, description: &Description) -> Result<(), BackupError> {
    let part = to.join("backup.part");
    let text =
        serde_json::to_vec_pretty(description).expect("a description has text keys and no failing parts");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&part, to.join(DESCRIPTION))
    };
    write().map_err(failed(&part))?;
    sync(to)
}

/// Removes the dumps that no longer count. One that stays does no harm.
fn forget_older(to: &Path, kept: &str) {
    for entry in fs::read_dir(to).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("records-") && name.ends_with(".dump") && name != kept {
            let _stays = fs::remove_file(entry.path());
        }
    }
}

/// Shows `each` the blobs that a dump's records name outside themselves.
fn named_blobs(
    dump: &Path,
    mut each: impl FnMut(&NamedBlob) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut reader = open_dump(dump)?;
    while let Some((key, stored)) = reader.next().map_err(undumped(dump))? {
        if let Some((key, entry)) = kv::record(&key, &stored)
            && let Some(blob) = named_blob(&key, &entry)
        {
            each(&blob)?;
        }
    }
    Ok(())
}

fn open_dump(path: &Path) -> Result<DumpReader<BufReader<File>>, BackupError> {
    let file = File::open(path).map_err(failed(path))?;
    DumpReader::begin(BufReader::with_capacity(1 << 20, file)).map_err(undumped(path))
}
