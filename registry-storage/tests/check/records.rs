//! Harm to records, and to what is said of manifests, tags and repositories.

use registry_core::Digest;
use registry_storage::records::check::FindingKind as Kind;
use registry_storage::testkit::block_on;

use super::house::{LAYER, OCI, assert_found, flip_value, image, open};
use super::{finds, layer, manifest};

#[test]
fn a_record_with_a_flipped_bit_and_all_that_are_sound_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let records = house.check(false).await.1.records;
        let key = house.key("tag/").await;
        drop(house);
        flip_value(directory.path(), &key);

        let house = open(directory.path());
        let (findings, report) = house.check(false).await;
        assert_found(&findings, Kind::DamagedRecord, &key);
        assert_found(&findings, Kind::WalkIncomplete, &key);
        // What lies there may have been of a table before, too.
        let told = 1 + report.incomplete.len();
        assert_eq!(findings.len(), told, "each told once: {findings:#?}");
        assert_eq!(report.records, records - 1, "all others were looked at");
        assert!(report.incomplete.contains_key("tag"), "{report:?}");
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
