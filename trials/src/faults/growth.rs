//! Files that may not grow any further: a write that gets to the limit is cut short, the next one is refused, and the
//! system sends a signal that ends whoever does not expect it.

use std::process::Command;

use super::client::{Content, Ledger, Pushed, proper};
use super::{Place, Result, Scenario, Seen, failed, run};
use crate::server::Berth;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        (
            "a write cut short by the limit of a file, blobs".to_owned(),
            Box::new(blobs),
        ),
        (
            "a write cut short by the limit of a file, records".to_owned(),
            Box::new(records),
        ),
    ]
}

fn limit(berth: &Berth, bytes: &str) -> Result<()> {
    run(Command::new("prlimit").args([
        "--pid",
        &berth.id().to_string(),
        &format!("--fsize={bytes}:unlimited"),
    ]))
}

fn alive(berth: &mut Berth) -> Result<()> {
    match berth.is_running()? {
        true => Ok(()),
        false => Err(failed("the limit ended the server")),
    }
}

fn blobs(place: &Place) -> Result<Seen> {
    // Not a whole page, nor a whole buffer: the last write before the refusal is a short one.
    const LIMIT: &str = "3000001";
    let mut berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let (fits, does_not) = (Content::new(1, 1_000_000), Content::new(2, 3_500_000));
    ledger.must_push("base/app", &fits)?;
    limit(&berth, LIMIT)?;

    let mut refused = 0;
    match ledger.push("base/app", &does_not)? {
        Pushed::Yes => return Err(failed("more was acknowledged than the file may hold")),
        Pushed::Refused(_) => refused += 1,
    }
    let path = ledger.begin("base/app")?;
    let reply = ledger.ask("PATCH", &path, "", &does_not.bytes)?;
    proper(&reply)?;
    refused += 1;
    alive(&mut berth)?;
    ledger.must_push("base/app", &Content::new(3, 900_000))?;
    ledger.verify()?;

    limit(&berth, "unlimited")?;
    let path = format!("/v2/base/app/blobs/uploads/?digest={}", does_not.digest);
    ledger.ask("POST", &path, "", &does_not.bytes)?.expect(201)?;
    if ledger.head("base/app", &does_not)? != 200 {
        return Err(failed("what was pushed without the limit is not there"));
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults: refused,
        refused,
        kept: ledger.promises(),
    })
}

fn records(place: &Place) -> Result<Seen> {
    const INLINE: usize = 12_000;
    let mut berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    for n in 0..20 {
        ledger.must_push("base/app", &Content::new(n, INLINE))?;
    }
    let length = std::fs::metadata(place.data().join("records/data.mdb"))?.len();
    limit(&berth, &(length + 50_001).to_string())?;
    let mut refused = 0;
    for n in 100..200 {
        if let Pushed::Refused(_) = ledger.push("base/app", &Content::new(n, INLINE))? {
            refused += 1;
        }
    }
    if refused == 0 {
        return Err(failed("the records grew beyond their limit"));
    }
    alive(&mut berth)?;
    ledger.verify()?;

    limit(&berth, "unlimited")?;
    let berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    for n in 100..200 {
        ledger.must_push("base/app", &Content::new(n, INLINE))?;
    }
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults: refused,
        refused,
        kept: ledger.promises(),
    })
}
