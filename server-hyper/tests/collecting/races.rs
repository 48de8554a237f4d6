//! Races between pushes and collections that other registries have lost, each in the order in which it was lost.

use std::time::Duration;

use http::Method;
use registry_core::Digest;
use registry_core::store::Reclaim as _;

use crate::house::{House, Stage, blob, image};
use crate::on_every_store;

on_every_store!(
    /// zot#77: deleting a manifest cleaned its repository there and then, and took the blobs of a push that was on its
    /// way: they begin their life with nothing that points at them. Here a delete collects nothing, and a pushed blob
    /// has its grace.
    zots_race_a_delete_does_not_take_the_blobs_of_a_push_on_its_way,
    async |house: House| {
        let (old, layer, config) = (house.content(), house.content(), house.content());
        let deleted = house.push_image("a", &[&old]).await;
        house.push_blob("a", &layer).await;
        assert_eq!(house.delete_manifest("a", &deleted).await, 202);
        house.collect().await;
        house.push_blob("a", &config).await;
        house.clock.advance(house.lifetimes.grace);
        house.collect().await;
        house.put("a", "v1", &image(&[&config, &layer], None)).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "v1").await;
    }
);

on_every_store!(
    /// zot#77 too: somebody asked with HEAD and was told that a layer is there; then the only manifest that named it was
    /// deleted and its blobs cleaned up, and the manifest that counted on the answer was refused. Here the answer is a
    /// promise that outlives what it was based on.
    zots_race_what_head_said_yes_to_outlives_the_manifest_that_held_it,
    async |house: House| {
        let (layer, config) = (house.content(), house.content());
        let only = house.push_image("a", &[&layer]).await;
        house.collect_for_a_week().await;
        assert!(house.has_blob("a", &Digest::sha256(&layer)).await);
        assert_eq!(house.delete_manifest("a", &only).await, 202);
        house.collect().await;
        house.clock.advance(house.lifetimes.grace);
        house.collect().await;
        house.push_blob("a", &config).await;
        house.put("a", "v1", &image(&[&config, &layer], None)).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "v1").await;
    }
);

on_every_store!(
    /// Quay (PROJQUAY-12413): an upload ended with 201 on a blob that a collector had already chosen; that deleted it
    /// milliseconds later, and the manifest was refused as naming an unknown blob. Here publishing revives what is
    /// condemned and leaves a promise in the same transaction, and the collector's transaction then does not hold.
    quays_race_a_collector_that_chose_a_blob_before_its_upload_ended_lets_go_of_it,
    async |house: House| {
        let (layer, config) = (house.content(), house.content());
        house.push_blob("a", &layer).await;
        house.bring_to(Stage::Condemned).await;
        house.push_blob("b", &config).await;
        house.clock.advance(house.lifetimes.second_delay + Duration::from_secs(60));
        let chosen = house.records.due(None, 10).await.unwrap();
        assert!(!chosen.is_empty());
        house.push_blob("b", &layer).await;
        for entry in &chosen {
            house.records.collect(entry).await.unwrap();
        }
        house.collect().await;
        house.put("b", "v1", &image(&[&config, &layer], None)).await;
        house.collect_for_a_week().await;
        house.assert_pulls("b", "v1").await;
    }
);

on_every_store!(
    /// harbor#23116: a layer that had long been there for one project was counted on by a push to another, and taken by
    /// the collection because it had not been touched for longer than the safety window. Here no age counts: whoever is
    /// told that it exists, by mount or by HEAD, holds it for the grace, and the manifest for as long as it lives.
    harbor_23116_an_old_layer_is_held_by_whoever_was_told_of_it_last,
    async |house: House| {
        let (base, config) = (house.content(), house.content());
        let old = house.push_image("a", &[&base]).await;
        house.collect_for_a_week().await;
        assert!(house.mount("b", &Digest::sha256(&base), "a").await);
        assert_eq!(house.delete_manifest("a", &old).await, 202);
        assert_eq!(house.delete(&blob("a", &Digest::sha256(&base))).await, 202);
        house.collect().await;
        house.clock.advance(house.lifetimes.grace);
        house.collect().await;
        house.push_blob("b", &config).await;
        house.put("b", "v1", &image(&[&config, &base], None)).await;
        house.collect_for_a_week().await;
        house.assert_pulls("b", "v1").await;
    }
);

on_every_store!(
    /// distribution#3743, #4269 and #1803: after a collection the registry still believed from a cache that the layers
    /// were there, told a re-push so, and could not give them out. Here existence is read from the records, and a yes is
    /// said only while the bytes are there.
    distribution_3743_a_push_after_its_collection_brings_everything_back,
    async |house: House| {
        let (config, layer) = (house.content(), house.content());
        let pushed = house.push_image("a", &[&config, &layer]).await;
        house.put("a", "latest", &pushed).await;
        house.assert_pulls("a", "latest").await;
        assert_eq!(house.delete_manifest("a", &pushed).await, 202);
        house.collect_for_a_week().await;
        for content in [&config, &layer] {
            let digest = Digest::sha256(content);
            assert!(!house.is_recorded(&digest).await, "it is collected");
            assert!(!house.has_blob("a", &digest).await);
        }
        assert_eq!(house.status("a", pushed.digest).await, 404);
        house.push_image("a", &[&config, &layer]).await;
        house.put("a", "latest", &pushed).await;
        house.assert_pulls("a", "latest").await;
    }
);

on_every_store!(
    /// distribution#3045: a collection during a push took the layers that had been pushed so far, and the push succeeded
    /// all the same. Here a collection may run between any two requests of a push.
    distribution_3045_a_collection_between_any_two_requests_of_a_push_harms_nothing,
    async |house: House| {
        let contents = [house.content(), house.content(), house.content()];
        for content in &contents {
            let digest = Digest::sha256(content);
            house.collect().await;
            let begun = house.ask(Method::POST, "/v2/a/blobs/uploads/", "", "").await;
            assert_eq!(begun.status, 202);
            let location = begun.headers["location"].to_str().unwrap().to_owned();
            house.collect().await;
            let (first, rest) = content.split_at(content.len() / 2);
            let octets = "application/octet-stream";
            let sent = house
                .ask(Method::PATCH, &location, octets, bytes::Bytes::copy_from_slice(first))
                .await;
            assert_eq!(sent.status, 202);
            // As long as an upload may rest, but for a moment.
            house.clock.advance(house.lifetimes.upload_idle - Duration::from_secs(1));
            house.collect().await;
            let joint = if location.contains('?') { '&' } else { '?' };
            let end = format!("{location}{joint}digest={digest}");
            let ended = house
                .ask(Method::PUT, &end, octets, bytes::Bytes::copy_from_slice(rest))
                .await;
            assert_eq!(ended.status, 201, "{:?}", ended.body);
            house.ensure_blob("a", content).await;
        }
        for content in &contents {
            house.ensure_blob("a", content).await;
        }
        house.collect().await;
        house.put("a", "v1", &image(&[&contents[0], &contents[1], &contents[2]], None)).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "v1").await;
    }
);
