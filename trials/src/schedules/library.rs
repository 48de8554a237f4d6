//! What is pushed: one or two blobs, the images of them, and an index.

use bytes::Bytes;
use registry_core::{Digest, RepositoryName};
use registry_storage::testkit::content;

pub(super) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest and what it names.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
    /// Numbers of contents.
    pub(super) contents: Vec<usize>,
}

impl Made {
    fn new(media_type: &'static str, json: serde_json::Value, contents: Vec<usize>) -> Made {
        let bytes = Bytes::from(json.to_string());
        Made {
            media_type,
            digest: Digest::sha256(&bytes),
            bytes,
            contents,
        }
    }
}

/// All that there is to push in one world.
pub(super) struct Library {
    pub(super) names: [RepositoryName; 2],
    pub(super) contents: Vec<Bytes>,
    /// An image of each content, one of both if there are two, and an index of the first.
    pub(super) manifests: Vec<Made>,
}

impl Library {
    pub(super) fn of(lengths: &[usize]) -> Library {
        let contents: Vec<Bytes> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| content(number as u64, *length))
            .collect();
        let mut manifests: Vec<Made> = (0..contents.len())
            .map(|number| image(&contents, &[number]))
            .collect();
        if contents.len() > 1 {
            manifests.push(image(&contents, &[0, 1]));
        }
        let first = &manifests[0];
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": OCI, "digest": first.digest, "size": first.bytes.len() }],
        });
        manifests.push(Made::new(INDEX, index, Vec::new()));
        Library {
            names: ["one", "two"].map(|name| name.parse().expect("a name")),
            contents,
            manifests,
        }
    }

    pub(super) fn images(&self) -> &[Made] {
        &self.manifests[..self.manifests.len() - 1]
    }

    pub(super) fn index(&self) -> &Made {
        self.manifests.last().expect("there is an index")
    }
}

fn image(contents: &[Bytes], numbers: &[usize]) -> Made {
    let descriptor = |number: &usize| {
        serde_json::json!({
            "mediaType": "application/x",
            "digest": Digest::sha256(&contents[*number]),
            "size": contents[*number].len(),
        })
    };
    let layers: Vec<_> = numbers.iter().map(descriptor).collect();
    let json = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": layers.first(),
        "layers": layers,
    });
    Made::new(OCI, json, numbers.to_vec())
}
