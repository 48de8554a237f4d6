//! Names and secrets: how they are read, hashed and remembered.

mod authorization;
mod basic;
mod hashing;
mod password;
mod remembered;

pub use authorization::{Credentials, scheme};
pub use basic::Basic;
pub(crate) use basic::wrong;
pub use hashing::{HashingOptions, HashingPool};
pub(crate) use password::nobodys_bcrypt;
pub use password::{Argon2id, PasswordHashing};
pub use remembered::{Logins, REMEMBERED_FOR};
