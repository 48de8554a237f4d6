//! The language of an OCI registry, and its meaning.
//!
//! A newcomer reads [`Registry`] and knows the system: it is what a registry does. [`LocalRegistry`] does it on
//! [stores](store); [wrappers] refuse, narrow or rename; [`http`] speaks the protocol for any of them. Nothing here
//! knows an executor, a web framework or a file system.
#![forbid(unsafe_code)]

pub mod auth;
mod context;
mod descriptor;
mod digest;
pub mod error;
pub mod http;
mod local;
pub mod manifest;
mod name;
mod open_file;
mod registry;
pub mod runtime;
pub mod store;
mod time;
pub mod weakening;
pub mod wrappers;

pub use context::Context;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use error::{Error, ErrorKind, Result};
pub use local::{LocalRegistry, Options, SAMPLE, Verify};
pub use name::{InvalidName, NAME_MAX, Reference, RepositoryName, TAG_MAX, Tag};
pub use open_file::OpenFile;
pub use registry::{
    Blob, BlobInfo, BlobRead, ByteRange, ByteStream, Charge, Children, Expect, InvalidUploadId, Manifest,
    ManifestInfo, MountFrom, Page, PutManifest, PutOutcome, Registry, UploadId, UploadStatus, WriteOptions,
    empty, once,
};
pub use runtime::Runtime;
pub use time::Timestamp;
