//! System calls that fail.

use std::path::{Path, PathBuf};

use super::client::{Content, Ledger, Pushed, proper};
use super::inject::{Fault, Injection};
use super::{Place, Result, Scenario, Seen, failed};

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    /// The file of the upload.
    File,
    /// The directory that names it, which is there.
    Directory,
    /// The same, which is to be made.
    NewDirectory,
}

/// Calls on the way of a blob to the disk.
const BLOB_CALLS: [(&str, On); 8] = [
    ("mkdir", On::NewDirectory),
    ("openat", On::File),
    ("pwrite64", On::File),
    ("fsetxattr", On::File),
    ("fchmod", On::File),
    ("fsync", On::File),
    ("fsync", On::Directory),
    ("openat", On::Directory),
];

/// Calls on the way of records to the disk.
const RECORD_CALLS: [&str; 3] = ["pwrite64", "writev", "fdatasync"];

const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Vec::new();
    for error in ERRORS {
        for (call, on) in BLOB_CALLS {
            let what = match on {
                On::File => "blob file",
                On::Directory => "blob directory",
                On::NewDirectory => "new blob directory",
            };
            all.push((
                format!("{call} {error}, {what}"),
                Box::new(move |place| blob(place, call, error, on)),
            ));
        }
        for call in RECORD_CALLS {
            all.push((
                format!("every {call} {error}, records"),
                Box::new(move |place| records(place, call, error)),
            ));
            all.push((
                format!("one {call} {error} in a commit, records"),
                Box::new(move |place| one_record_call(place, call, error)),
            ));
        }
    }
    // Each with the call that takes no waiting and the one that may wait, which is made if the first fails. A short file is
    // read, a long one sent.
    for (calls, length) in [
        ("preadv2,pread64", 20_000),
        ("sendfile", 700_000),
        ("openat2,openat", 700_000),
    ] {
        all.push((
            format!("{calls} EIO, blob file being read"),
            Box::new(move |place| reading(place, calls, length)),
        ));
    }
    all
}

/// A large blob, an inline one, and an image of each.
fn promise(ledger: &mut Ledger, seed: u64) -> Result<(Content, Content)> {
    let (large, small) = (Content::new(seed, 300_000), Content::new(seed + 1, 2_000));
    ledger.must_push("base/app", &large)?;
    ledger.must_push("base/app", &small)?;
    for (tag, content) in [("large", &large), ("small", &small)] {
        match ledger.put("base/app", tag, content)? {
            Pushed::Yes => {}
            Pushed::Refused(status) => return Err(failed(format!("a manifest was refused: {status}"))),
        }
    }
    Ok((large, small))
}

/// The file of the upload at `path`.
fn file_of(data: &Path, path: &str) -> Result<PathBuf> {
    let id = path.rsplit('/').next().unwrap_or_default();
    let fan = id.get(..2).ok_or_else(|| failed("no upload id"))?;
    Ok(data.join("blobs").join(fan).join(id))
}

/// An upload whose file's directory is there, or is not, as the fault wants it.
fn upload(ledger: &Ledger, data: &Path, on: On) -> Result<(String, PathBuf)> {
    for _ in 0..2000 {
        let path = ledger.begin("victim/app")?;
        let file = file_of(data, &path)?;
        let there = file.parent().is_some_and(Path::exists);
        match on {
            On::File => {
                // An injected path has to be one that can be told before the file is there.
                std::fs::create_dir_all(file.parent().ok_or_else(|| failed("no directory"))?)?;
                return Ok((path, file));
            }
            On::Directory if there => return Ok((path, file)),
            On::NewDirectory if !there => return Ok((path, file)),
            _ => ledger.ask("DELETE", &path, "", b"")?.expect(204)?,
        };
    }
    Err(failed("no upload falls into such a directory"))
}

fn blob(place: &Place, call: &'static str, error: &'static str, on: On) -> Result<Seen> {
    let berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let (large, _) = promise(&mut ledger, 10)?;
    let victim = Content::new(1, 700_000);
    let (path, file) = upload(&ledger, &place.data(), on)?;
    let fault = Fault {
        call,
        error,
        when: "1+".to_owned(),
        path: match on {
            On::File => file,
            _ => file.parent().ok_or_else(|| failed("no directory"))?.to_owned(),
        },
    };
    let injection = Injection::attach(berth.id(), &fault, &place.directory.join("strace"))?;

    // Half of it, then the rest: whichever comes to the fault is refused, and nothing is acknowledged.
    let finish = format!("{path}?digest={}", victim.digest);
    let mut refused = 0;
    let first = ledger.ask("PATCH", &path, "", &victim.bytes[..400_000])?;
    let mut acknowledged = 0;
    if first.status != 202 {
        expect_for(call, error, proper(&first)?)?;
        refused += 1;
    } else {
        acknowledged = 400_000;
        let last = ledger.ask("PUT", &finish, "", &victim.bytes[400_000..])?;
        expect_for(call, error, proper(&last)?)?;
        refused += 1;
    }
    // Others go on.
    if ledger.read("base/app", &large)? != 200 {
        return Err(failed("a read was refused while another's upload failed"));
    }
    ledger.must_push("other/app", &Content::new(2, 1_000))?;
    if on == On::File {
        ledger.must_push("other/app", &Content::new(3, 200_000))?;
    }
    let faults = injection.detach()?;

    if ledger.head("victim/app", &victim)? != 404 {
        return Err(failed("a blob is there that was refused"));
    }
    // A sync that failed is final for its upload: not for a moment does it look as if it had worked. And an upload is
    // over of which nothing was acknowledged. What has lost nothing goes on.
    let lost = call == "fsync" || (acknowledged == 0 && call != "openat") || on != On::File;
    match lost {
        true => upload_is_over(&ledger, &path, &finish, &victim)?,
        false => upload_goes_on(&ledger, &path, &finish, &victim, acknowledged)?,
    }
    ledger.must_push("victim/app", &victim)?;
    ledger.verify()?;
    let mut berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    upload_is_over(&ledger, &path, &finish, &victim)?;
    ledger.must_push("after/app", &Content::new(4, 100_000))?;
    alive(&mut berth)?;
    Ok(Seen {
        faults,
        refused,
        kept: ledger.promises(),
    })
}

/// No room is told from other failures, but for the look whether there is such a file, which takes none.
fn expect_for(call: &str, error: &str, status: u16) -> Result<()> {
    let expected = if error == "ENOSPC" { 503 } else { 500 };
    match status == expected || (call == "openat" && status == 500) {
        true => Ok(()),
        false => Err(failed(format!("{error} was answered {status}, not {expected}"))),
    }
}

fn alive(berth: &mut crate::server::Berth) -> Result<()> {
    match berth.is_running()? {
        true => Ok(()),
        false => Err(failed("the server ended")),
    }
}

fn upload_is_over(ledger: &Ledger, path: &str, finish: &str, victim: &Content) -> Result<()> {
    for (method, path, body) in [
        ("GET", path, &[][..]),
        ("PATCH", path, &victim.bytes[..]),
        ("PUT", finish, &[][..]),
        ("PUT", finish, &victim.bytes[..]),
    ] {
        let status = ledger.ask(method, path, "", body)?.status;
        if status != 404 {
            return Err(failed(format!(
                "{method} on an upload whose file failed is answered {status}"
            )));
        }
    }
    Ok(())
}

fn upload_goes_on(
    ledger: &Ledger,
    path: &str,
    finish: &str,
    victim: &Content,
    acknowledged: usize,
) -> Result<()> {
    let status = ledger.ask("GET", path, "", b"")?.expect(204)?;
    let end = status.range.as_deref().and_then(|range| range.strip_prefix("0-"));
    // `0-0` is said of nothing, too; no piece here is of one byte.
    let received = match end.and_then(|end| end.parse::<usize>().ok()) {
        Some(0) => 0,
        Some(end) => end + 1,
        None => return Err(failed("an upload does not say how far it is")),
    };
    if received < acknowledged || received > victim.bytes.len() {
        return Err(failed(format!(
            "an upload is at {received}, {acknowledged} were acknowledged"
        )));
    }
    ledger
        .ask("PUT", finish, "", &victim.bytes[received..])?
        .expect(201)?;
    Ok(())
}

/// Pushes that need commits, until the records fail them; what they answer is believed.
fn push_through(ledger: &mut Ledger, seed: u64) -> Result<u64> {
    let mut refused = 0;
    let content = Content::new(seed, 9_000);
    let outcomes = [
        ledger.push("shared/app", &content)?,
        ledger.put("base/app", &format!("tag-{seed}"), &Content::new(10, 300_000))?,
        ledger.push("shared/app", &Content::new(seed + 1, 40_000))?,
    ];
    for outcome in outcomes {
        refused += u64::from(matches!(outcome, Pushed::Refused(_)));
    }
    Ok(refused)
}

fn data_file(place: &Place) -> PathBuf {
    place.data().join("records/data.mdb")
}

/// Nothing that writes the records works, for a while.
fn records(place: &Place, call: &'static str, error: &'static str) -> Result<Seen> {
    let berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let (large, small) = promise(&mut ledger, 10)?;
    let mut seen = Seen::default();
    let fault = Fault {
        call,
        error,
        when: "1+".to_owned(),
        path: data_file(place),
    };
    let injection = Injection::attach(berth.id(), &fault, &place.directory.join("strace"))?;
    seen.refused += push_through(&mut ledger, 100)?;
    if seen.refused < 3 {
        return Err(failed("something was acknowledged that could not be committed"));
    }
    for content in [&large, &small] {
        if ledger.read("base/app", content)? != 200 {
            return Err(failed("a read was refused while nothing could be written"));
        }
    }
    seen.faults = injection.detach()?;
    // The next commits work without a restart.
    let refused = push_through(&mut ledger, 200)?;
    if refused > 0 {
        return Err(failed(format!(
            "{refused} pushes are refused though the fault is gone"
        )));
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    push_again(&mut ledger)?;
    seen.kept = ledger.promises();
    Ok(seen)
}

fn push_again(ledger: &mut Ledger) -> Result<()> {
    match push_through(ledger, 300)? + push_through(ledger, 100)? {
        0 => ledger.verify(),
        refused => Err(failed(format!("{refused} pushes are refused after a restart"))),
    }
}

/// One call fails, the first, the second, and so on: each place within a commit.
fn one_record_call(place: &Place, call: &'static str, error: &'static str) -> Result<Seen> {
    let mut seen = Seen::default();
    for nth in 1..=6_u64 {
        let round = Place {
            berth: place.berth.clone(),
            directory: place.directory.join(nth.to_string()),
        };
        std::fs::create_dir_all(&round.directory)?;
        let berth = round.start(&[])?;
        let mut ledger = Ledger::new(berth.address);
        let (large, _) = promise(&mut ledger, 10)?;
        let fault = Fault {
            call,
            error,
            when: nth.to_string(),
            path: data_file(&round),
        };
        let injection = Injection::attach(berth.id(), &fault, &round.directory.join("strace"))?;
        for seed in [100, 200, 300] {
            seen.refused += push_through(&mut ledger, seed)?;
        }
        seen.faults += injection.detach()?;
        if ledger.read("base/app", &large)? != 200 {
            return Err(failed("a read was refused after a failed commit"));
        }
        let refused = push_through(&mut ledger, 400)?;
        if refused > 0 {
            return Err(failed(format!(
                "{refused} pushes are refused after one failed commit"
            )));
        }
        ledger.verify()?;
        let _berth = round.crash_and_verify(berth, &mut ledger, &[])?;
        push_again(&mut ledger)?;
        seen.kept += ledger.promises();
    }
    match seen.refused {
        0 => Err(failed("no commit failed")),
        _ => Ok(seen),
    }
}

/// A blob that cannot be read for a while is an error for as long, and no reason to believe that it is lost.
fn reading(place: &Place, call: &'static str, length: usize) -> Result<Seen> {
    const SETTINGS: [&str; 1] = ["blobs.verify=off"];
    let berth = place.start(&SETTINGS)?;
    let mut ledger = Ledger::new(berth.address);
    let content = Content::new(1, length);
    let (path, file) = upload(&ledger, &place.data(), On::File)?;
    ledger
        .ask(
            "PUT",
            &format!("{path}?digest={}", content.digest),
            "",
            &content.bytes,
        )?
        .expect(201)?;
    ledger.note_blob("victim/app", &content);
    let fault = Fault {
        call,
        error: "EIO",
        when: "1+".to_owned(),
        path: file,
    };
    let injection = Injection::attach(berth.id(), &fault, &place.directory.join("strace"))?;
    let status = ledger.read_or_cut_off("victim/app", &content)?;
    let faults = injection.detach()?;
    if !matches!(status, 0 | 500) {
        return Err(failed(format!("a read that failed was answered {status}")));
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &SETTINGS)?;
    Ok(Seen {
        faults,
        refused: 1,
        kept: ledger.promises(),
    })
}
