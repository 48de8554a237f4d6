//! The registry for one test.

mod support;

use http::Method;
use registry_core::store::Terms;
use server_hyper::TestServer;
use tokio::net::TcpStream;

use support::{http1, read, request, soon};

#[tokio::test]
async fn a_test_has_a_whole_registry_of_its_own_until_it_drops_it() {
    let (one, other) = (
        TestServer::in_memory().await.unwrap(),
        TestServer::in_memory().await.unwrap(),
    );
    assert_eq!(one.url(), format!("http://{}", one.addr()));
    let mut client = http1(one.addr()).await;
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let push = format!("/v2/a/b/blobs/uploads/?digest={config}");
    let pushed = soon(client.send_request(request(Method::POST, &push, "{}")))
        .await
        .unwrap();
    assert_eq!(read(pushed).await.0, 201);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [],
    })
    .to_string();
    let mut put = request(Method::PUT, "/v2/a/b/manifests/latest", manifest.clone());
    put.headers_mut()
        .insert("content-type", media_type.parse().unwrap());
    assert_eq!(read(soon(client.send_request(put)).await.unwrap()).await.0, 201);
    let get = || request(Method::GET, "/v2/a/b/manifests/latest", "");
    assert_eq!(
        read(soon(client.send_request(get())).await.unwrap()).await.1,
        manifest
    );
    let stranger = soon(http1(other.addr()).await.send_request(get())).await.unwrap();
    assert_eq!(read(stranger).await.0, 404);

    let address = one.addr();
    drop(one);
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_test_collects_when_it_says_so() {
    let registry = TestServer::in_memory().await.unwrap();
    let mut client = http1(registry.addr()).await;
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let push = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let pushed = soon(client.send_request(request(Method::POST, &push, "hello"))).await;
    assert_eq!(read(pushed.unwrap()).await.0, 201);
    let blob = format!("/v2/a/b/blobs/{digest}");
    let kept = registry.collect(Terms::default()).await.unwrap();
    assert_eq!(kept.counts.looked_at, 0);
    let head = soon(client.send_request(request(Method::GET, &blob, ""))).await;
    assert_eq!(read(head.unwrap()).await.0, 200);
    let gone = registry
        .collect(Terms {
            grace: Some(std::time::Duration::ZERO),
            alone: true,
        })
        .await
        .unwrap();
    assert_eq!(
        (gone.counts.condemned, gone.counts.removed, gone.counts.bytes),
        (1, 1, 5)
    );
    let head = soon(client.send_request(request(Method::GET, &blob, ""))).await;
    assert_eq!(read(head.unwrap()).await.0, 404);
}
