//! Putting content where it will be read from: over the wire into a registry, or as files where a web server finds them.

use std::io;
use std::path::PathBuf;

use super::connection::{Connection, Request};
use super::content::{Blob, MANIFEST, digest};

/// The repository that is filled.
pub const REPOSITORY: &str = "load/images";

/// Where content goes.
pub enum Shelf {
    /// A registry, over this connection.
    Registry(Box<Connection>),
    /// A directory whose files are served under the paths that a registry has for them.
    Files(PathBuf),
}

/// The path of a blob.
pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// The path of a manifest, by tag or digest.
pub fn manifest_path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// The path and query of a location that a server gave: absolute ones name the server too.
pub fn local(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

/// The same with a digest in its query.
pub fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

/// Begins an upload. Where it goes on.
///
/// # Errors
/// If the server refuses.
pub async fn begin(connection: &mut Connection, repository: &str) -> io::Result<String> {
    let request = Request::new("POST", &format!("/v2/{repository}/blobs/uploads/"), "", Some(0));
    let (head, _) = connection.ask(&request, &[], &[202]).await?;
    let location = head
        .location
        .ok_or_else(|| io::Error::other("an upload has no Location"))?;
    Ok(local(&location).to_owned())
}

/// Pushes a blob with a POST and a PUT, which every registry knows.
///
/// # Errors
/// If the server refuses.
pub async fn push(connection: &mut Connection, repository: &str, blob: &Blob) -> io::Result<()> {
    let location = begin(connection, repository).await?;
    let headers = "Content-Type: application/octet-stream\r\n";
    let target = with_digest(&location, &blob.digest);
    let put = Request::new("PUT", &target, headers, Some(blob.length()));
    connection.ask(&put, &blob.parts(), &[201]).await.map(drop)
}

/// Puts a manifest under a tag or its digest.
///
/// # Errors
/// If the server refuses.
pub async fn put(
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    manifest: &str,
) -> io::Result<()> {
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let target = manifest_path(repository, reference);
    let request = Request::new("PUT", &target, &headers, Some(manifest.len() as u64));
    connection
        .ask(&request, &[manifest.as_bytes()], &[201])
        .await
        .map(drop)
}

impl Shelf {
    /// Adds a blob. Where it is read from.
    ///
    /// # Errors
    /// If it cannot be added.
    pub async fn blob(&mut self, blob: &Blob) -> io::Result<String> {
        let path = blob_path(REPOSITORY, &blob.digest);
        match self {
            Shelf::Registry(connection) => push(connection, REPOSITORY, blob).await?,
            Shelf::Files(_) => self.write(&path, &blob.parts().concat())?,
        }
        Ok(path)
    }

    /// Adds a manifest under a tag, whose blobs were added. Where it is read from: by the tag, and by its digest.
    ///
    /// # Errors
    /// If it cannot be added.
    pub async fn manifest(&mut self, tag: &str, manifest: &str) -> io::Result<[String; 2]> {
        let digest = digest(&[manifest.as_bytes()]);
        let paths = [tag, &digest].map(|reference| manifest_path(REPOSITORY, reference));
        match self {
            Shelf::Registry(connection) => put(connection, REPOSITORY, tag, manifest).await?,
            Shelf::Files(_) => {
                for path in &paths {
                    self.write(path, manifest.as_bytes())?;
                }
            }
        }
        Ok(paths)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let Shelf::Files(root) = self else {
            return Ok(());
        };
        let file = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().unwrap_or(root))?;
        std::fs::write(file, bytes)
    }
}
