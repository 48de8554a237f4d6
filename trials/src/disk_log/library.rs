//! What clients push.

use std::collections::BTreeMap;

use bytes::Bytes;
use registry_core::Digest;
use registry_storage::testkit::content;

pub(super) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest that was pushed.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) bytes: Bytes,
    pub(super) contents: Vec<usize>,
    pub(super) manifests: Vec<Digest>,
}

/// All that clients push.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) contents: Vec<Bytes>,
    pub(super) manifests: BTreeMap<Digest, Made>,
}

impl Library {
    /// How many contents there are.
    pub(super) const CONTENTS: usize = 9;

    pub(super) fn new(seed: u64) -> Library {
        // None, two that are kept in the records, and six in files.
        let lengths = [0, 9, 16, 17, 300, 701, 1500, 2048, 3001];
        let make =
            |(number, length): (usize, &usize)| content(seed.wrapping_mul(31) ^ number as u64, *length);
        Library {
            contents: lengths.iter().enumerate().map(make).collect(),
            manifests: BTreeMap::new(),
        }
    }

    pub(super) fn image(&self, contents: &[usize]) -> Made {
        let descriptor = |content: &usize| {
            let bytes = &self.contents[*content];
            serde_json::json!({
                "mediaType": "application/x",
                "digest": Digest::sha256(bytes),
                "size": bytes.len(),
            })
        };
        let layers: Vec<_> = contents.iter().map(descriptor).collect();
        let json = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": layers.first(),
            "layers": layers,
        });
        Made {
            bytes: json.to_string().into(),
            contents: contents.to_vec(),
            manifests: Vec::new(),
        }
    }

    pub(super) fn index(&self, image: &Digest) -> Made {
        let size = self.manifests.get(image).map_or(0, |made| made.bytes.len());
        let json = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": OCI, "digest": image, "size": size }],
        });
        Made {
            bytes: json.to_string().into(),
            contents: Vec::new(),
            manifests: vec![*image],
        }
    }
}
