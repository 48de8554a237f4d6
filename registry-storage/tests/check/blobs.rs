//! Harm to blobs, their bytes, and what holds or claims them.

use std::fs;
use std::os::unix::fs::FileExt;

use registry_core::Digest;
use registry_core::store::BlobStore;
use registry_storage::records::check::FindingKind as Kind;
use registry_storage::testkit::block_on;

use super::house::{CONFIG, LAYER, open};
use super::{config, finds, layer, unsealed};

#[test]
fn a_bit_flipped_in_a_file() {
    finds(Kind::BytesWrongDigest, true, async |house| {
        let file = unsealed(house, &layer()).await;
        file.write_all_at(&[LAYER[0] ^ 1], 777).unwrap();
        layer().to_string()
    });
}

#[test]
fn a_bit_flipped_in_a_file_is_left_to_the_deep_check() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let file = unsealed(&house, &layer()).await;
        file.write_all_at(&[LAYER[0] ^ 1], 777).unwrap();
        let (findings, report) = house.check(false).await;
        assert_eq!((findings.len(), report.hashed), (0, 0));
    });
}

#[test]
fn a_file_that_was_cut_short() {
    finds(Kind::BytesWrongSize, false, async |house| {
        unsealed(house, &layer()).await.set_len(39_999).unwrap();
        "39999 bytes".to_owned()
    });
}

#[test]
fn a_file_that_is_gone() {
    finds(Kind::BytesMissing, false, async |house| {
        fs::remove_file(house.file(&layer()).await).unwrap();
        layer().to_string()
    });
}

#[test]
fn a_blob_whose_bytes_cannot_be_read() {
    finds(Kind::BytesUnreadable, true, async |house| {
        let path = house.file(&layer()).await;
        fs::remove_file(&path).unwrap();
        // Of the right length is what nobody can read; a directory has some length, so the record is given that.
        fs::create_dir(&path).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        house
            .replace(&format!("blob/{}", layer()), "40000", &length.to_string())
            .await;
        layer().to_string()
    });
}

#[test]
fn a_file_that_nothing_names() {
    finds(Kind::OrphanFile, false, async |house| {
        let name = "ab0123456789abcdef0123456789abcd";
        fs::create_dir_all(house.directory.join("blobs/ab")).unwrap();
        fs::write(house.directory.join("blobs/ab").join(name), "lost").unwrap();
        assert!(!house.bytes.list(None, 100).await.unwrap().is_empty());
        name.to_owned()
    });
}

#[test]
fn a_blob_marked_as_lost_whose_bytes_are_there() {
    finds(Kind::Suspect, true, async |house| {
        house
            .replace(
                &format!("blob/{}", layer()),
                "\"state\"",
                "\"suspect\":true,\"state\"",
            )
            .await;
        layer().to_string()
    });
}

#[test]
fn inline_bytes_that_changed() {
    finds(Kind::BytesWrongDigest, true, async |house| {
        let mut bytes = CONFIG.to_vec();
        bytes[3] ^= 1;
        house.set(&format!("inline/{}", config()), bytes).await;
        config().to_string()
    });
}

#[test]
fn inline_bytes_that_are_gone() {
    finds(Kind::BytesMissing, false, async |house| {
        house.delete(&format!("inline/{}", config())).await;
        config().to_string()
    });
}

#[test]
fn inline_bytes_of_a_blob_that_is_not_kept_there() {
    finds(Kind::InlineSurplus, false, async |house| {
        house.set(&format!("inline/{}", layer()), "bytes").await;
        layer().to_string()
    });
}

#[test]
fn edges_and_leases_on_a_blob_without_a_record() {
    for kind in [Kind::EdgeWithoutBlob, Kind::LeaseWithoutBlob] {
        finds(kind, false, async |house| {
            house.delete(&format!("blob/{}", layer())).await;
            layer().to_string()
        });
    }
}

#[test]
fn a_blob_that_nothing_needs_and_no_queue_holds() {
    finds(Kind::Unqueued, false, async |house| {
        let blob = Digest::sha256(&[1; 20_000]);
        for key in house.keys("pending/").await {
            if key.ends_with(&blob.to_string()) {
                house.delete(&key).await;
            }
        }
        blob.to_string()
    });
}

#[test]
fn a_claim_that_would_never_expire_and_an_expiry_of_no_claim() {
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = house.key("expiry/").await;
        house.delete(&key).await;
        key
    });
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = house.key("upload/").await;
        house.delete(&key).await;
        key["upload/".len()..].to_owned()
    });
}

#[test]
fn a_claim_on_the_location_of_a_blob() {
    finds(Kind::LocationShared, false, async |house| {
        let blob: serde_json::Value =
            serde_json::from_str(&house.value(&format!("blob/{}", layer())).await).unwrap();
        let key = house.key("upload/").await;
        let mut claim: serde_json::Value = serde_json::from_str(&house.value(&key).await).unwrap();
        claim["location"] = blob["location"].clone();
        house.set(&key, claim.to_string()).await;
        blob["location"]["file"].as_str().unwrap().to_owned()
    });
}

#[test]
fn two_blobs_at_one_location() {
    finds(Kind::LocationShared, false, async |house| {
        let other = format!("blob/{}", Digest::sha256(&[1; 20_000]));
        house
            .set(&other, house.value(&format!("blob/{}", layer())).await)
            .await;
        "where another blob is too".to_owned()
    });
}

#[test]
fn a_location_that_is_doomed_and_a_blobs_or_a_claims() {
    for key in [format!("blob/{}", layer()), "upload/".to_owned()] {
        finds(Kind::DoomedButNamed, false, async |house| {
            let named: serde_json::Value =
                serde_json::from_str(&house.value(&house.key(&key).await).await).unwrap();
            let location = &named["location"];
            let doomed = format!("doomed/file:{}", location["file"].as_str().unwrap());
            house
                .set(
                    &doomed,
                    format!(r#"{{"v":1,"location":{location},"not_before":1}}"#),
                )
                .await;
            doomed
        });
    }
}
