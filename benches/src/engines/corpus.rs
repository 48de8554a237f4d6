//! The records that a registry of a given size would hold, made the same way each time from their numbers.
//!
//! Of each hundred keys seventy are small references (sixty edges, ten manifest metas, about 100 bytes each),
//! twenty are tags, and ten are manifests of 1.2 KB.

use std::fmt::Write as _;

use super::Record;

const MANIFESTS_PER_REPOSITORY: u64 = 1000;
const EDGES_PER_MANIFEST: u64 = 6;
const TAGS_PER_MANIFEST: u64 = 2;
const KEYS_PER_MANIFEST: u64 = 2 + EDGES_PER_MANIFEST + TAGS_PER_MANIFEST;
const MANIFEST_BYTES: usize = 1200;

/// A small reproducible generator (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A registry of `keys` records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corpus {
    keys: u64,
}

impl Corpus {
    pub(super) fn new(keys: u64) -> Self {
        Corpus { keys }
    }

    /// How many manifests were pushed to make it.
    pub(super) fn manifests(self) -> u64 {
        (self.keys / KEYS_PER_MANIFEST).max(1)
    }

    /// What one push leaves behind.
    pub(super) fn push(self, manifest: u64) -> Vec<Record> {
        let repository = manifest / MANIFESTS_PER_REPOSITORY;
        let digest = digest(0, manifest);
        let mut records = Vec::with_capacity(KEYS_PER_MANIFEST as usize + 1);
        if manifest.is_multiple_of(MANIFESTS_PER_REPOSITORY) {
            records.push(record(name_key(repository), format!("{repository:016x}")));
        }
        for tag in 0..TAGS_PER_MANIFEST {
            records.push(record(
                tag_key(repository, manifest, tag),
                format!("{digest} 1 {manifest:020}"),
            ));
        }
        let meta = format!(
            "1 {:>12} application/vnd.oci.image.manifest.v1+json",
            MANIFEST_BYTES
        );
        records.push(record(meta_key(repository, &digest), meta));
        records.push(record(
            manifest_key(repository, &digest),
            manifest_bytes(manifest),
        ));
        for layer in 0..EDGES_PER_MANIFEST {
            records.push(record(edge_key(repository, manifest, layer), "1".to_owned()));
        }
        records
    }

    /// The four point reads of "GET manifest by tag": repository, tag, meta, bytes. Each read takes its key
    /// from the one before it. True when the answer is the manifest that was pushed.
    pub(super) fn get_by_tag<E>(
        self,
        manifest: u64,
        get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<bool, E> {
        let Some(id) = get(name_key(manifest / MANIFESTS_PER_REPOSITORY).as_bytes())? else {
            return Ok(false);
        };
        let Ok(repository) = u64::from_str_radix(&String::from_utf8_lossy(&id), 16) else {
            return Ok(false);
        };
        let Some(tag) = get(tag_key(repository, manifest, 1).as_bytes())? else {
            return Ok(false);
        };
        let tag = String::from_utf8_lossy(&tag).into_owned();
        let digest = tag.split(' ').next().unwrap_or_default();
        if get(meta_key(repository, digest).as_bytes())?.is_none() {
            return Ok(false);
        }
        let bytes = get(manifest_key(repository, digest).as_bytes())?;
        Ok(bytes.as_deref() == Some(manifest_bytes(manifest).as_bytes()))
    }

    /// A key that exists, chosen at random among all kinds in their proportions.
    pub(super) fn random_key(self, random: &mut Random) -> Vec<u8> {
        let manifest = random.below(self.manifests());
        self.key(manifest, random.below(KEYS_PER_MANIFEST)).into_bytes()
    }

    /// The start of a page of tags somewhere in the registry.
    pub(super) fn random_tag_page(self, random: &mut Random) -> Vec<u8> {
        let manifest = random.below(self.manifests());
        tag_key(manifest / MANIFESTS_PER_REPOSITORY, manifest, 0).into_bytes()
    }

    /// One of the keys that the push of `manifest` wrote.
    fn key(self, manifest: u64, which: u64) -> String {
        let repository = manifest / MANIFESTS_PER_REPOSITORY;
        match which {
            0 | 1 => tag_key(repository, manifest, which),
            2 => meta_key(repository, &digest(0, manifest)),
            3 => manifest_key(repository, &digest(0, manifest)),
            edge => edge_key(repository, manifest, edge - 4),
        }
    }
}

/// The transaction numbered `n`: one record of 1 KB and one of 40 bytes, far apart in the key order.
pub(super) fn transaction(n: u64) -> [Record; 2] {
    let place = Random::new(n).next();
    [
        Record {
            key: format!("commit/{place:016x}/{n:016x}").into_bytes(),
            value: filling(n, 1024),
        },
        Record {
            key: format!("order/{n:016x}").into_bytes(),
            value: filling(!n, 40),
        },
    ]
}

fn filling(n: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(n);
    std::iter::repeat_with(|| random.next().to_le_bytes())
        .flatten()
        .take(bytes)
        .collect()
}

fn record(key: String, value: String) -> Record {
    Record {
        key: key.into_bytes(),
        value: value.into_bytes(),
    }
}

fn digest(kind: u64, n: u64) -> String {
    let mut random = Random::new((kind << 56) | n);
    let mut digest = String::with_capacity(71);
    digest.push_str("sha256:");
    for _ in 0..4 {
        let _ = write!(digest, "{:016x}", random.next());
    }
    digest
}

fn name_key(repository: u64) -> String {
    format!("name/project-{:03}/service-{repository:06}", repository % 50)
}

fn tag_key(repository: u64, manifest: u64, tag: u64) -> String {
    format!(
        "tag/{repository:016x}/v{}.{}.{manifest}-{tag}",
        manifest % 7,
        manifest % 61
    )
}

fn meta_key(repository: u64, digest: &str) -> String {
    format!("meta/{repository:08x}/{digest}")
}

fn manifest_key(repository: u64, digest: &str) -> String {
    format!("manifest/{repository:08x}/{digest}")
}

fn edge_key(repository: u64, manifest: u64, layer: u64) -> String {
    let blob = digest(1, manifest * EDGES_PER_MANIFEST + layer);
    format!("edge/{blob}/{repository:08x}/{manifest:08x}")
}

fn manifest_bytes(manifest: u64) -> String {
    let mut json = String::from(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":["#,
    );
    for layer in 0..EDGES_PER_MANIFEST {
        let blob = digest(1, manifest * EDGES_PER_MANIFEST + layer);
        let _ = write!(
            json,
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{blob}","size":{}}},"#,
            1000 + layer
        );
    }
    json.pop();
    json.push(']');
    while json.len() < MANIFEST_BYTES - 1 {
        json.push(' ');
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_corpus_holds_as_many_keys_as_it_says() {
        let corpus = Corpus::new(10_000);
        let records: BTreeMap<_, _> = (0..corpus.manifests())
            .flat_map(|manifest| corpus.push(manifest))
            .map(|record| (record.key, record.value))
            .collect();
        assert_eq!(records.len(), 10_001, "10,000 records and one repository name");
        for manifest in 0..corpus.manifests() {
            let mut keys = (0..KEYS_PER_MANIFEST).map(|which| corpus.key(manifest, which));
            assert!(keys.all(|key| records.contains_key(key.as_bytes())));
        }
    }

    #[test]
    fn a_get_by_tag_follows_the_records_and_notices_a_missing_one() {
        let corpus = Corpus::new(100);
        let mut records: BTreeMap<_, _> = corpus
            .push(3)
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect();
        records.insert(name_key(0).into_bytes(), format!("{:016x}", 0).into_bytes());
        let get = |records: &BTreeMap<Vec<u8>, Vec<u8>>| {
            corpus.get_by_tag(3, |key| Ok::<_, ()>(records.get(key).cloned()))
        };
        assert_eq!(get(&records), Ok(true));
        let manifest = records
            .keys()
            .find(|key| key.starts_with(b"manifest/"))
            .cloned()
            .unwrap();
        records.remove(&manifest);
        assert_eq!(get(&records), Ok(false));
    }
}
