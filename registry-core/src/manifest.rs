//! Reading manifests: what they point at. The bytes themselves are kept and served exactly as pushed.
//!
//! Formats: image-spec `manifest.md` and `image-index.md`, Docker's `manifest-v2-2`. Media types and fields that are
//! not known here are no error (image-spec `manifest.md`); what is read of them is what has the known shape.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Largest manifest taken, in bytes. The specification asks for at least 4 MiB.
pub const SIZE_MAX: usize = 4 << 20;
/// Most descriptors in one manifest: each is a record to check and to write in one transaction.
pub const CHILDREN_MAX: usize = 10_000;
/// Deepest nesting of a manifest's JSON; the formats need five.
pub const DEPTH_MAX: usize = 64;

/// What a manifest points at, and what referrer lists show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedManifest {
    /// Media type, without parameters.
    pub media_type: String,
    /// Content that must be here for the manifest to be whole, each digest once.
    pub children: Vec<Child>,
    /// The manifest that this one refers to. It need not be here.
    pub subject: Option<Digest>,
    /// What the artifact is: the manifest's own type, else its config's media type (not for an index).
    pub artifact_type: Option<String>,
    /// Its annotations, which referrer lists repeat.
    pub annotations: BTreeMap<String, String>,
}

/// Something that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes, as the manifest says.
    pub size: u64,
    /// Where to look for it.
    pub kind: ChildKind,
}

/// What kind of thing a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildKind {
    /// A config or a layer.
    Blob,
    /// A manifest that an index lists.
    Manifest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

impl RawDescriptor {
    fn digest(&self, role: &str) -> Result<Digest> {
        self.digest.parse().map_err(|why| {
            // Never as long as a client likes: it is sent back and logged.
            let digest: String = self.digest.chars().take(160).collect();
            invalid(format!("the manifest's {role} has the digest {digest:?}: {why}"))
                .with_detail(serde_json::json!({ "digest": digest }))
        })
    }

    /// Layers that their licence keeps from being pushed; clients fetch them from elsewhere.
    fn is_non_distributable(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ManifestInvalid, message)
}

/// The media type of a `Content-Type`, without its parameters.
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

impl ParsedManifest {
    /// Reads a manifest that came with this `Content-Type`, if it came with one.
    ///
    /// # Errors
    /// `ManifestTooLarge`; `ManifestInvalid` for what is no JSON object, nests deeper than [`DEPTH_MAX`], repeats a
    /// field, names more than [`CHILDREN_MAX`] things, says one type in its body and another in its header
    /// (CVE-2021-41190), is an image and an index at once, or is of Docker's schema 1.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > SIZE_MAX {
            return Err(too_large());
        }
        check_depth(bytes)?;
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|why| invalid(format!("the manifest cannot be read: {why}")))?;
        let media_type = media_type(content_type.map(essence).filter(|t| !t.is_empty()), &document)?;
        check_shape(&media_type, &document)?;

        let mut children = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |role: &str, kind, raw: &RawDescriptor| {
            let digest = raw.digest(role)?;
            if seen.insert((digest, kind)) {
                children.push(Child {
                    digest,
                    size: raw.size,
                    kind,
                });
            }
            if children.len() > CHILDREN_MAX {
                return Err(invalid(format!(
                    "the manifest names more than {CHILDREN_MAX} things; split it"
                )));
            }
            Ok(())
        };
        if let Some(config) = &document.config {
            add("config", ChildKind::Blob, config)?;
        }
        for layer in document.layers.iter().chain(&document.blobs).flatten() {
            if !layer.is_non_distributable() {
                add("layer", ChildKind::Blob, layer)?;
            }
        }
        for manifest in document.manifests.iter().flatten() {
            add("list of manifests", ChildKind::Manifest, manifest)?;
        }
        let is_index = document.manifests.is_some();
        let config_type = document
            .config
            .map(|config| config.media_type)
            .filter(|_| !is_index);
        Ok(ParsedManifest {
            media_type,
            children,
            subject: document
                .subject
                .map(|subject| subject.digest("subject"))
                .transpose()?,
            artifact_type: document
                .artifact_type
                .filter(|t| !t.is_empty())
                .or(config_type)
                .filter(|t| !t.is_empty()),
            annotations: document.annotations.unwrap_or_default(),
        })
    }

    /// This manifest as an entry of its subject's list of referrers.
    pub fn referrer(&self, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest,
            size,
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// The refusal of a manifest beyond [`SIZE_MAX`], also for those who stop reading before its end.
pub fn too_large() -> Error {
    Error::new(
        ErrorKind::ManifestTooLarge,
        format!("the manifest is larger than {SIZE_MAX} bytes"),
    )
    .with_detail(serde_json::json!({ "limit": SIZE_MAX }))
}

fn media_type(header: Option<&str>, document: &Document) -> Result<String> {
    let body = document.media_type.as_deref().filter(|t| !t.is_empty());
    let media_type = match (header, body) {
        (Some(header), Some(body)) if header != body => {
            return Err(invalid(format!(
                "the Content-Type is {header:?} but the manifest says that its mediaType is {body:?}"
            )));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) if document.manifests.is_some() => OCI_INDEX,
        (None, None) if document.config.is_some() || document.layers.is_some() => OCI_MANIFEST,
        (None, None) => {
            return Err(invalid(
                "neither Content-Type nor mediaType says what the manifest is",
            ));
        }
    };
    if media_type.len() > 255 || !media_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(invalid(format!("{media_type:?} is no media type")));
    }
    Ok(media_type.to_owned())
}

fn check_shape(media_type: &str, document: &Document) -> Result<()> {
    if media_type.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        return Err(invalid(
            "Docker's manifest schema 1 is not taken; push with a client that writes schema 2 or OCI",
        ));
    }
    let is_image = document.config.is_some() || document.layers.is_some() || document.blobs.is_some();
    if is_image && document.manifests.is_some() {
        return Err(invalid(
            "the manifest has both `manifests` and `config` or `layers`: it must be an index or an image",
        ));
    }
    let must_be_image = matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST);
    let must_be_index = matches!(media_type, OCI_INDEX | DOCKER_LIST);
    if (must_be_image || must_be_index) && document.schema_version != Some(2) {
        return Err(invalid(format!("a {media_type} has schemaVersion 2")));
    }
    if must_be_image && document.config.is_none() {
        return Err(invalid(format!("a {media_type} has a `config`")));
    }
    if must_be_index && document.manifests.is_none() && is_image {
        return Err(invalid(format!(
            "a {media_type} has `manifests`, not `config` or `layers`"
        )));
    }
    Ok(())
}

/// Refuses JSON that nests deeply, before any recursive reader sees it.
fn check_depth(bytes: &[u8]) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(invalid(format!(
                        "the manifest nests deeper than {DEPTH_MAX} levels"
                    )));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(media_type: &str, content: &[u8]) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#,
            Digest::sha256(content),
            content.len()
        )
    }

    fn image(extra: &str) -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json", b"config");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"layer");
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer},{layer}]{extra}}}"#)
    }

    fn refused(content_type: Option<&str>, body: &str) -> String {
        let error = ParsedManifest::parse(content_type, body.as_bytes()).expect_err(body);
        assert_eq!(error.kind(), ErrorKind::ManifestInvalid);
        error.message().to_owned()
    }

    #[test]
    fn an_image_names_its_config_and_each_layer_once() {
        let parsed = ParsedManifest::parse(
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            image("").as_bytes(),
        )
        .unwrap();
        assert_eq!(parsed.media_type, OCI_MANIFEST);
        assert_eq!(parsed.children.len(), 2);
        assert_eq!(
            parsed.artifact_type.as_deref(),
            Some("application/vnd.oci.image.config.v1+json")
        );
    }

    #[test]
    fn non_distributable_layers_need_not_be_here() {
        let foreign = descriptor(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            b"elsewhere",
        );
        let docker = descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            b"elsewhere",
        );
        let config = descriptor("application/vnd.oci.image.config.v1+json", b"config");
        let body = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{foreign},{docker}]}}"#);
        assert_eq!(
            ParsedManifest::parse(Some(OCI_MANIFEST), body.as_bytes())
                .unwrap()
                .children
                .len(),
            1
        );
    }

    #[test]
    fn an_index_has_no_artifact_type_of_its_own_making() {
        let child = descriptor(OCI_MANIFEST, b"child");
        let body = format!(r#"{{"schemaVersion":2,"manifests":[{child}]}}"#);
        let parsed = ParsedManifest::parse(None, body.as_bytes()).unwrap();
        assert_eq!(
            (parsed.media_type.as_str(), parsed.artifact_type),
            (OCI_INDEX, None)
        );
        assert_eq!(parsed.children[0].kind, ChildKind::Manifest);
    }

    #[test]
    fn the_body_must_agree_with_the_content_type() {
        let body = image(&format!(r#","mediaType":"{OCI_MANIFEST}""#));
        assert!(ParsedManifest::parse(Some(OCI_MANIFEST), body.as_bytes()).is_ok());
        assert!(refused(Some(OCI_INDEX), &body).contains("Content-Type"));
        assert!(refused(Some(OCI_INDEX), &image("")).contains("manifests"));
    }

    #[test]
    fn an_image_that_is_also_an_index_is_refused() {
        refused(Some(OCI_MANIFEST), &image(r#","manifests":[]"#));
        refused(Some("application/vnd.example+json"), &image(r#","manifests":[]"#));
    }

    #[test]
    fn unknown_types_and_fields_are_no_error() {
        let parsed = ParsedManifest::parse(
            Some("application/vnd.example+json"),
            br#"{"anything":[1,{"x":null}]}"#,
        )
        .unwrap();
        assert!(parsed.children.is_empty());
        assert!(ParsedManifest::parse(Some(OCI_MANIFEST), image(r#","extra":{"a":[]}"#).as_bytes()).is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        refused(Some(OCI_MANIFEST), "");
        refused(Some(OCI_MANIFEST), "[]");
        refused(Some(OCI_MANIFEST), "{}");
        refused(None, r#"{"schemaVersion":2}"#);
        refused(Some(OCI_MANIFEST), &image(r#","layers":[]"#));
        refused(
            Some(OCI_MANIFEST),
            &image("").replace("\"size\":5", "\"size\":-5"),
        );
        assert!(refused(Some(OCI_MANIFEST), &image("").replacen("sha256:", "md5:", 1)).contains("md5:"));
        assert!(
            refused(
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                "{}"
            )
            .contains("schema 1")
        );
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(refused(Some("application/vnd.example+json"), &deep).contains("deeper"));
        let many: Vec<String> = (0..CHILDREN_MAX)
            .map(|n| format!(r#"{{"digest":"{}","size":1}}"#, Digest::sha256(&n.to_be_bytes())))
            .collect();
        assert!(refused(None, &image(&format!(r#","blobs":[{}]"#, many.join(",")))).contains("more than"));
    }

    #[test]
    fn a_manifest_beyond_the_limit_is_too_large() {
        let error = ParsedManifest::parse(None, &vec![b' '; SIZE_MAX + 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ManifestTooLarge);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, header in "[ -~]{0,40}") {
            let _refused_or_read = ParsedManifest::parse(Some(&header), &bytes);
        }
    }
}
