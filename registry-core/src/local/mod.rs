//! The meaning of push, pull, mount, list and delete, on stores.

/// The registry that keeps what it is given.
pub struct LocalRegistry;

/// How a [`LocalRegistry`] behaves.
pub struct Options;
