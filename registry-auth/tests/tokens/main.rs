//! Tokens, from the records of their keys to who holds them.

mod ends;
mod forged;
mod harness;
mod keys;
mod logins;
mod refresh;
mod service;
