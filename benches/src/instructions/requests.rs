//! Whole requests, from the neutral HTTP service to a store on disk, without a connection.

use std::io;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use registry_core::Digest;
use registry_core::http::Service;
use registry_storage::kv;
use server_hyper::{StoreOptions, Stores, TokioRuntime};
use tokio::runtime::Runtime;

use super::Turn;
use crate::load::content::{Blobs, MANIFEST, manifest};

/// Address space for the records: valgrind has less of it than a process that runs by itself.
const CAPACITY: usize = 64 << 20;

const REPOSITORY: &str = "library/alpine";

/// An image that is in the store: of one layer, so that little is hashed.
pub(super) struct Image {
    pub(super) tag: &'static str,
    pub(super) digest: Digest,
    pub(super) layer: String,
}

async fn answered(service: &Service, request: &Request<Bytes>) -> io::Result<(StatusCode, Bytes)> {
    let answer = service.handle(request.clone().map(Full::new)).await;
    let status = answer.status();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}

async fn fill(service: &Service) -> io::Result<Image> {
    let blobs = Blobs::new(64, 1);
    let (config, layer) = (blobs.get(0), blobs.get(1));
    let text = manifest(&config, std::slice::from_ref(&layer));
    let image = Image {
        tag: "latest",
        digest: Digest::sha256(text.as_bytes()),
        layer: layer.digest.clone(),
    };
    let mut requests = Vec::new();
    for blob in [config, layer] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", blob.digest);
        requests.push(Request::post(path).body(Bytes::from(blob.parts().concat())));
    }
    let path = format!("/v2/{REPOSITORY}/manifests/{}", image.tag);
    let put = Request::put(path).header("content-type", MANIFEST);
    requests.push(put.body(Bytes::from(text)));
    for request in requests {
        let (status, said) = answered(service, &request.map_err(io::Error::other)?).await?;
        if status != StatusCode::CREATED {
            let said = String::from_utf8_lossy(&said).into_owned();
            return Err(io::Error::other(format!("{status}: {said}")));
        }
    }
    Ok(image)
}

/// Requests of an image in a new store, as `berth serve` has it; what `below` says is looked for in its repository.
pub(super) fn of_image(method: Method, below: impl FnOnce(&Image) -> String) -> io::Result<Turn> {
    let directory = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let (service, request) = runtime.block_on(async {
        let options = kv::Options {
            capacity: CAPACITY,
            ..kv::Options::default()
        };
        let open = registry_storage::open_with(directory.path(), TokioRuntime::shared(), options);
        let open = open.map_err(io::Error::other)?;
        let stores = Stores::embedded(open.kv.into(), open.bytes.into(), StoreOptions::default());
        let service = Service::new(stores.registry, TokioRuntime::shared());
        let image = fill(&service).await?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2/{REPOSITORY}/{}", below(&image)))
            .header("host", "registry.test")
            .header("accept", MANIFEST)
            .body(Bytes::new())
            .map_err(io::Error::other)?;
        io::Result::Ok((service, request))
    })?;
    Ok(Box::new(move || {
        let _until_here = &directory;
        let answer = runtime.block_on(answered(&service, &request));
        assert_eq!(answer.expect("the body is whole").0, StatusCode::OK);
    }))
}
