//! What a power cut leaves.
//!
//! By the rules of POSIX and no others: content and length are durable after a sync of the file, permissions and mark
//! only after a full one, an entry after a sync of its directory. Whatever was not synced may be there or not, in any
//! part and in any combination: writes in pieces of any size with zeros between them, any length that the file had
//! or passed through, entries and removals each on their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::simulated::{Content, Directories, DiskOp, FileId, SimulatedDisk, split};
use super::{Dice, ROOT};

/// How much of what was not synced survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// All of it: what the end of a process leaves.
    Everything,
    /// Any part.
    Any,
    /// Any part, by the rules of a file system that makes a file longer only once the bytes are written: of each
    /// file's content, what came first.
    Ordered,
}

/// A change of a file that is not synced.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Bytes),
    SetLen(u64),
}

#[derive(Clone, Debug)]
struct File {
    durable: Content,
    changes: Vec<Change>,
    modes: Vec<u32>,
    marks: Vec<Bytes>,
}

/// What an entry names; `None` for a removal.
#[derive(Clone, Debug)]
enum Named {
    File(Option<FileId>),
    Directory(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct Directory {
    files: BTreeMap<OsString, FileId>,
    directories: Vec<PathBuf>,
    changes: Vec<(OsString, Named)>,
}

/// What is durable of a disk, and what would be with the next sync. Fed with what is done to the disk, it can be cut
/// at any point.
#[derive(Clone, Debug)]
pub struct Platter {
    files: Vec<File>,
    directories: BTreeMap<PathBuf, Directory>,
}

impl Default for Platter {
    fn default() -> Self {
        Platter {
            files: Vec::new(),
            directories: [(ROOT.into(), Directory::default())].into(),
        }
    }
}

impl Platter {
    /// As [`SimulatedDisk::recorded_by`] begins.
    pub fn new() -> Self {
        Platter::default()
    }

    /// Whether everything is durable, so that every cut leaves the same.
    pub fn is_settled(&self) -> bool {
        let file = |file: &File| file.changes.is_empty() && file.modes.is_empty() && file.marks.is_empty();
        self.files.iter().all(file)
            && self
                .directories
                .values()
                .all(|directory| directory.changes.is_empty())
    }

    /// Takes the next thing that was done.
    ///
    /// # Panics
    /// If it was not done to the disk of which everything before was told.
    pub fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::CreateDir { path } => {
                self.change(path, Named::Directory(path.clone()));
                self.directories.insert(path.clone(), Directory::default());
            }
            DiskOp::Create { path, file } => {
                assert_eq!(file.0, self.files.len(), "files are told in order");
                self.files.push(File {
                    durable: Content::created(),
                    changes: Vec::new(),
                    modes: Vec::new(),
                    marks: Vec::new(),
                });
                self.change(path, Named::File(Some(*file)));
            }
            DiskOp::Unlink { path } => self.change(path, Named::File(None)),
            DiskOp::Write { file, at, bytes } => {
                self.files[file.0].changes.push(Change::Write(*at, bytes.clone()))
            }
            DiskOp::SetLen { file, length } => self.files[file.0].changes.push(Change::SetLen(*length)),
            DiskOp::SetMode { file, mode } => self.files[file.0].modes.push(*mode),
            DiskOp::SetMark { file, mark } => self.files[file.0].marks.push(mark.clone()),
            DiskOp::SyncData { file } => self.files[file.0].sync_data(),
            DiskOp::SyncAll { file } => self.files[file.0].sync_all(),
            DiskOp::SyncDir { path } => self.directory(path).sync(),
        }
    }

    fn directory(&mut self, path: &Path) -> &mut Directory {
        self.directories.get_mut(path).expect("a directory that was told")
    }

    fn change(&mut self, path: &Path, named: Named) {
        let (directory, name) = split(path).expect("a path below the root");
        let name = name.to_owned();
        self.directory(directory).changes.push((name, named));
    }

    /// What lies there after a cut.
    pub fn cut(&self, survival: Survival, dice: &mut Dice) -> SimulatedDisk {
        let files = self.files.iter().map(|file| file.cut(survival, dice)).collect();
        let mut directories = Directories::new();
        let mut reached = vec![PathBuf::from(ROOT)];
        while let Some(path) = reached.pop() {
            let Directory {
                files,
                directories: below,
                ..
            } = self.directories[&path].cut(survival, dice);
            reached.extend(below);
            directories.insert(path, files);
        }
        SimulatedDisk::of(files, directories, None)
    }
}

impl Directory {
    fn apply(&mut self, (name, named): &(OsString, Named)) {
        match named {
            Named::File(Some(file)) => {
                self.files.insert(name.clone(), *file);
            }
            Named::File(None) => {
                self.files.remove(name);
            }
            Named::Directory(path) => self.directories.push(path.clone()),
        }
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.apply(&change);
        }
    }

    fn cut(&self, survival: Survival, dice: &mut Dice) -> Directory {
        let mut left = Directory {
            changes: Vec::new(),
            ..self.clone()
        };
        // Often all or nothing, so that a single one that is missing is not drowned in others.
        let odds = match survival {
            Survival::Nothing => 0,
            Survival::Everything => 2,
            Survival::Any | Survival::Ordered => dice.below(3),
        };
        for change in &self.changes {
            if odds == 2 || (odds == 1 && dice.once_in(2)) {
                left.apply(change);
            }
        }
        left
    }
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Change::Write(at, bytes) => content.write(*at, bytes),
            Change::SetLen(length) => content.data.resize(*length as usize, 0),
        }
    }
}

impl File {
    fn sync_data(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.apply(&mut self.durable);
        }
    }

    fn sync_all(&mut self) {
        self.sync_data();
        if let Some(mode) = self.modes.drain(..).next_back() {
            self.durable.mode = mode;
        }
        if let Some(mark) = self.marks.drain(..).next_back() {
            self.durable.mark = Some(mark);
        }
    }

    fn cut(&self, survival: Survival, dice: &mut Dice) -> Content {
        let mut left = self.durable.clone();
        match survival {
            Survival::Nothing => return left,
            Survival::Everything => {
                let mut all = self.clone();
                all.sync_all();
                return all.durable;
            }
            Survival::Ordered => self.cut_in_order(&mut left, dice),
            Survival::Any => match dice.below(4) {
                0 => {}
                1 => self.changes.iter().for_each(|change| change.apply(&mut left)),
                2 => self.cut_in_order(&mut left, dice),
                _ => self.cut_anyhow(&mut left, dice),
            },
        }
        if let Some(mode) = self.modes.get(dice.below(self.modes.len() + 1)) {
            left.mode = *mode;
        }
        if let Some(mark) = self.marks.get(dice.below(self.marks.len() + 1)) {
            left.mark = Some(mark.clone());
        }
        left
    }

    /// The first changes, and the first part of the next.
    fn cut_in_order(&self, left: &mut Content, dice: &mut Dice) {
        let whole = dice.below(self.changes.len() + 1);
        self.changes[..whole].iter().for_each(|change| change.apply(left));
        if let Some(Change::Write(at, bytes)) = self.changes.get(whole) {
            let part = dice.below(bytes.len() + 1);
            if part > 0 {
                left.write(*at, &bytes[..part]);
            }
        }
    }

    /// Pieces of any changes, and any length that the file had or passed through.
    fn cut_anyhow(&self, left: &mut Content, dice: &mut Dice) {
        let mut told = self.durable.clone();
        let mut lengths = vec![told.data.len()];
        for change in &self.changes {
            let before = told.data.len();
            change.apply(&mut told);
            lengths.push(told.data.len());
            lengths.push(before + dice.below(told.data.len().saturating_sub(before) + 1));
            match change {
                Change::SetLen(_) if dice.once_in(2) => change.apply(left),
                Change::SetLen(_) => {}
                Change::Write(at, bytes) => {
                    let piece = *dice.pick(&[1, 16, 128, 1024]);
                    for (n, part) in bytes.chunks(piece).enumerate() {
                        if dice.once_in(2) {
                            left.write(at + (n * piece) as u64, part);
                        }
                    }
                }
            }
        }
        left.data.resize(*dice.pick(&lengths), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::disk::{Access, Disk};
    use std::sync::{Arc, Mutex};

    /// Does `work` on a disk and gives what a cut at its end leaves of the file `/blobs/file`, in many draws.
    fn left(survival: Survival, work: impl FnOnce(&SimulatedDisk, &Path)) -> Vec<Option<(Vec<u8>, u32)>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let told = log.clone();
        let disk = SimulatedDisk::recorded_by(Arc::new(move |op| told.lock().unwrap().push(op)));
        let path = PathBuf::from(ROOT).join("file");
        work(&disk, &path);
        let mut platter = Platter::new();
        log.lock().unwrap().iter().for_each(|op| platter.apply(op));
        let mut dice = Dice::new(7);
        let look = |disk: SimulatedDisk| {
            let file = disk.open(&path, Access::Read).ok()?;
            let info = file.info().unwrap();
            let mut data = vec![0; info.length as usize];
            file.read_at(&mut data, 0).unwrap();
            Some((data, info.mode))
        };
        (0..500).map(|_| look(platter.cut(survival, &mut dice))).collect()
    }

    #[test]
    fn what_was_synced_is_there_after_every_cut_and_what_was_not_may_be() {
        let found = left(Survival::Any, |disk, path| {
            let file = disk.create_new(path).unwrap();
            file.write_at(b"synced", 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new(ROOT)).unwrap();
            file.write_at(b" or not", 6).unwrap();
            file.set_mode(0o444).unwrap();
        });
        assert!(
            found
                .iter()
                .flatten()
                .all(|(data, _)| data.starts_with(b"synced"))
        );
        assert_eq!(found.iter().flatten().count(), found.len());
        for possible in [
            &b"synced"[..],
            b"synced or not",
            b"synced\0\0\0\0\0\0\0",
            b"synced or",
        ] {
            assert!(
                found.iter().flatten().any(|(data, _)| data == possible),
                "{possible:?}"
            );
        }
        for mode in [0o600, 0o444] {
            assert!(found.iter().flatten().any(|(_, found)| *found == mode));
        }
    }

    #[test]
    fn an_entry_is_as_durable_as_its_directory() {
        let unsynced = left(Survival::Any, |disk, path| {
            disk.create_new(path).unwrap().sync_all().unwrap();
        });
        assert!(unsynced.iter().any(Option::is_none) && unsynced.iter().any(Option::is_some));
        let unlinked = left(Survival::Any, |disk, path| {
            disk.create_new(path).unwrap();
            disk.sync_dir(Path::new(ROOT)).unwrap();
            disk.unlink(path).unwrap();
        });
        assert!(unlinked.iter().any(Option::is_none) && unlinked.iter().any(Option::is_some));
    }

    #[test]
    fn in_order_a_file_is_never_longer_than_what_was_written_of_it() {
        let found = left(Survival::Ordered, |disk, path| {
            let file = disk.create_new(path).unwrap();
            disk.sync_dir(Path::new(ROOT)).unwrap();
            file.write_at(b"one ", 0).unwrap();
            file.write_at(b"two", 4).unwrap();
        });
        assert!(
            found
                .iter()
                .flatten()
                .all(|(data, _)| b"one two".starts_with(data))
        );
        assert!(found.iter().flatten().any(|(data, _)| data == b"one t"));
    }
}
