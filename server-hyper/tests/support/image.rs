//! Images pushed and deleted over HTTP.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use registry_core::Digest;
use registry_core::manifest::OCI_MANIFEST;

use super::{http1, read, request, soon};

/// An image of one configuration and one layer.
pub(crate) struct Image {
    pub(crate) config: Digest,
    pub(crate) layer: Digest,
    pub(crate) manifest: Digest,
}

/// Bytes of a layer, too many to go inside the records.
pub(crate) const LAYER: usize = 20_000;

/// Content that no other seed gives, too large to go inside the records.
pub(crate) fn content(seed: usize) -> Vec<u8> {
    let seed = seed.to_le_bytes();
    seed.iter().copied().cycle().take(LAYER).collect()
}

/// The manifest of an image whose configuration is the first of the blobs.
pub(crate) fn image(blobs: &[Vec<u8>]) -> String {
    let descriptor = |content: &Vec<u8>| {
        let (digest, size) = (Digest::sha256(content), content.len());
        format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":{size}}}"#)
    };
    let layers: Vec<_> = blobs[1..].iter().map(descriptor).collect();
    let (config, layers) = (descriptor(&blobs[0]), layers.join(","));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
}

async fn send(
    address: SocketAddr,
    method: Method,
    uri: &str,
    kind: &str,
    body: impl Into<bytes::Bytes>,
) -> StatusCode {
    let mut request = request(method, uri, body);
    request
        .headers_mut()
        .insert("content-type", kind.parse().unwrap());
    let mut client = http1(address).await;
    let answer = soon(client.send_request(request)).await.unwrap();
    read(answer).await.0
}

pub(crate) async fn push_blob(address: SocketAddr, repository: &str, content: Vec<u8>) -> Digest {
    let digest = Digest::sha256(&content);
    let uri = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    let pushed = send(address, Method::POST, &uri, "application/octet-stream", content).await;
    assert_eq!(pushed, 201);
    digest
}

/// Pushes an image that no other seed gives, and tags it.
pub(crate) async fn push(address: SocketAddr, repository: &str, tag: &str, seed: usize) -> Image {
    let layer = push_blob(address, repository, content(seed)).await;
    let config = format!(r#"{{"seed":{seed}}}"#);
    let size = config.len();
    let config = push_blob(address, repository, config.into_bytes()).await;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/x","digest":"{config}","size":{size}}},"layers":[{{"mediaType":"application/x","digest":"{layer}","size":{LAYER}}}]}}"#
    );
    let digest = Digest::sha256(manifest.as_bytes());
    let uri = format!("/v2/{repository}/manifests/{tag}");
    assert_eq!(
        send(address, Method::PUT, &uri, OCI_MANIFEST, manifest).await,
        201
    );
    Image {
        config,
        layer,
        manifest: digest,
    }
}

/// Deletes a manifest or a tag.
pub(crate) async fn delete(address: SocketAddr, repository: &str, reference: &str) {
    let uri = format!("/v2/{repository}/manifests/{reference}");
    assert_eq!(send(address, Method::DELETE, &uri, "", "").await, 202);
}

/// What a HEAD of something in a repository is answered.
pub(crate) async fn status(address: SocketAddr, uri: &str) -> StatusCode {
    send(address, Method::HEAD, uri, "", "").await
}

/// The manifest that a tag points at.
pub(crate) async fn resolve(address: SocketAddr, repository: &str, tag: &str) -> Option<Digest> {
    let mut client = http1(address).await;
    let uri = format!("/v2/{repository}/manifests/{tag}");
    let answer = soon(client.send_request(request(Method::HEAD, &uri, "")))
        .await
        .unwrap();
    let digest = answer.headers().get("docker-content-digest")?;
    Some(digest.to_str().unwrap().parse().unwrap())
}
