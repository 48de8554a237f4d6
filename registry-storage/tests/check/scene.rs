//! A store with images, indexes and what refers to them, and what clients do with all of it.

use registry_core::{Digest, PutManifest};
use serde_json::{Value, json};

use super::house::{House, INDEX, OCI};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn pick<T>(&mut self, from: Vec<T>, what: &str) -> T {
        assert!(!from.is_empty(), "nothing to choose from: {what}");
        let at = self.roll() as usize % from.len();
        from.into_iter().nth(at).unwrap()
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(content).to_string(), "size": content.len() })
}

/// What was pushed, to be pushed again.
#[derive(Default)]
pub(crate) struct Pushed {
    blobs: Vec<(&'static str, Vec<u8>)>,
    manifests: Vec<(&'static str, &'static str, String)>,
}

/// Images with layers of their own, indexes, and what refers to them, in two repositories.
pub(crate) async fn scene(house: &House, dice: &mut Dice) -> Pushed {
    house.fill().await;
    let mut pushed = Pushed::default();
    for (at, repository) in ["d/one", "d/two"].into_iter().enumerate() {
        let mut images = Vec::new();
        for n in 0..2 {
            let mut blob = async |length: u64| {
                let byte = dice.roll().to_le_bytes();
                let content: Vec<u8> = byte.into_iter().cycle().take(length as usize).collect();
                house.push(repository, &content).await;
                pushed.blobs.push((repository, content.clone()));
                content
            };
            let (config, layer) = (blob(100 + n).await, blob(20_000 + 1000 * n + at as u64).await);
            let image = json!({
                "schemaVersion": 2,
                "mediaType": OCI,
                "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
                "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
            })
            .to_string();
            house.tag(repository, &format!("v{n}"), OCI, image.clone()).await;
            let referrer = json!({
                "schemaVersion": 2,
                "mediaType": OCI,
                "config": descriptor("application/vnd.example.sbom", &config),
                "layers": [],
                "subject": descriptor(OCI, image.as_bytes()),
            })
            .to_string();
            house
                .put(repository, PutManifest::untagged(OCI, referrer.clone()))
                .await;
            pushed.manifests.push((repository, OCI, image.clone()));
            pushed.manifests.push((repository, OCI, referrer));
            images.push(descriptor(OCI, image.as_bytes()));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images }).to_string();
        house.tag(repository, "all", INDEX, index.clone()).await;
        pushed.manifests.push((repository, INDEX, index));
    }
    pushed
}

impl Pushed {
    /// Pushes everything once more, as clients do.
    pub(crate) async fn again(&self, house: &House) {
        for (repository, content) in &self.blobs {
            house.push(repository, content).await;
        }
        for (repository, media_type, content) in &self.manifests {
            house
                .put(repository, PutManifest::untagged(*media_type, content.clone()))
                .await;
        }
    }

    /// Reads everything as clients do, tags too.
    pub(crate) async fn pull(&self, house: &House) {
        for (repository, content) in &self.blobs {
            let read = house.pull_blob(repository, &Digest::sha256(content)).await;
            assert_eq!(read, *content, "a blob of {repository}");
        }
        for (repository, _, content) in &self.manifests {
            let digest = Digest::sha256(content.as_bytes());
            assert_eq!(
                house.pull(repository, &digest.to_string()).await,
                content.as_bytes()
            );
        }
        for repository in ["d/one", "d/two"] {
            for tag in ["v0", "v1", "all"] {
                house.pull(repository, tag).await;
            }
        }
    }
}

impl House {
    pub(crate) async fn json(&self, key: &str) -> Value {
        serde_json::from_str(&self.value(key).await).unwrap()
    }

    pub(crate) async fn put_json(&self, key: &str, value: &Value) {
        self.set(key, value.to_string()).await;
    }

    /// A key under a prefix in one of the repositories of the scene.
    pub(crate) async fn one_of(&self, dice: &mut Dice, table: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = Vec::new();
        for repository in ["d/one", "d/two"] {
            let id = self.id(repository).await;
            let keys = self.keys(&format!("{table}/")).await;
            found.extend(keys.into_iter().filter(|key| key.contains(&id) && wanted(key)));
        }
        dice.pick(found, table)
    }

    /// A blob of the scene, in a file or inside the records.
    pub(crate) async fn a_blob(&self, dice: &mut Dice, inline: bool) -> Digest {
        let mut found = Vec::new();
        for repository in ["d/one", "d/two"] {
            let id = self.id(repository).await;
            for key in self.keys("edge/").await.iter().filter(|key| key.contains(&id)) {
                let digest: Digest = key.split('/').nth(1).unwrap().parse().unwrap();
                let record = self.json(&format!("blob/{digest}")).await;
                if (record["location"] == "inline") == inline {
                    found.push(digest);
                }
            }
        }
        found.sort();
        found.dedup();
        dice.pick(found, "blobs")
    }
}
