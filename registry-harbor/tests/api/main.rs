//! The API as its clients see it: real accounts, a real registry, and every reply held against the document.

mod conventions;
mod document;
mod house;
mod lists;
mod members;
mod projects;
mod robots;
mod tokens;
mod users;
