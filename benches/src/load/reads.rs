//! Requests that change nothing, one after the other and from the beginning again.

use std::io;

use super::connection::{Connection, Request};
use super::content::{Blobs, manifest};
use super::fill::{REPOSITORY, Shelf, blob_path};

/// Blobs or manifests that are asked for in turn, at most.
const SEVERAL: usize = 100;

/// Bytes of all of them, at most, unless one is longer.
const BYTES: usize = 64 << 20;

/// Salts of content that is read: the same in every run, so that a store can be filled once.
const SALT: u64 = 0x6265_7274_6800;

/// How a manifest is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By its tag.
    Tag,
    /// By its digest.
    Digest,
}

/// Requests, and the statuses that they are to get.
pub struct Reads {
    requests: Vec<Request>,
    statuses: &'static [u16],
}

impl Reads {
    /// Of these requests.
    pub fn new(requests: Vec<Request>, statuses: &'static [u16]) -> Self {
        Reads { requests, statuses }
    }

    pub(super) async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        let request = &self.requests[number as usize % self.requests.len()];
        let (_, bytes) = connection.ask(request, &[], self.statuses).await?;
        Ok(bytes)
    }
}

async fn paths_of_blobs(shelf: &mut Shelf, length: usize) -> io::Result<Vec<String>> {
    let blobs = Blobs::new(length, SALT + length as u64);
    let mut paths = Vec::new();
    for number in 0..(BYTES / length).clamp(1, SEVERAL) as u64 {
        paths.push(shelf.blob(&blobs.get(number)).await?);
    }
    Ok(paths)
}

/// GETs of whole blobs.
///
/// # Errors
/// If they cannot be added.
pub async fn blobs(shelf: &mut Shelf, length: usize) -> io::Result<Reads> {
    let paths = paths_of_blobs(shelf, length).await?;
    let requests = paths.iter().map(|path| Request::get("GET", path)).collect();
    Ok(Reads::new(requests, &[200]))
}

/// GETs of parts of a blob.
///
/// # Errors
/// If it cannot be added.
pub async fn ranges(shelf: &mut Shelf, part: usize, length: usize) -> io::Result<Reads> {
    let paths = paths_of_blobs(shelf, length).await?;
    let requests = (0..1000).map(|number: usize| {
        // Steps that meet no page twice for long.
        let from = number * 7_919_993 % (length - part);
        let range = format!("Range: bytes={from}-{}\r\n", from + part - 1);
        Request::new("GET", &paths[number % paths.len()], &range, None)
    });
    Ok(Reads::new(requests.collect(), &[206]))
}

/// HEADs of blobs.
///
/// # Errors
/// If they cannot be added.
pub async fn blob_heads(shelf: &mut Shelf, is_there: bool) -> io::Result<Reads> {
    let paths = match is_there {
        true => paths_of_blobs(shelf, 4 << 10).await?,
        false => {
            let nowhere = Blobs::new(64, SALT - 1);
            (0..SEVERAL as u64)
                .map(|number| blob_path(REPOSITORY, &nowhere.get(number).digest))
                .collect()
        }
    };
    let requests = paths.iter().map(|path| Request::get("HEAD", path)).collect();
    Ok(Reads::new(requests, if is_there { &[200] } else { &[404] }))
}

/// Requests for manifests of images.
///
/// # Errors
/// If they cannot be added.
pub async fn manifests(shelf: &mut Shelf, method: &str, by: By) -> io::Result<Reads> {
    let (configs, layers) = (Blobs::new(1500, SALT + 1), Blobs::new(4 << 10, SALT + 2));
    let layers: Vec<_> = (0..5).map(|number| layers.get(number)).collect();
    for layer in &layers {
        shelf.blob(layer).await?;
    }
    let mut requests = Vec::new();
    for number in 0..SEVERAL as u64 {
        let config = configs.get(number);
        shelf.blob(&config).await?;
        let [tag, digest] = shelf
            .manifest(&format!("m{number}"), &manifest(&config, &layers))
            .await?;
        requests.push(Request::manifest(
            method,
            if by == By::Tag { &tag } else { &digest },
        ));
    }
    Ok(Reads::new(requests, &[200]))
}
