//! Reading OCI image layouts: what they hold, and whether every byte is what its digest says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The annotation by which a layout's index names its manifests.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `sha256:…` of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// An OCI image layout on disk.
pub(crate) struct Layout {
    pub(crate) path: PathBuf,
}

/// What one tag of a layout needs: every digest once, the manifest's own first.
pub(crate) struct Closure {
    pub(crate) manifests: Vec<String>,
    pub(crate) blobs: Vec<String>,
    /// Those of `blobs` that are layers.
    pub(crate) layers: Vec<String>,
}

impl Layout {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn index(&self) -> Result<Value> {
        let path = self.path.join("index.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn entries(&self) -> Result<Vec<Value>> {
        Ok(self.index()?["manifests"].as_array().cloned().unwrap_or_default())
    }

    /// The names in the layout's index.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let name = |entry: &Value| entry["annotations"][REF_NAME].as_str().map(str::to_owned);
        Ok(self.entries()?.iter().filter_map(name).collect())
    }

    /// The descriptor of a tag.
    pub(crate) fn descriptor(&self, tag: &str) -> Result<Value> {
        let named = |entry: &Value| entry["annotations"][REF_NAME] == tag;
        self.entries()?
            .into_iter()
            .find(named)
            .with_context(|| format!("{} has no {tag}", self.path.display()))
    }

    /// The digest of a tag's manifest or index.
    pub(crate) fn digest(&self, tag: &str) -> Result<String> {
        Ok(self.descriptor(tag)?["digest"]
            .as_str()
            .context("a descriptor without a digest")?
            .to_owned())
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// The bytes of a digest, checked against it.
    pub(crate) fn read(&self, digest: &str) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let real = sha256(&bytes);
        ensure!(real == digest, "{} holds {real}", path.display());
        Ok(bytes)
    }

    /// Everything that a tag needs, each read and checked.
    pub(crate) fn closure(&self, tag: &str) -> Result<Closure> {
        closure(
            &self.digest(tag)?,
            &mut |digest| self.read(digest),
            &mut |digest| self.read(digest),
        )
    }

    /// Reads everything that every tag needs; returns how many blobs and manifests, and their bytes.
    pub(crate) fn verify(&self) -> Result<(usize, u64)> {
        let mut seen = std::collections::BTreeMap::new();
        for tag in self.tags()? {
            let closure = self.closure(&tag).with_context(|| format!("tag {tag}"))?;
            for digest in closure.manifests.iter().chain(&closure.blobs) {
                let size = std::fs::metadata(self.blob_path(digest))?.len();
                seen.insert(digest.clone(), size);
            }
        }
        Ok((seen.len(), seen.values().sum()))
    }

    /// Adds a blob and returns its descriptor.
    pub(crate) fn add(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = sha256(bytes);
        let path = self.blob_path(&digest);
        std::fs::create_dir_all(path.parent().context("a blob has a folder")?)?;
        std::fs::write(path, bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    /// Names a manifest that the layout already holds.
    pub(crate) fn tag(&self, tag: &str, mut descriptor: Value) -> Result<()> {
        let mut index = self.index()?;
        descriptor["annotations"] = json!({ REF_NAME: tag });
        let entries = index["manifests"]
            .as_array_mut()
            .context("an index lists manifests")?;
        entries.retain(|entry| entry["annotations"][REF_NAME] != tag);
        entries.push(descriptor);
        std::fs::write(self.path.join("index.json"), serde_json::to_vec(&index)?)?;
        Ok(())
    }
}

/// Walks from a manifest to everything that it needs. `manifest` and `blob` fetch bytes, already checked or not;
/// both are checked here again, since it is this that the checks stand on.
pub(crate) fn closure(
    digest: &str,
    manifest: &mut impl FnMut(&str) -> Result<Vec<u8>>,
    blob: &mut impl FnMut(&str) -> Result<Vec<u8>>,
) -> Result<Closure> {
    let mut found = Closure {
        manifests: vec![digest.to_owned()],
        blobs: Vec::new(),
        layers: Vec::new(),
    };
    let mut next = 0;
    while let Some(digest) = found.manifests.get(next).cloned() {
        next += 1;
        let bytes = manifest(&digest)?;
        ensure!(sha256(&bytes) == digest, "manifest {digest} has other bytes");
        let value: Value = serde_json::from_slice(&bytes).with_context(|| format!("manifest {digest}"))?;
        let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
        for child in list("manifests") {
            remember(&mut found.manifests, &child)?;
        }
        for layer in list("layers") {
            remember(&mut found.layers, &layer)?;
            fetch(&mut found.blobs, &layer, blob)?;
        }
        if value["config"].is_object() {
            fetch(&mut found.blobs, &value["config"], blob)?;
        }
    }
    Ok(found)
}

fn remember(list: &mut Vec<String>, descriptor: &Value) -> Result<bool> {
    let digest = descriptor["digest"]
        .as_str()
        .context("a descriptor without a digest")?;
    let fresh = !list.iter().any(|known| known == digest);
    if fresh {
        list.push(digest.to_owned());
    }
    Ok(fresh)
}

fn fetch(
    list: &mut Vec<String>,
    descriptor: &Value,
    blob: &mut impl FnMut(&str) -> Result<Vec<u8>>,
) -> Result<()> {
    if remember(list, descriptor)? {
        let digest = list.last().expect("just pushed").clone();
        let bytes = blob(&digest)?;
        ensure!(sha256(&bytes) == digest, "blob {digest} has other bytes");
        ensure!(
            descriptor["size"] == bytes.len(),
            "blob {digest} is {} bytes, not {}",
            bytes.len(),
            descriptor["size"]
        );
    }
    Ok(())
}

/// Removes a folder and all in it, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_with_one_changed_byte_is_refused() {
        let layer = b"layer".to_vec();
        let config = b"{}".to_vec();
        let descriptor = |bytes: &[u8]| json!({ "digest": sha256(bytes), "size": bytes.len() });
        let manifest = json!({ "config": descriptor(&config), "layers": [descriptor(&layer)] }).to_string();
        let root = sha256(manifest.as_bytes());
        let mut give = |_: &str| Ok(manifest.clone().into_bytes());
        let whole = closure(&root, &mut give, &mut |digest| {
            Ok(if digest == sha256(&layer) {
                layer.clone()
            } else {
                config.clone()
            })
        });
        assert_eq!(whole.unwrap().layers, [sha256(&layer)]);
        assert!(closure(&root, &mut give, &mut |_| Ok(b"lbyer".to_vec())).is_err());
    }
}
