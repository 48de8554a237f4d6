//! The management API, as its commands ask it.

mod asked;
pub(crate) mod client;
mod docker;
pub(crate) mod find;
pub(crate) mod login;
pub(crate) mod password;
pub(crate) mod permissions;
pub(crate) mod show;
mod shown;

pub(crate) use asked::{Api, Deleted, Listed, Named};
pub(crate) use client::{Client, path};
use login::Login;
pub(crate) use show::Form;
