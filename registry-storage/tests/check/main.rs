//! What the check of a store finds, and that it finds nothing in a sound one.

mod beside;
mod corruptions;
mod house;
mod scene;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};

use registry_core::Digest;
use registry_core::store::BlobStore;
use registry_storage::records::check::FindingKind as Kind;
use registry_storage::testkit::block_on;

use house::{CONFIG, House, LAYER, OCI, assert_found, image, open};

/// Does harm to a store that is sound otherwise; the check must find it, name it, and find nothing without it.
#[track_caller]
fn finds(kind: Kind, deep: bool, harm: impl AsyncFnOnce(&House) -> String) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let (before, _) = house.check(true).await;
        assert_eq!(before, [], "before any harm");
        let naming = harm(&house).await;
        let (findings, _) = house.check(deep).await;
        assert_found(&findings, kind, &naming);
    });
}

fn layer() -> Digest {
    Digest::sha256(LAYER)
}

fn config() -> Digest {
    Digest::sha256(CONFIG)
}

fn manifest() -> Digest {
    Digest::sha256(image(LAYER, "").as_bytes())
}

/// Opens a blob's file for harm, sealed as it is.
async fn unsealed(house: &House, digest: &Digest) -> fs::File {
    let path = house.file(digest).await;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_sound_store_has_no_findings_at_any_time_of_its_life() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        assert_eq!(house.check(true).await.0, [], "empty");
        house.fill().await;
        let (findings, report) = house.check(true).await;
        assert_eq!(findings, []);
        assert!(
            report.records > 50 && report.blobs == 3 && report.files >= 2,
            "{report:?}"
        );
        assert_eq!(report.hashed, 40_000 + 20_000 + CONFIG.len() as u64);
        // Cleaning up a deleted repository, piece by piece.
        use registry_core::store::Reclaim;
        while house.records.sweep_repositories(1).await.unwrap() {
            assert_eq!(house.check(false).await.0, [], "in the middle of a sweep");
        }
        assert_eq!(house.check(true).await.0, [], "after the sweep");
    });
}

#[test]
fn a_store_with_a_trash_has_no_findings_whatever_is_left_in_pieces() {
    use registry_core::store::{Reclaim, Undo};
    use registry_core::{Children, Context, PutManifest, Registry};
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        house.push("trash", LAYER).await;
        let layers: Vec<String> = (0..620)
            .map(|n| {
                let digest = Digest::sha256(format!("never pushed {n}").as_bytes());
                format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":9}}"#)
            })
            .collect();
        let (digest, size) = (layer(), LAYER.len());
        let large = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","digest":"{digest}","size":{size}}},"layers":[{}]}}"#,
            layers.join(",")
        );
        let mut put = PutManifest::tagged("large".parse().unwrap(), OCI, large);
        put.options.children = Children::Deferred;
        let large = house.put("trash", put).await;
        let small = PutManifest::tagged("small".parse().unwrap(), OCI, image(LAYER, ""));
        house.push("trash", CONFIG).await;
        let small = house.put("trash", small).await;
        let (ctx, name) = (Context::system(), "trash".parse().unwrap());
        for round in 0..2 {
            for digest in [small, large] {
                house
                    .registry
                    .delete_manifest(&ctx, &name, &digest)
                    .await
                    .unwrap();
            }
            assert_eq!(house.check(true).await.0, [], "deleted, {round}");
            while house.records.sweep_manifests(1).await.unwrap() {
                assert_eq!(house.check(true).await.0, [], "between two pieces, {round}");
            }
            assert_eq!(house.check(true).await.0, [], "in the trash, {round}");
            for digest in [small, large] {
                match round {
                    0 => drop(house.records.undelete(&ctx, &name, &digest, None).await.unwrap()),
                    _ => house.records.purge(&ctx, &name, &digest).await.unwrap(),
                }
                assert_eq!(house.check(true).await.0, [], "afterwards, {round}");
            }
        }
        while house.records.sweep_manifests(1).await.unwrap() {
            assert_eq!(house.check(true).await.0, [], "between two purged pieces");
        }
        assert_eq!(house.check(true).await.0, [], "purged");
    });
}

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
fn a_record_with_a_flipped_bit_and_all_that_are_sound_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let records = house.check(false).await.1.records;
        let key = house.key("tag/").await;
        drop(house);
        // All versions of the record that the engine's file has.
        let path = directory.path().join("records/data.mdb");
        let mut file = fs::read(&path).unwrap();
        let needle = [b"\x01", key.as_bytes()].concat();
        let places: Vec<usize> = (0..file.len() - needle.len())
            .filter(|at| file[*at..].starts_with(&needle))
            .collect();
        assert!(!places.is_empty());
        for at in places {
            // Behind the key: the checksum, the stamp, then the value.
            file[at + needle.len() + 14] ^= 4;
        }
        fs::write(&path, file).unwrap();

        let house = open(directory.path());
        let (findings, report) = house.check(false).await;
        assert_found(&findings, Kind::DamagedRecord, &key);
        assert_eq!(findings.len(), 1, "told once: {findings:#?}");
        assert_eq!(report.records, records - 1, "all others were looked at");
    });
}

#[test]
fn a_record_that_means_nothing() {
    finds(Kind::DamagedRecord, false, async |house| {
        let key = house.key("manifest/").await;
        house.set(&key, "{}").await;
        key
    });
}

#[test]
fn a_key_that_means_nothing() {
    finds(Kind::DamagedRecord, false, async |house| {
        house.set("lease/sha256:12/0/x", "{\"v\":1}").await;
        "lease/sha256:12/0/x".to_owned()
    });
}

#[test]
fn a_record_of_a_newer_format() {
    finds(Kind::DamagedRecord, false, async |house| {
        let key = house.key("doomed/").await;
        house.replace(&key, "\"v\":1", "\"v\":9").await;
        "newer version".to_owned()
    });
}

#[test]
fn a_name_whose_id_is_anothers() {
    finds(Kind::RepositoryDisagrees, false, async |house| {
        let (app, gone) = (house.id("a/app").await, house.id("b/gone").await);
        house.replace("repository/a/app", &app, &gone).await;
        "a/app".to_owned()
    });
}

#[test]
fn records_of_a_repository_that_is_gone() {
    finds(Kind::RepositoryUnknown, false, async |house| {
        let id = house.id("a/app").await;
        house.delete(&format!("named/{id}")).await;
        id
    });
}

#[test]
fn a_manifest_without_bytes() {
    finds(Kind::ManifestWithoutContent, false, async |house| {
        house
            .delete(&format!("content/{}/{}", house.id("a/app").await, manifest()))
            .await;
        manifest().to_string()
    });
}

#[test]
fn a_manifests_bytes_and_children_without_the_manifest() {
    for table in ["content", "children"] {
        finds(Kind::ContentWithoutManifest, false, async |house| {
            house
                .delete(&format!("manifest/{}/{}", house.id("a/app").await, manifest()))
                .await;
            format!("{table}/{}", house.id("a/app").await)
        });
    }
}

#[test]
fn a_manifest_whose_bytes_are_another_manifests() {
    finds(Kind::ManifestWrongDigest, false, async |house| {
        let key = format!("content/{}/{}", house.id("a/app").await, manifest());
        house.set(&key, image(LAYER, " ")).await;
        manifest().to_string()
    });
}

#[test]
fn a_manifest_of_another_size_than_its_record_says() {
    finds(Kind::ManifestWrongSize, false, async |house| {
        let key = format!("manifest/{}/{}", house.id("a/app").await, manifest());
        house.replace(&key, "\"size\":", "\"size\":1").await;
        manifest().to_string()
    });
}

#[test]
fn a_manifest_whose_list_of_children_is_another_or_gone() {
    finds(Kind::ManifestDisagrees, false, async |house| {
        let key = format!("children/{}/{}", house.id("a/app").await, manifest());
        house.set(&key, r#"{"blobs":[],"manifests":[]}"#).await;
        manifest().to_string()
    });
    finds(Kind::ManifestDisagrees, false, async |house| {
        house
            .delete(&format!("children/{}/{}", house.id("a/app").await, manifest()))
            .await;
        manifest().to_string()
    });
}

#[test]
fn an_index_whose_child_is_gone() {
    finds(Kind::ChildMissing, false, async |house| {
        house
            .delete(&format!("manifest/{}/{}", house.id("a/app").await, manifest()))
            .await;
        manifest().to_string()
    });
}

#[test]
fn a_required_child_without_its_edge() {
    for table in ["edge", "parent"] {
        finds(Kind::EdgeMissing, false, async |house| {
            let id = house.id("a/app").await;
            let key = match table {
                "edge" => house.key(&format!("edge/{}/{id}/", layer())).await,
                _ => house.key(&format!("parent/{id}/{}/", manifest())).await,
            };
            house.delete(&key).await;
            key
        });
    }
}

#[test]
fn a_deferred_child_without_its_edge() {
    finds(Kind::EdgeMissing, false, async |house| {
        let child = Digest::sha256(b"not here either");
        let key = house.key(&format!("deferred/{child}/")).await;
        house.delete(&key).await;
        child.to_string()
    });
}

#[test]
fn an_edge_of_a_put_that_nothing_knows() {
    for table in ["edge", "deferred"] {
        finds(Kind::EdgeSurplus, false, async |house| {
            let key = format!("{table}/{}/{}/{:032x}", layer(), house.id("a/app").await, 7);
            house
                .set(&key, format!(r#"{{"v":1,"manifest":"{}"}}"#, manifest()))
                .await;
            key
        });
    }
}

#[test]
fn an_edge_for_a_manifest_that_names_something_else() {
    finds(Kind::EdgeSurplus, false, async |house| {
        let id = house.id("a/app").await;
        let edge = house.key(&format!("edge/{}/{id}/", layer())).await;
        let other = Digest::sha256(&[1; 20_000]);
        let key = edge.replace(&layer().to_string(), &other.to_string());
        house.set(&key, house.value(&edge).await).await;
        other.to_string()
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
fn a_tag_that_points_nowhere() {
    finds(Kind::TagToNowhere, false, async |house| {
        let key = format!("tag/{}/v1", house.id("a/app").await);
        house
            .replace(&key, &manifest().to_string(), &layer().to_string())
            .await;
        "v1 in a/app".to_owned()
    });
}

#[test]
fn a_tag_that_its_manifest_does_not_know() {
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = format!("tagged/{}/{}/v1", house.id("a/app").await, manifest());
        house.delete(&key).await;
        key
    });
}

#[test]
fn an_index_of_tags_that_names_one_too_many() {
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = format!("tagged/{}/{}/v2", house.id("a/app").await, manifest());
        house.set(&key, "{\"v\":1}").await;
        "v2".to_owned()
    });
}

#[test]
fn a_referrer_that_is_not_listed_or_wrongly() {
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = house.key("referrer/").await;
        house.delete(&key).await;
        key
    });
    finds(Kind::IndexDisagrees, false, async |house| {
        let listed = house.key("referrer/").await;
        let key = listed.replace(&manifest().to_string(), &layer().to_string());
        house.set(&key, house.value(&listed).await).await;
        layer().to_string()
    });
    finds(Kind::IndexDisagrees, false, async |house| {
        let key = house.key("referrer/").await;
        house.replace(&key, OCI, "application/other").await;
        key
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

#[test]
fn leftovers_of_tables_that_are_not_known_are_only_read() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let records = house.check(false).await.1.records;
        for key in ["aaa", "later/x", "later/y", "tagger/z", "zzz"] {
            house.set(key, "anything").await;
        }
        let (findings, report) = house.check(false).await;
        assert_eq!((findings, report.records), (vec![], records + 5));
    });
}
