//! Disks that fill, and have room again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::{Content, Ledger, Pushed};
use super::{Place, Result, Scenario, Seen, failed, run};
use crate::mounted::Mounted;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        (
            "a full disk under the blobs, which has room again".to_owned(),
            Box::new(blobs),
        ),
        (
            "a full disk under the records, which has room again".to_owned(),
            Box::new(records),
        ),
    ]
}

/// An ext4 image of so many MiB, mounted at `at`.
fn mount(place: &Place, mib: u64, at: &Path) -> Result<Mounted> {
    let image = place.directory.join("image");
    fs::File::create(&image)?.set_len(mib << 20)?;
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
    fs::create_dir_all(at)?;
    Mounted::new(&image, at)
}

/// Bytes that are free on a disk.
fn free(at: &Path) -> Result<u64> {
    let output = Command::new("stat")
        .args(["--file-system", "--format", "%a %S"])
        .arg(at)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(blocks)), Some(Ok(size))) => Ok(blocks * size),
        _ => Err(failed("the free room cannot be told")),
    }
}

/// Something else that takes room, and can be removed.
fn fill(at: &Path, bytes: u64) -> Result<PathBuf> {
    let filler = at.join("filler");
    run(Command::new("fallocate")
        .args(["-l", &bytes.to_string()])
        .arg(&filler))?;
    Ok(filler)
}

/// Pushes until several in a row are refused for want of room. How many were.
fn push_until_refused(ledger: &mut Ledger, seed: u64, length: usize, most: u64) -> Result<u64> {
    let mut refused = 0;
    for n in 0..most {
        match ledger.push("filling/app", &Content::new(seed + n, length))? {
            Pushed::Yes => {}
            Pushed::Refused(503) => refused += 1,
            Pushed::Refused(other) => return Err(failed(format!("no room is answered {other}"))),
        }
        if refused >= 5 {
            return Ok(refused);
        }
    }
    Err(failed("the disk never filled"))
}

fn blobs(place: &Place) -> Result<Seen> {
    const BLOB: usize = 1 << 20;
    let at = place.data().join("blobs");
    let _mounted = mount(place, 48, &at)?;
    let filler = fill(&at, 16 << 20)?;
    let berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let first = Content::new(1, BLOB);
    ledger.must_push("base/app", &first)?;
    let mut refused = push_until_refused(&mut ledger, 100, BLOB, 200)?;

    // What is refused leaves nothing, however it came: at once, and in pieces.
    let before = free(&at)?;
    for n in 0..5 {
        let content = Content::new(1000 + n, BLOB);
        if let Pushed::Refused(_) = ledger.push("filling/app", &content)? {
            refused += 1;
        }
        let path = ledger.begin("filling/app")?;
        let mut taken = true;
        for piece in content.bytes.chunks(BLOB / 4) {
            taken = taken && ledger.ask("PATCH", &path, "", piece)?.status == 202;
        }
        if taken {
            return Err(failed("a full disk took another blob"));
        }
        refused += 1;
        // What was acknowledged of it is kept until it is given up; if nothing was, the upload is over already.
        let given_up = ledger.ask("DELETE", &path, "", b"")?.status;
        if !matches!(given_up, 204 | 404) {
            return Err(failed(format!("giving an upload up was answered {given_up}")));
        }
    }
    let after = free(&at)?;
    if after + (64 << 10) < before {
        return Err(failed(format!(
            "refused pushes keep {} bytes of a full disk",
            before - after
        )));
    }

    // Reads, small pushes (they go into the records) and deletes go on.
    ledger.verify()?;
    ledger.must_push("base/app", &Content::new(2, 1_000))?;
    if let Pushed::Refused(status) = ledger.put("base/app", "v1", &first)? {
        return Err(failed(format!(
            "a manifest is refused for the blobs' disk: {status}"
        )));
    }
    delete_something(&mut ledger)?;

    // With room again, pushes succeed without a restart.
    fs::remove_file(filler)?;
    for n in 0..5 {
        ledger.must_push("filling/app", &Content::new(1000 + n, BLOB))?;
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults: refused,
        refused,
        kept: ledger.promises(),
    })
}

/// Makes an image in a repository of its own, while there is room for it, and deletes its tag.
fn delete_something(ledger: &mut Ledger) -> Result<()> {
    let content = Content::new(9, 100);
    let mut own = Ledger::new(ledger.address);
    own.must_push("deleted/app", &content)?;
    if let Pushed::Refused(status) = own.put("deleted/app", "v1", &content)? {
        return Err(failed(format!("a manifest was refused: {status}")));
    }
    delete(ledger, "/v2/deleted/app/manifests/v1")
}

fn delete(ledger: &Ledger, path: &str) -> Result<()> {
    let status = ledger.ask("DELETE", path, "", b"")?.status;
    match status {
        202 => Ok(()),
        _ => Err(failed(format!("a delete is answered {status}"))),
    }
}

fn records(place: &Place) -> Result<Seen> {
    const INLINE: usize = 12_000;
    let at = place.data().join("records");
    let _mounted = mount(place, 24, &at)?;
    let filler = fill(&at, 12 << 20)?;
    let berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let (large, small) = (Content::new(1, 300_000), Content::new(2, 1_000));
    ledger.must_push("base/app", &large)?;
    ledger.must_push("base/app", &small)?;
    for tag in ["v1", "v2"] {
        if let Pushed::Refused(status) = ledger.put("base/app", tag, &large)? {
            return Err(failed(format!("a manifest was refused: {status}")));
        }
    }
    let mut own = Ledger::new(ledger.address);
    if let Pushed::Refused(status) = own.put("base/app", "goes", &large)? {
        return Err(failed(format!("a manifest was refused: {status}")));
    }
    let mut refused = push_until_refused(&mut ledger, 100, INLINE, 4_000)?;

    // Reads and deletes go on, and the disk stays full.
    ledger.verify()?;
    delete(&ledger, "/v2/base/app/manifests/goes")?;
    for n in 0..50 {
        if let Pushed::Refused(_) = ledger.push("filling/app", &Content::new(10_000 + n, INLINE))? {
            refused += 1;
        }
    }
    ledger.verify()?;

    // With room again, pushes succeed without a restart.
    fs::remove_file(filler)?;
    for n in 0..50 {
        ledger.must_push("filling/app", &Content::new(20_000 + n, INLINE))?;
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults: refused,
        refused,
        kept: ledger.promises(),
    })
}
