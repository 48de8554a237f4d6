//! What a store says of itself, whichever engine keeps it, and how older formats are brought forward.

use std::ops::Bound;
use std::path::Path;

use registry_core::Timestamp;
use registry_core::store::Stamp;

use super::engine::{Engine, Fault, Group};
use super::{OpenError, damaged, layout};
use crate::identity::StoreId;

/// Brings records from one format to the next.
type Step = fn(&mut dyn Group) -> Result<(), Fault>;

/// Each with the format that it is from; it is to the next one, which is twice that. A step never changes once it is
/// released: stores will be opened with it for as long as there are any of its format.
const STEPS: [(u32, Step); layout::FORMAT.ilog2() as usize] = [(1, last_is_checked), (2, trash_is_known)];

/// Format 2 has a checksum at what is stored about the last commit. It also has the store's identity, which whoever opens
/// the store says: records alone have none.
fn last_is_checked(records: &mut dyn Group) -> Result<(), Fault> {
    let read = match records.get(layout::LAST_KEY)? {
        Some(stored) => layout::read_last(&stored),
        None => return Ok(()),
    };
    match read {
        Ok((stamp, now)) => records.put(layout::LAST_KEY, &layout::last(stamp, now)),
        // Who reads it next refuses it by name.
        Err(_) => Ok(()),
    }
}

/// Format 4 has records of what was deleted and may come back, and of edges that are still to be taken. Older records
/// have none, and are right as they are; that the format is another keeps a version from them that would not count such
/// an edge, and collect what it holds.
fn trash_is_known(_records: &mut dyn Group) -> Result<(), Fault> {
    Ok(())
}

/// What records say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether there is nothing yet.
    pub(crate) new: bool,
    /// The format that they have, if they have any.
    pub(crate) format: Option<u32>,
    /// The identity, if they have one.
    pub(crate) store: Option<StoreId>,
}

/// Reads what a store says of itself, and changes nothing. `known` is the newest format that can be read.
pub(super) fn look(engine: &dyn Engine, path: &Path, known: u32) -> Result<Found, OpenError> {
    let read = |key| engine.get(key).map_err(|fault| unreadable(path, fault));
    let mut new = true;
    let any = &mut |_: &[u8], _: &[u8]| {
        new = false;
        Ok(())
    };
    engine
        .scan(Bound::Unbounded, &[], 1, any)
        .map_err(|error| damaged(path, error.into()))?;
    let format = check(path, read(layout::FORMAT_KEY)?.as_deref(), new, known)?;
    let store = read(layout::STORE_KEY)?
        .map(|stored| layout::read_store(&stored))
        .transpose()
        .map_err(|bad| damaged(path, bad.into()))?;
    Ok(Found { new, format, store })
}

/// The format of records, `None` of new ones, if it can be read here.
fn check(path: &Path, stored: Option<&[u8]>, new: bool, known: u32) -> Result<Option<u32>, OpenError> {
    let format = stored.map(layout::read_format).transpose();
    match format.map_err(|bad| damaged(path, bad.into()))? {
        None if new => Ok(None),
        None => Err(damaged(path, "it does not say which format it has".into())),
        Some(found) if found > known => Err(OpenError::NewerFormat {
            path: path.to_owned(),
            found,
            known,
        }),
        Some(found) if !found.is_power_of_two() => {
            Err(damaged(path, format!("there is no format {found}").into()))
        }
        Some(found) => Ok(Some(found)),
    }
}

/// Brings a store to the format `known`, gives it an identity if there is one to give, and reads the last commit's
/// stamp and the clock at it: in one commit, so that a crash leaves it as it was or as it should be.
pub(super) fn begin(
    engine: &dyn Engine,
    path: &Path,
    known: u32,
    store: Option<StoreId>,
) -> Result<(Stamp, Timestamp), OpenError> {
    let mut begun = Err(damaged(path, "nothing was read".into()));
    let written = engine.write(&mut |records| {
        begun = forward(records, path, known, store)?;
        match begun {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Failed("it is left as it was".into())),
        }
    });
    match written {
        Err(fault) if begun.is_ok() => Err(unreadable(path, fault)),
        _ => begun,
    }
}

/// The outer error is the engine's, the inner one what is wrong with the records.
fn forward(
    records: &mut dyn Group,
    path: &Path,
    known: u32,
    store: Option<StoreId>,
) -> Result<Result<(Stamp, Timestamp), OpenError>, Fault> {
    let new = !records.any(&[])?;
    let format = match check(path, records.get(layout::FORMAT_KEY)?.as_deref(), new, known) {
        Ok(format) => format,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(found) = format {
        for (_, step) in STEPS.iter().filter(|(from, _)| (found..known).contains(from)) {
            step(records)?;
        }
    }
    if format != Some(known) {
        records.put(layout::FORMAT_KEY, &known.to_be_bytes())?;
    }
    if let Some(store) = store
        && records.get(layout::STORE_KEY)?.is_none()
    {
        records.put(layout::STORE_KEY, &store.0)?;
    }
    let last = records.get(layout::LAST_KEY)?;
    let last = last.map(|stored| layout::read_last(&stored)).transpose();
    Ok(match last {
        Ok(last) => Ok(last.unwrap_or((Stamp(0), Timestamp(0)))),
        Err(bad) => Err(damaged(path, bad.into())),
    })
}

/// The error for what the engine could not read or write at opening.
fn unreadable(path: &Path, fault: Fault) -> OpenError {
    let (Fault::Full(cause) | Fault::Failed(cause) | Fault::Unknown(cause)) = fault;
    match cause.downcast::<std::io::Error>() {
        Ok(source) => OpenError::io(path)(*source),
        Err(cause) => damaged(path, cause),
    }
}
