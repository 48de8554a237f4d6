//! A file whose bytes are handed out.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::sync::OnceLock;

/// An open file of a blob's bytes, shared by those who read it; and what a shell has made of it to send it, such as
/// memory that it is mapped to, which lasts as long as the file is open and no longer.
///
/// ```
/// # let path = tempfile::NamedTempFile::new().unwrap();
/// use registry_core::OpenFile;
///
/// let file = OpenFile::from(std::fs::File::open(path.path()).unwrap());
/// let length = file.made(|file| file.metadata().map(|known| known.len()).unwrap_or(0));
/// assert_eq!(length, Some(&0));
/// ```
pub struct OpenFile {
    file: File,
    made: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl OpenFile {
    /// What was made of the file: by `make`, if it was nothing yet. `None` if it was something of another type.
    pub fn made<T: Any + Send + Sync>(&self, make: impl FnOnce(&File) -> T) -> Option<&T> {
        let made = self.made.get_or_init(|| Box::new(make(&self.file)));
        made.downcast_ref()
    }
}

impl From<File> for OpenFile {
    fn from(file: File) -> Self {
        OpenFile {
            file,
            made: OnceLock::new(),
        }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFile({:?})", self.file)
    }
}
