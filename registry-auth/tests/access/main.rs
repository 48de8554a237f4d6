//! Who may do what, over real records.

mod decisions;
mod first_start;
mod house;
mod login;
mod narrowed;
mod properties;
mod staleness;
