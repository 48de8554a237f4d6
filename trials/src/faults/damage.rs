//! Bytes that are not what was written.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::client::{Content, Ledger, Pushed};
use super::{Place, Result, Scenario, Seen, failed};

/// What happens to a blob's file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Flipped,
    Zeroed,
    Truncated,
    Gone,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Vec::new();
    for (damage, setting) in [
        (Damage::Flipped, "full"),
        (Damage::Zeroed, "full"),
        (Damage::Truncated, "sampled"),
        (Damage::Gone, "sampled"),
        (Damage::Truncated, "off"),
        (Damage::Gone, "off"),
    ] {
        for restarted in [false, true] {
            let when = if restarted {
                "before a start"
            } else {
                "while serving"
            };
            all.push((
                format!("a blob file {damage:?} {when}, verify {setting}").to_lowercase(),
                Box::new(move |place| blob(place, damage, setting, restarted)),
            ));
        }
    }
    all.push((
        "an inline blob flipped while serving".to_owned(),
        Box::new(inline),
    ));
    all.push(("a manifest flipped while serving".to_owned(), Box::new(manifest)));
    all
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

fn damage_file(place: &Place, content: &Content, damage: Damage) -> Result<()> {
    let all = files(&place.data().join("blobs"))?;
    let path = all
        .into_iter()
        .find(|path| fs::read(path).is_ok_and(|bytes| bytes == content.bytes))
        .ok_or_else(|| failed("the blob's file is nowhere"))?;
    if damage == Damage::Gone {
        return Ok(fs::remove_file(path)?);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let file = fs::File::options().write(true).open(&path)?;
    let middle = content.bytes.len() / 2;
    match damage {
        Damage::Flipped => file.write_all_at(&[content.bytes[middle] ^ 4], middle as u64)?,
        Damage::Zeroed => file.write_all_at(&[0; 4096], middle as u64)?,
        Damage::Truncated | Damage::Gone => file.set_len(middle as u64)?,
    }
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o444))?)
}

/// Flips a bit wherever `bytes` stand in the file of the records.
fn damage_records(place: &Place, bytes: &[u8]) -> Result<u64> {
    let path = place.data().join("records/data.mdb");
    let content = fs::read(&path)?;
    let file = fs::File::options().write(true).open(&path)?;
    let mut flipped = 0;
    let mut from = 0;
    while let Some(at) = find(&content[from..], bytes) {
        let at = from + at + bytes.len() / 2;
        file.write_all_at(&[content[at] ^ 4], at as u64)?;
        flipped += 1;
        from = at;
    }
    Ok(flipped)
}

fn find(content: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut from = 0;
    while let Some(at) = content[from..].iter().position(|byte| byte == first) {
        if content[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The answers about a blob that is damaged, until it is pushed again.
fn refused_until_pushed(ledger: &mut Ledger, content: &Content) -> Result<u64> {
    // Whoever may push is told that it has to be pushed.
    let read = ledger.read("base/app", content)?;
    if read != 404 {
        return Err(failed(format!("a damaged blob is answered {read}")));
    }
    let head = ledger.head("base/app", content)?;
    if head != 404 {
        return Err(failed(format!("a pusher is told {head} of a damaged blob")));
    }
    let mount = format!(
        "/v2/other/app/blobs/uploads/?mount={}&from=base/app",
        content.digest
    );
    let mounted = ledger.ask("POST", &mount, "", b"")?;
    if mounted.status != 202 {
        return Err(failed(format!(
            "mounting a damaged blob is answered {}",
            mounted.status
        )));
    }
    ledger.must_push("base/app", content)?;
    ledger.verify()?;
    Ok(3)
}

fn blob(place: &Place, damage: Damage, setting: &str, restarted: bool) -> Result<Seen> {
    let setting = format!("blobs.verify={setting}");
    let settings = [setting.as_str()];
    let mut berth = place.start(&settings)?;
    let mut ledger = Ledger::new(berth.address);
    let (content, other) = (Content::new(1, 500_000), Content::new(2, 500_000));
    ledger.must_push("base/app", &content)?;
    ledger.must_push("base/app", &other)?;
    if let Pushed::Refused(status) = ledger.put("base/app", "v1", &content)? {
        return Err(failed(format!("a manifest was refused: {status}")));
    }
    match restarted {
        false => damage_file(place, &content, damage)?,
        true => {
            berth.kill()?;
            damage_file(place, &content, damage)?;
            berth = place.start(&settings)?;
            ledger.address = berth.address;
        }
    }
    if ledger.read("base/app", &other)? != 200 {
        return Err(failed("another blob is refused too"));
    }
    let refused = refused_until_pushed(&mut ledger, &content)?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &settings)?;
    Ok(Seen {
        faults: 1,
        refused,
        kept: ledger.promises(),
    })
}

fn inline(place: &Place) -> Result<Seen> {
    let berth = place.start(&["blobs.verify=off"])?;
    let mut ledger = Ledger::new(berth.address);
    let content = Content::new(1, 3_000);
    ledger.must_push("base/app", &content)?;
    if let Pushed::Refused(status) = ledger.put("base/app", "v1", &content)? {
        return Err(failed(format!("a manifest was refused: {status}")));
    }
    let faults = damage_records(place, &content.bytes[..1024])?;
    let refused = refused_until_pushed(&mut ledger, &content)?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults,
        refused,
        kept: ledger.promises(),
    })
}

fn manifest(place: &Place) -> Result<Seen> {
    let berth = place.start(&[])?;
    let mut ledger = Ledger::new(berth.address);
    let content = Content::new(1, 3_000);
    ledger.must_push("base/app", &content)?;
    for tag in ["v1", "v2"] {
        if let Pushed::Refused(status) = ledger.put("base/app", tag, &content)? {
            return Err(failed(format!("a manifest was refused: {status}")));
        }
    }
    let faults = damage_records(place, br#"{"tag":"v1"}"#)?;
    let reply = ledger.ask("GET", "/v2/base/app/manifests/v1", "", b"")?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.status != 500 || !text.contains("push it again") {
        return Err(failed(format!(
            "a damaged manifest is answered {}: {text}",
            reply.status
        )));
    }
    ledger
        .ask("GET", "/v2/base/app/manifests/v2", "", b"")?
        .expect(200)?;
    if let Pushed::Refused(status) = ledger.put("base/app", "v1", &content)? {
        return Err(failed(format!(
            "putting a damaged manifest again is answered {status}"
        )));
    }
    ledger.verify()?;
    let _berth = place.crash_and_verify(berth, &mut ledger, &[])?;
    Ok(Seen {
        faults,
        refused: 1,
        kept: ledger.promises(),
    })
}
