//! What is pushed: groups of blobs and of the manifests that name them, in every repository the same ones.
//!
//! A group has three images, two indexes that share one of them, an index of an index, a signature of an image, a
//! signature of that signature, and a signature of the outermost index. Its last layer is a layer of the group before
//! it too, so that what one group's deletion lets go another may still hold.

use serde_json::{Value, json};

use crate::crash::content::{Blob, IMAGE_TYPE, INDEX_TYPE, INLINE_LIMIT, Manifest, described};
use crate::crash::random::Random;

/// Repositories.
pub const REPOSITORIES: usize = 3;
/// Groups of things that are pushed and deleted together.
pub const GROUPS: usize = 16;
/// Blobs of each group.
pub const BLOBS: usize = 8;
/// Tags of each group in each repository.
pub const TAGS: usize = 3;
/// Manifests of each group; whatever a manifest needs comes before it.
pub const MANIFESTS: usize = 9;

/// The blob of each group that the group before it names too.
const SHARED: usize = 6;
/// The blob that signatures have as their config.
const SIGNATURE: usize = 7;
/// Groups with a blob so long that reading it slowly keeps the server busy.
const LONG: usize = 3;

/// A manifest, and what it needs.
#[derive(Clone, Debug)]
pub struct Node {
    /// The manifest.
    pub manifest: Manifest,
    /// Blobs, by their number in the universe.
    pub blobs: Vec<usize>,
    /// Manifests of the same group.
    pub children: Vec<usize>,
    /// The manifest of the same group that this one is about.
    pub subject: Option<usize>,
}

/// Everything that one seed's trial can push.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Blobs; those of a group follow each other.
    pub blobs: Vec<Blob>,
    groups: Vec<Vec<Node>>,
    /// Of each blob the manifests that name it, by group and number.
    holders: Vec<Vec<(usize, usize)>>,
}

/// A repository's name.
pub fn repository(number: usize) -> String {
    format!("stress/r{number}")
}

/// A tag's name.
pub fn tag(group: usize, tag: usize) -> String {
    format!("g{group}-t{tag}")
}

impl Universe {
    /// The universe of a seed.
    pub fn new(seed: u64) -> Self {
        let blobs: Vec<Blob> = (0..GROUPS * BLOBS)
            .map(|blob| {
                let mut random = Random::of(&[seed, 2, blob as u64]);
                let key = random.number();
                Blob::new(key, size(blob, &mut random))
            })
            .collect();
        let groups: Vec<Vec<Node>> = (0..GROUPS).map(|group| nodes(group, &blobs)).collect();
        let mut holders = vec![Vec::new(); blobs.len()];
        for (group, nodes) in groups.iter().enumerate() {
            for (number, node) in nodes.iter().enumerate() {
                for blob in &node.blobs {
                    holders[*blob].push((group, number));
                }
            }
        }
        Universe {
            blobs,
            groups,
            holders,
        }
    }

    /// A manifest of a group.
    pub fn node(&self, group: usize, manifest: usize) -> &Node {
        &self.groups[group][manifest]
    }

    /// Which manifest of a group has this name.
    pub fn manifest_named(&self, group: usize, digest: &str) -> Option<usize> {
        self.groups[group]
            .iter()
            .position(|node| node.manifest.digest == digest)
    }

    /// Which blob has this name.
    pub fn blob_named(&self, digest: &str) -> Option<usize> {
        self.blobs.iter().position(|blob| blob.digest == digest)
    }

    /// The manifests that name a blob, by group and number.
    pub fn holders(&self, blob: usize) -> &[(usize, usize)] {
        &self.holders[blob]
    }

    /// The manifests of a group that are about one of them.
    pub fn referrers(&self, group: usize, subject: usize) -> impl Iterator<Item = usize> {
        let of_it = move |node: &Node| node.subject == Some(subject);
        (0..MANIFESTS).filter(move |manifest| of_it(self.node(group, *manifest)))
    }
}

/// Mostly on both sides of what is kept inside the records.
fn size(blob: usize, random: &mut Random) -> u64 {
    match blob % BLOBS {
        0..3 | SIGNATURE => 100 + random.below(2000),
        3 if blob / BLOBS < LONG => 6 << 20,
        _ => match random.below(4) {
            0 => INLINE_LIMIT - 2 + random.below(5),
            1 => random.below(INLINE_LIMIT),
            _ => INLINE_LIMIT + random.below(120 << 10),
        },
    }
}

/// A manifest that is being made.
struct Making<'a> {
    group: usize,
    blobs: &'a [Blob],
    nodes: Vec<Node>,
}

fn nodes(group: usize, blobs: &[Blob]) -> Vec<Node> {
    let mut making = Making {
        group,
        blobs,
        nodes: Vec::new(),
    };
    let own = |blob: usize| group * BLOBS + blob;
    let next = (group + 1) % GROUPS * BLOBS + SHARED;
    making.image(own(0), &[own(3), own(SHARED)], None);
    making.image(own(1), &[own(3), own(4), next], None);
    making.image(own(2), &[own(4), own(5), own(SHARED)], None);
    making.index(&[0, 1], None);
    making.index(&[1, 2], None);
    making.index(&[3, 2], None);
    making.image(own(SIGNATURE), &[own(5)], Some(0));
    making.image(own(SIGNATURE), &[next], Some(6));
    making.index(&[0], Some(5));
    making.nodes
}

impl Making<'_> {
    fn image(&mut self, config: usize, layers: &[usize], subject: Option<usize>) {
        let layer = |blob: &usize| described("application/vnd.oci.image.layer.v1.tar", &self.blobs[*blob]);
        let value = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": described("application/vnd.oci.image.config.v1+json", &self.blobs[config]),
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let blobs = std::iter::once(config).chain(layers.iter().copied()).collect();
        self.add(IMAGE_TYPE, value, blobs, Vec::new(), subject);
    }

    fn index(&mut self, children: &[usize], subject: Option<usize>) {
        let listed: Vec<Value> = children.iter().map(|child| self.descriptor(*child)).collect();
        let value = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed });
        self.add(INDEX_TYPE, value, Vec::new(), children.to_vec(), subject);
    }

    fn descriptor(&self, manifest: usize) -> Value {
        let manifest = &self.nodes[manifest].manifest;
        json!({ "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len() })
    }

    fn add(
        &mut self,
        media_type: &'static str,
        mut value: Value,
        blobs: Vec<usize>,
        children: Vec<usize>,
        subject: Option<usize>,
    ) {
        // Each group has manifests of its own, also where they name the same things.
        value["annotations"] = json!({ "group": self.group.to_string() });
        if let Some(subject) = subject {
            value["artifactType"] = json!("application/vnd.example.signature");
            value["subject"] = self.descriptor(subject);
        }
        self.nodes.push(Node {
            manifest: Manifest::new(media_type, &value),
            blobs,
            children,
            subject,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_needs_comes_before_it_and_knows_who_holds_it() {
        let universe = Universe::new(1);
        for group in 0..GROUPS {
            for number in 0..MANIFESTS {
                let node = universe.node(group, number);
                let needed = node.children.iter().chain(&node.subject);
                assert!(needed.copied().all(|needed| needed < number));
                for blob in &node.blobs {
                    assert!(universe.holders(*blob).contains(&(group, number)));
                }
            }
        }
    }

    #[test]
    fn neighbouring_groups_share_a_layer_and_no_manifest() {
        let universe = Universe::new(1);
        let shared = &universe.blobs[BLOBS + SHARED];
        let holders = universe.holders(universe.blob_named(&shared.digest).unwrap());
        assert!(holders.iter().any(|(group, _)| *group == 0) && holders.iter().any(|(group, _)| *group == 1));
        let name = &universe.node(0, 7).manifest.digest;
        assert_eq!(universe.manifest_named(1, name), None);
    }
}
