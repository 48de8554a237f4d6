//! What writes.

use std::io;

use super::connection::{Connection, Request};
use super::content::{Blob, Blobs, manifest};
use super::drive::Until;
use super::fill::{REPOSITORY, Shelf, begin, blob_path, local, push, put, with_digest};

/// Where blobs go that are pushed.
const PUSHED: &str = "load/pushed";

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// POST, then PUT with all of it.
    Monolithic,
    /// POST, one PATCH with all of it, PUT.
    Streamed,
    /// POST, PATCHes of so many bytes, PUT.
    Chunked(usize),
}

/// Blobs that nobody has pushed. Those of a measured number of turns are hashed beforehand.
pub struct Push {
    blobs: Blobs,
    ready: Vec<Blob>,
    how: How,
}

impl Push {
    pub(super) fn new(length: usize, how: How, until: Until, salt: u64) -> Self {
        let blobs = Blobs::new(length, salt);
        let count = match until {
            Until::Turns(turns) => turns,
            Until::Elapsed(_) => 0,
        };
        Push {
            ready: (0..count).map(|number| blobs.get(number)).collect(),
            blobs,
            how,
        }
    }

    pub(super) async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        let blob = match self.ready.get(number as usize) {
            Some(blob) => blob.clone(),
            None => self.blobs.get(number),
        };
        match self.how {
            How::Monolithic => push(connection, PUSHED, &blob).await?,
            How::Streamed => in_chunks(connection, &blob, blob.length() as usize).await?,
            How::Chunked(length) => in_chunks(connection, &blob, length).await?,
        }
        Ok(blob.length())
    }
}

async fn in_chunks(connection: &mut Connection, blob: &Blob, length: usize) -> io::Result<()> {
    let (mut location, mut at, end) = (begin(connection, PUSHED).await?, 0, blob.length() as usize);
    while at < end {
        let next = (at + length).min(end);
        let headers = format!(
            "Content-Type: application/octet-stream\r\nContent-Range: {at}-{}\r\n",
            next - 1
        );
        let patch = Request::new("PATCH", &location, &headers, Some((next - at) as u64));
        let (head, _) = connection.ask(&patch, &blob.range(at, next), &[202]).await?;
        if let Some(next) = head.location {
            location = local(&next).to_owned();
        }
        at = next;
    }
    let put = Request::new("PUT", &with_digest(&location, &blob.digest), "", Some(0));
    connection.ask(&put, &[], &[201]).await.map(drop)
}

/// Images that nobody has pushed, of which no two share anything.
pub struct Images {
    configs: Blobs,
    layers: Blobs,
    salt: u64,
}

impl Images {
    pub(super) fn new(salt: u64) -> Self {
        Images {
            configs: Blobs::new(1500, salt),
            layers: Blobs::new(10 << 10, salt + 1),
            salt,
        }
    }

    pub(super) async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        let config = self.configs.get(number);
        let layers: Vec<_> = (0..4).map(|layer| self.layers.get(number * 4 + layer)).collect();
        let mut bytes = 0;
        for blob in layers.iter().chain([&config]) {
            let head = Request::get("HEAD", &blob_path(PUSHED, &blob.digest));
            connection.ask(&head, &[], &[404]).await?;
            push(connection, PUSHED, blob).await?;
            bytes += blob.length();
        }
        let manifest = manifest(&config, &layers);
        put(connection, PUSHED, &format!("i{}-{number}", self.salt), &manifest).await?;
        Ok(bytes + manifest.len() as u64)
    }
}

/// Blobs of one repository that come into others.
pub struct Mount {
    blobs: Vec<Blob>,
    salt: u64,
}

impl Mount {
    pub(super) async fn prepare(shelf: &mut Shelf, salt: u64) -> io::Result<Self> {
        let (all, mut blobs) = (Blobs::new(4 << 10, 0x006d_6f75_6e74), Vec::new());
        for number in 0..100 {
            let blob = all.get(number);
            shelf.blob(&blob).await?;
            blobs.push(blob);
        }
        Ok(Mount { blobs, salt })
    }

    pub(super) fn renew(&mut self, salt: u64) {
        self.salt = salt;
    }

    pub(super) async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        let several = self.blobs.len() as u64;
        let digest = &self.blobs[(number % several) as usize].digest;
        let repository = format!("load/mounts-{}-{}", self.salt, number / several);
        let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={REPOSITORY}");
        let request = Request::new("POST", &target, "", Some(0));
        connection.ask(&request, &[], &[201]).await?;
        Ok(0)
    }
}
