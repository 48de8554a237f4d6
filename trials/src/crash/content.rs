//! What is pushed: a bounded universe of blobs and manifests, each made of a few numbers whenever it is needed.
//!
//! Every repository has the same [`SLOTS`]. A slot has a few tags, manifests that its tags may point at, and the blobs
//! that those manifests name, in every repository the same ones: so layers are shared, mounted, and pushed again
//! after they were deleted.

use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::random::{Random, mixed};
use super::shelf::Layout;

/// Repositories.
pub const REPOSITORIES: usize = 6;
/// Slots of each repository.
pub const SLOTS: usize = 2;
/// Tags of each slot.
pub const TAGS: usize = 3;
/// Image manifests of each slot; the indexes come after them.
pub const IMAGES: usize = 4;
/// Manifests of each slot.
pub const MANIFESTS: usize = 6;
/// Blobs of each slot that manifests may name: first each image's config, then the layers.
pub const NAMED_BLOBS: usize = 12;
/// Blobs of each slot.
pub const BLOBS: usize = 14;

pub(crate) const IMAGE_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const INLINE_LIMIT: u64 = 16 << 10;

/// Everything that one seed's trial can push.
#[derive(Clone, Debug)]
pub struct Universe {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    blobs: Vec<Blob>,
    manifests: Vec<Manifest>,
    layout: Layout,
}

/// A blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its name.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    key: u64,
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its name.
    pub digest: String,
    /// Its media type.
    pub media_type: &'static str,
    /// What is pushed.
    pub bytes: Vec<u8>,
}

/// The name of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut name = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(name, "{byte:02x}").expect("a string takes what is written");
    }
    name
}

/// A repository's name.
pub fn repository(number: usize) -> String {
    format!("crash/r{number}")
}

/// A tag's name.
pub fn tag(slot: usize, tag: usize) -> String {
    format!("s{slot}-t{tag}")
}

impl Blob {
    /// The blob of this key and length.
    pub(crate) fn new(key: u64, size: u64) -> Self {
        let mut blob = Blob {
            digest: String::new(),
            size,
            key,
        };
        blob.digest = digest(&blob.bytes(0..size));
        blob
    }

    /// A part of its bytes.
    pub fn bytes(&self, part: Range<u64>) -> Vec<u8> {
        let words = part.start / 8..part.end.div_ceil(8);
        let mut bytes = Vec::with_capacity((words.end - words.start) as usize * 8);
        for word in words.clone() {
            bytes.extend_from_slice(&mixed(self.key.wrapping_add(word)).to_le_bytes());
        }
        let skipped = (part.start - words.start * 8) as usize;
        bytes.drain(..skipped);
        bytes.truncate((part.end - part.start) as usize);
        bytes
    }
}

impl Universe {
    /// The universe of a seed.
    pub fn new(seed: u64) -> Self {
        Universe {
            slots: (0..SLOTS).map(|slot| Slot::new(seed, slot)).collect(),
        }
    }

    /// A blob of a slot.
    pub fn blob(&self, slot: usize, blob: usize) -> &Blob {
        &self.slots[slot].blobs[blob]
    }

    /// A manifest of a slot.
    pub fn manifest(&self, slot: usize, manifest: usize) -> &Manifest {
        &self.slots[slot].manifests[manifest]
    }

    /// Which manifest of a slot has this name.
    pub fn manifest_named(&self, slot: usize, digest: &str) -> Option<u8> {
        let manifests = &self.slots[slot].manifests;
        manifests
            .iter()
            .position(|manifest| manifest.digest == digest)
            .map(|at| at as u8)
    }

    /// What each manifest of a slot names.
    pub fn layout(&self, slot: usize) -> &Layout {
        &self.slots[slot].layout
    }

    /// Of every slot.
    pub fn layouts(&self) -> Vec<Layout> {
        self.slots.iter().map(|slot| slot.layout).collect()
    }
}

impl Slot {
    fn new(seed: u64, slot: usize) -> Self {
        let mut random = Random::of(&[seed, 1, slot as u64]);
        let blobs: Vec<Blob> = (0..BLOBS)
            .map(|blob| Blob::new(random.number(), size(blob, &mut random)))
            .collect();
        let mut layout = Layout::default();
        let mut manifests: Vec<Manifest> = Vec::new();
        for image in 0..IMAGES {
            layout.blobs[image] |= 1 << image;
            while layout.blobs[image].count_ones() < 4 {
                let layers = NAMED_BLOBS - IMAGES;
                layout.blobs[image] |= 1 << (IMAGES as u64 + random.below(layers as u64));
            }
            let named = layout.blobs[image] & !(1 << image);
            let layers: Vec<Value> = (0..BLOBS)
                .filter(|blob| named & 1 << blob != 0)
                .map(|blob| described("application/vnd.oci.image.layer.v1.tar", &blobs[blob]))
                .collect();
            let config = described("application/vnd.oci.image.config.v1+json", &blobs[image]);
            manifests.push(Manifest::new(
                IMAGE_TYPE,
                &json!({ "schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": config, "layers": layers }),
            ));
        }
        for index in IMAGES..MANIFESTS {
            let first = (index - IMAGES) * 2;
            layout.manifests[index] = 0b11 << first;
            let listed: Vec<Value> = manifests[first..first + 2]
                .iter()
                .map(|image| {
                    json!({ "mediaType": IMAGE_TYPE, "digest": image.digest, "size": image.bytes.len() })
                })
                .collect();
            manifests.push(Manifest::new(
                INDEX_TYPE,
                &json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed }),
            ));
        }
        Slot {
            blobs,
            manifests,
            layout,
        }
    }
}

impl Manifest {
    /// The manifest that says this.
    pub(crate) fn new(media_type: &'static str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        Manifest {
            digest: digest(&bytes),
            media_type,
            bytes,
        }
    }
}

pub(crate) fn described(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

/// Mostly on both sides of what is kept inside the records; two of each slot's blobs have a few MiB.
fn size(blob: usize, random: &mut Random) -> u64 {
    match blob {
        11 | 13 => (1 << 20) + random.below(3 << 20),
        _ if blob < IMAGES => 100 + random.below(2000),
        _ => match random.below(4) {
            0 => INLINE_LIMIT - 2 + random.below(5),
            1 => random.below(INLINE_LIMIT),
            _ => random.below(200 << 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_blob_is_a_part_of_the_whole() {
        let blob = Blob::new(7, 1000);
        let whole = blob.bytes(0..1000);
        for part in [0..0, 0..1, 3..5, 7..9, 8..16, 511..1000] {
            let (start, end) = (part.start as usize, part.end as usize);
            assert_eq!(blob.bytes(part), &whole[start..end]);
        }
    }

    #[test]
    fn a_seed_names_one_universe() {
        let (one, same, other) = (Universe::new(3), Universe::new(3), Universe::new(4));
        assert_eq!(one.blob(1, 13).digest, same.blob(1, 13).digest);
        assert_eq!(one.manifest(0, 5).digest, same.manifest(0, 5).digest);
        assert_ne!(one.manifest(0, 5).digest, other.manifest(0, 5).digest);
    }
}
