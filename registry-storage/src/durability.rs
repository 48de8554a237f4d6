//! What an acknowledged write survives, and which syncs that takes.

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, a crash of the machine, and a power cut.
    #[default]
    Strict,
    /// The end of the process. Records are synced as ever, bytes in files are left to the system to write: after a
    /// power cut or a crash of the machine, blobs and parts of uploads that were acknowledged shortly before may be
    /// missing. They are answered as unknown, and the next push of them repairs it. That they are never answered with
    /// other bytes needs a file system that makes a file longer only once the bytes are written (ext4 with
    /// `data=ordered`, its default, and XFS). A file that was unlinked shortly before may come back, named by nothing.
    Relaxed,
    /// For trials only: everything but one kind of sync, so that data is lost and somebody must notice.
    #[cfg(feature = "omit-sync")]
    Without(Omission),
}

impl Durability {
    /// Which syncs this takes.
    pub(crate) fn syncs(self) -> Syncs {
        match self {
            Durability::Strict => Syncs::ALL,
            Durability::Relaxed => Syncs::RECORDS_ONLY,
            #[cfg(feature = "omit-sync")]
            Durability::Without(omission) => Syncs::without(omission),
        }
    }
}

/// A kind of sync to leave out, to see that it is missed.
#[cfg(any(feature = "omit-sync", feature = "testkit"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// A blob's bytes before it is published.
    File,
    /// The entries that name files, and their removal.
    Directory,
    /// A commit of the records.
    Records,
    /// What an acknowledged append promises.
    UploadState,
}

#[cfg(any(feature = "omit-sync", feature = "testkit"))]
impl Omission {
    /// All of them.
    pub const ALL: [Omission; 4] = [
        Omission::File,
        Omission::Directory,
        Omission::Records,
        Omission::UploadState,
    ];

    /// As a command's argument says it.
    pub fn name(self) -> &'static str {
        match self {
            Omission::File => "file",
            Omission::Directory => "directory",
            Omission::Records => "records",
            Omission::UploadState => "upload-state",
        }
    }
}

#[cfg(any(feature = "omit-sync", feature = "testkit"))]
impl std::str::FromStr for Omission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Omission::ALL.into_iter().find(|omission| omission.name() == text);
        named.ok_or_else(|| {
            format!("{text:?} is no kind of sync; there are file, directory, records and upload-state")
        })
    }
}

/// Which syncs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syncs {
    /// Of a blob's bytes, before it is published.
    pub(crate) file: bool,
    /// Of the directories that name files.
    pub(crate) directory: bool,
    /// Of the records, at each commit.
    pub(crate) records: bool,
    /// Of an upload's bytes, before they are acknowledged.
    pub(crate) upload_state: bool,
}

impl Syncs {
    pub(crate) const ALL: Syncs = Syncs {
        file: true,
        directory: true,
        records: true,
        upload_state: true,
    };

    pub(crate) const RECORDS_ONLY: Syncs = Syncs {
        file: false,
        directory: false,
        records: true,
        upload_state: false,
    };

    #[cfg(any(feature = "omit-sync", feature = "testkit"))]
    pub(crate) fn without(omission: Omission) -> Syncs {
        let mut syncs = Syncs::ALL;
        match omission {
            Omission::File => syncs.file = false,
            Omission::Directory => syncs.directory = false,
            Omission::Records => syncs.records = false,
            Omission::UploadState => syncs.upload_state = false,
        }
        syncs
    }
}
