//! The end of a server: by a signal, or by the power of its disks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::power::{Cut, Disks};
use super::process::Process;
use super::random::Random;
use crate::mounted::{Result, signal};

/// Ends the server as the round asks for: whether it had lived until then, and from when to when the power was cut.
pub(super) fn finish(
    process: &mut Process,
    disks: &mut Option<Disks>,
    cut: Option<Cut>,
    random: &mut Random,
    excused: &AtomicBool,
    over: &AtomicBool,
) -> Result<(bool, Option<(Instant, Instant)>)> {
    let lived = process.lives()?;
    let outcome = (|| {
        let Some((disks, cut)) = disks.as_mut().zip(cut) else {
            return Ok(None);
        };
        if cut == Cut::AfterReopening {
            return Ok(None);
        }
        if cut == Cut::PartlyWrittenBack {
            signal(&process.child.0, "STOP")?;
            disks.write_back_partly(random)?;
        }
        excused.store(true, Ordering::SeqCst);
        let from = Instant::now();
        disks.cut(random)?;
        let to = Instant::now();
        if cut != Cut::PartlyWrittenBack {
            // Whatever is acknowledged from now on counts too.
            thread::sleep(Duration::from_millis(random.below(40)));
        }
        Ok(Some((from, to)))
    })();
    excused.store(true, Ordering::SeqCst);
    over.store(true, Ordering::SeqCst);
    process.child.end()?;
    outcome.map(|cut| (lived, cut))
}
