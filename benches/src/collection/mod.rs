//! What collecting costs: by how much is live, to those who pull meanwhile, and beside distribution's.

pub mod live;
pub mod peer;
pub mod pulls;
pub(crate) mod store;

use std::io;

/// The median; the mean of the two in the middle if there is an even number.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// An error of a library as one of a measurement.
pub(crate) fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(why)
}

/// Fails a measurement that did not measure what it says.
pub(crate) fn must(holds: bool, what: impl FnOnce() -> String) -> io::Result<()> {
    match holds {
        true => Ok(()),
        false => Err(failed(what())),
    }
}
