//! Every kind of corruption, at a place that a seed chooses, in a store with some of everything: it is found and named,
//! nothing else is, and what can be repaired without guessing is.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use registry_core::Digest;
use registry_core::store::Location;
use registry_storage::records::check::{Finding, FindingKind as Kind, Options, Repair};
use registry_storage::testkit::block_on;
use serde_json::json;

use super::house::{House, flip_value, open};
use super::scene::{Dice, scene};

/// How many seeds each corruption is tried with, unless the environment says otherwise: 3 take three times as long.
const SEEDS: u64 = 1;

/// What becomes of a corruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// A repair makes the store whole, and nothing is left to be told.
    Whole,
    /// A repair marks a blob as lost, and the next push of it makes the store whole.
    ByPush,
    /// Nothing that is there tells how it was: it is named, with what to do.
    Named,
}

/// One line for each: what is done to the store, as what it is found, and what becomes of it.
macro_rules! corruptions {
    ($($name:ident $kind:ident $ends:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Corruption { $($name,)* }

        const CORRUPTIONS: &[(Corruption, Kind, Ends)] =
            &[$((Corruption::$name, Kind::$kind, Ends::$ends),)*];
    };
}

corruptions! {
    BitFlip                BytesWrongDigest        ByPush,
    BitFlipInline          BytesWrongDigest        ByPush,
    Truncation             BytesWrongSize          ByPush,
    LostFile               BytesMissing            ByPush,
    LostInlineBytes        BytesMissing            ByPush,
    WrongSize              BytesWrongSize          Whole,
    BlobRecordMissing      EdgeWithoutBlob         Whole,
    InlineRecordMissing    InlineSurplus           Whole,
    SharedLocation         LocationShared          Whole,
    ClaimOnABlob           LocationShared          Whole,
    Orphan                 OrphanFile              Whole,
    DoomedButPresent       DoomedButNamed          Whole,
    DoomedMisnames         DamagedRecord           Whole,
    EdgeMissing            EdgeMissing             Whole,
    EdgeSurplus            EdgeSurplus             Whole,
    DeferredMissing        EdgeMissing             Whole,
    ParentMissing          EdgeMissing             Whole,
    ParentSurplus          EdgeSurplus             Whole,
    QueueEntryMissing      Unqueued                Whole,
    StaleClaim             ClaimStale              Whole,
    ExpiryMissing          IndexDisagrees          Whole,
    ExpiryOfNothing        IndexDisagrees          Whole,
    ManifestMissing        ContentWithoutManifest  Whole,
    ManifestWrongSize      ManifestWrongSize       Whole,
    ContentMissing         ManifestWithoutContent  Named,
    ContentOfAnother       ManifestWrongDigest     Named,
    ChildrenMissing        ManifestDisagrees       Whole,
    SubjectMissing         ManifestDisagrees       Whole,
    ReferrerMissing        IndexDisagrees          Whole,
    TagToNowhere           TagToNowhere            Named,
    MirrorMissing          IndexDisagrees          Whole,
    MirrorSurplus          IndexDisagrees          Whole,
    NameMissing            RepositoryDisagrees     Whole,
    IdMissing              RepositoryDisagrees     Whole,
    CounterNegative        CounterWrong            Named,
    FlippedBitInATag       DamagedRecord           Whole,
}

/// Does the harm. Gives texts of which every finding must have one: what it is about.
async fn harm(house: &House, dice: &mut Dice, what: Corruption) -> Vec<String> {
    let file = async |digest: &Digest| {
        let path = house.file(digest).await;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    };
    let layer = house.a_blob(dice, false).await;
    let config = house.a_blob(dice, true).await;
    let of_layer = format!("blob/{layer}");
    let edge_to_layer = house
        .one_of(dice, "edge", |key| key.contains(&layer.to_string()))
        .await;
    let about = |digest: &Digest| vec![digest.to_string()];
    match what {
        Corruption::BitFlip => {
            let file = file(&layer).await;
            let at = dice.roll() % file.metadata().unwrap().len();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << (dice.roll() % 8))], at)
                .unwrap();
            about(&layer)
        }
        Corruption::BitFlipInline => {
            let key = format!("inline/{config}");
            let mut bytes = house.value_bytes(&key).await;
            let at = dice.roll() as usize % bytes.len();
            bytes[at] ^= 1 << (dice.roll() % 8);
            house.set(&key, bytes).await;
            about(&config)
        }
        Corruption::Truncation => {
            let file = file(&layer).await;
            file.set_len(dice.roll() % file.metadata().unwrap().len())
                .unwrap();
            about(&layer)
        }
        Corruption::LostFile => {
            fs::remove_file(house.file(&layer).await).unwrap();
            about(&layer)
        }
        Corruption::LostInlineBytes => {
            house.delete(&format!("inline/{config}")).await;
            about(&config)
        }
        Corruption::WrongSize => {
            let mut record = house.json(&of_layer).await;
            record["size"] = json!(record["size"].as_u64().unwrap() + 1 + dice.roll() % 1000);
            house.put_json(&of_layer, &record).await;
            about(&layer)
        }
        Corruption::BlobRecordMissing => {
            let location = house.json(&of_layer).await["location"]["file"].clone();
            house.delete(&of_layer).await;
            vec![layer.to_string(), location.as_str().unwrap().to_owned()]
        }
        Corruption::InlineRecordMissing => {
            house.delete(&format!("blob/{config}")).await;
            about(&config)
        }
        Corruption::SharedLocation => {
            let lost = loop {
                let other = house.a_blob(dice, false).await;
                if other != layer {
                    break other;
                }
            };
            let key = format!("blob/{lost}");
            let before = house.json(&key).await["location"]["file"].clone();
            house.set(&key, house.value(&of_layer).await).await;
            // Nothing names the file that the record was about.
            vec![lost.to_string(), before.as_str().unwrap().to_owned()]
        }
        Corruption::ClaimOnABlob => {
            let key = house.key("upload/").await;
            let mut claim = house.json(&key).await;
            let before = claim["location"]["file"].clone();
            claim["location"] = house.json(&of_layer).await["location"].clone();
            house.put_json(&key, &claim).await;
            vec![
                key["upload/".len()..].to_owned(),
                before.as_str().unwrap().to_owned(),
            ]
        }
        Corruption::Orphan => {
            let name = format!("{:032x}", u128::from(dice.roll()));
            house.orphan(&name, b"lost");
            vec![name]
        }
        Corruption::DoomedButPresent => {
            let location = house.json(&of_layer).await["location"].clone();
            let name = location["file"].as_str().unwrap().to_owned();
            let doomed = json!({ "v": 1, "location": location, "not_before": 1 });
            house.put_json(&format!("doomed/file:{name}"), &doomed).await;
            vec![name]
        }
        Corruption::DoomedMisnames => {
            let key = house.key("doomed/").await;
            let mut doomed = house.json(&key).await;
            doomed["location"] = house.json(&of_layer).await["location"].clone();
            house.put_json(&key, &doomed).await;
            vec![key]
        }
        Corruption::EdgeMissing => {
            house.delete(&edge_to_layer).await;
            about(&layer)
        }
        Corruption::EdgeSurplus => {
            let (edge, _) = edge_to_layer.rsplit_once('/').unwrap();
            let key = format!("{edge}/{:032x}", dice.roll());
            house.set(&key, house.value(&edge_to_layer).await).await;
            vec![key]
        }
        Corruption::DeferredMissing => {
            let key = dice.pick(house.keys("deferred/").await, "deferred");
            house.delete(&key).await;
            vec![key.split('/').nth(1).unwrap().to_owned()]
        }
        Corruption::ParentMissing => {
            let key = house.one_of(dice, "parent", |_| true).await;
            house.delete(&key).await;
            vec![key]
        }
        Corruption::ParentSurplus => {
            let key = house.one_of(dice, "parent", |_| true).await;
            let (parents, _) = key.rsplit_once('/').unwrap();
            let surplus = format!("{parents}/{:032x}", dice.roll());
            house.set(&surplus, house.value(&key).await).await;
            vec![surplus]
        }
        Corruption::QueueEntryMissing => {
            // What `fill` pushed and no manifest names.
            let blob = Digest::sha256(&[1; 20_000]);
            for key in house.keys("pending/").await {
                if key.ends_with(&blob.to_string()) {
                    house.delete(&key).await;
                }
            }
            about(&blob)
        }
        Corruption::StaleClaim => {
            let key = house.key("upload/").await;
            let id = &key["upload/".len()..];
            let mut claim = house.json(&key).await;
            let expires = claim["expires"].as_u64().unwrap();
            house.delete(&format!("expiry/{expires:016}/{id}")).await;
            claim["expires"] = json!(1);
            house.put_json(&key, &claim).await;
            house.set(&format!("expiry/{:016}/{id}", 1), "{\"v\":1}").await;
            vec![key.clone()]
        }
        Corruption::ExpiryMissing => {
            let key = house.key("expiry/").await;
            house.delete(&key).await;
            vec![key]
        }
        Corruption::ExpiryOfNothing => {
            let key = format!("expiry/{:016}/{:032x}", dice.roll() % 1_000_000, dice.roll());
            house.set(&key, "{\"v\":1}").await;
            vec![key]
        }
        Corruption::ManifestMissing => {
            let key = house.one_of(dice, "manifest", |_| true).await;
            house.delete(&key).await;
            vec![key.rsplit('/').next().unwrap().to_owned()]
        }
        Corruption::ManifestWrongSize => {
            let key = house.one_of(dice, "manifest", |_| true).await;
            house.replace(&key, "\"size\":", "\"size\":7").await;
            vec![key]
        }
        Corruption::ContentMissing => {
            let key = house.one_of(dice, "content", |_| true).await;
            house.delete(&key).await;
            vec![key.rsplit('/').next().unwrap().to_owned()]
        }
        Corruption::ContentOfAnother => {
            let key = house.one_of(dice, "content", |_| true).await;
            house.set(&key, "{}").await;
            vec![key.rsplit('/').next().unwrap().to_owned()]
        }
        Corruption::ChildrenMissing => {
            let key = house.one_of(dice, "children", |_| true).await;
            house.delete(&key).await;
            vec![key.rsplit('/').next().unwrap().to_owned()]
        }
        Corruption::SubjectMissing => {
            let referrer = house.one_of(dice, "referrer", |_| true).await;
            let parts: Vec<&str> = referrer.split('/').collect();
            let key = format!("manifest/{}/{}", parts[1], parts[3]);
            let mut record = house.json(&key).await;
            record.as_object_mut().unwrap().remove("subject");
            house.put_json(&key, &record).await;
            vec![parts[3].to_owned()]
        }
        Corruption::ReferrerMissing => {
            let key = house.one_of(dice, "referrer", |_| true).await;
            house.delete(&key).await;
            vec![key]
        }
        Corruption::TagToNowhere => {
            let key = house.one_of(dice, "tag", |_| true).await;
            let mut tag = house.json(&key).await;
            let mirror = {
                let parts: Vec<&str> = key.split('/').collect();
                format!(
                    "tagged/{}/{}/{}",
                    parts[1],
                    tag["digest"].as_str().unwrap(),
                    parts[2]
                )
            };
            tag["digest"] = json!(layer.to_string());
            house.put_json(&key, &tag).await;
            // The index of tags tells of the same.
            vec![key, mirror, layer.to_string()]
        }
        Corruption::MirrorMissing => {
            let key = house.one_of(dice, "tagged", |_| true).await;
            house.delete(&key).await;
            vec![key]
        }
        Corruption::MirrorSurplus => {
            let key = house.one_of(dice, "tagged", |_| true).await + "x";
            house.set(&key, "{\"v\":1}").await;
            vec![key]
        }
        Corruption::NameMissing => {
            let id = house.id("d/one").await;
            house.delete(&format!("named/{id}")).await;
            vec![id, "d/one".to_owned()]
        }
        Corruption::IdMissing => {
            let id = house.id("d/two").await;
            house.delete("repository/d/two").await;
            vec![format!("named/{id}")]
        }
        Corruption::CounterNegative => {
            house
                .set("counter/project/7/bytes/03", r#"{"v":1,"amount":-5}"#)
                .await;
            house
                .set("counter/project/7/bytes/04", r#"{"v":1,"amount":2}"#)
                .await;
            vec!["project/7/bytes".to_owned()]
        }
        Corruption::FlippedBitInATag => unreachable!("done to the file of a store that is closed"),
    }
}

fn is_about(finding: &Finding, about: &[String]) -> bool {
    about
        .iter()
        .any(|text| finding.message.contains(text) || finding.key.contains(text))
}

fn trial(what: Corruption, kind: Kind, ends: Ends, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let said = format!("{what:?}, seed {seed}");
    let looking = Options {
        deep: true,
        overdue: Some(Duration::from_secs(3600)),
        ..Options::default()
    };
    let repairing = Options {
        repair: true,
        ..looking
    };
    block_on(async {
        let mut dice = Dice(seed);
        let mut house = open(directory.path());
        let pushed = scene(&house, &mut dice).await;
        assert_eq!(house.check_as(looking).await.0, [], "{said}: before");
        let about = if what == Corruption::FlippedBitInATag {
            let key = house.one_of(&mut dice, "tag", |_| true).await;
            drop(house);
            flip_value(directory.path(), &key);
            house = open(directory.path());
            vec![key]
        } else {
            harm(&house, &mut dice, what).await
        };
        house.age();

        let (found, report) = house.check_as(looking).await;
        assert!(
            found.iter().any(|finding| finding.kind == kind),
            "{said}: {found:#?}"
        );
        for finding in &found {
            assert!(
                is_about(finding, &about),
                "{said}: {finding} is not about {about:?}"
            );
            assert!(!finding.advice.is_empty() && finding.repair != Repair::Done);
        }
        assert_eq!(report.repaired, 0, "{said}");
        assert_eq!(
            house.check_as(looking).await.0,
            found,
            "{said}: looking changes nothing"
        );

        let (repaired, report) = house.check_as(repairing).await;
        let is_lost = ends == Ends::ByPush;
        assert_eq!(report.lost > 0, is_lost, "{said}: {report:?}");
        assert!(!is_lost || !report.is_well(), "{said}");
        let done = repaired.iter().filter(|finding| finding.repair == Repair::Done);
        assert_eq!(report.repaired, done.count() as u64, "{said}");
        assert!(
            report.repaired > 0 || ends == Ends::Named,
            "{said}: {repaired:#?}"
        );
        let (left, report) = house.check_as(looking).await;
        let possible = left.iter().any(|finding| finding.repair == Repair::Possible);
        assert!(!possible, "{said}: a second repair has nothing to do: {left:#?}");
        match ends {
            Ends::Whole => assert!(left.is_empty() && report.is_well(), "{said}: {left:#?}"),
            Ends::ByPush => assert!(
                !left.is_empty() && left.iter().all(|finding| finding.kind == Kind::Suspect),
                "{said}: {left:#?}"
            ),
            Ends::Named => assert!(left.iter().any(|finding| finding.kind == kind), "{said}"),
        }
        match what {
            Corruption::Orphan => {
                assert!(house.is_doomed(&about[0]).await, "{said}");
                // Nobody but the collector unlinks it.
                let location = Location::File(format!("{}/{}", &about[0][..2], about[0]));
                use registry_core::store::BlobStore as _;
                assert_eq!(house.bytes.size(&location).await.unwrap(), Some(4), "{said}");
            }
            Corruption::TagToNowhere | Corruption::CounterNegative => return,
            _ => {}
        }
        if ends != Ends::Whole {
            pushed.again(&house).await;
            assert_eq!(house.check_as(looking).await.0, [], "{said}: pushed again");
        }
        pushed.pull(&house).await;
    });
}

#[test]
fn each_corruption_is_found_and_named_and_what_can_be_repaired_is() {
    let given = std::env::var("BERTH_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |given| given.parse().expect("a number of seeds"));
    for (what, kind, ends) in CORRUPTIONS {
        for seed in 0..seeds {
            trial(*what, *kind, *ends, seed);
        }
    }
}
