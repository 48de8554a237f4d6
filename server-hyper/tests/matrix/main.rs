//! The matrix: every operation, by everybody, in a project that is public, one that is private and one that there is not.
//!
//! What each role may is [written down here](harbor) from Harbor's table, and what an operation is answered with follows from
//! it by a few rules that are written beside the rows. Nothing of it is asked of the code that is tested. Without a row for
//! each operation and route the tests fail.

mod harbor;
mod house;
mod management;
mod people;
mod protocol;
mod report;
mod tokens;
mod who;
