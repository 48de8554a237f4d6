//! The commands that ask the management API, against a server.

#[path = "../support/mod.rs"]
mod support;

mod house;
mod login;
mod projects;
mod robots;
mod tokens;
mod users;
