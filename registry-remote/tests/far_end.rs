//! A far end that does not keep to the protocol, or does in ways that our servers do not: nothing it says is trusted
//! that can be checked, and nothing is told to whom it is none of their business.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use registry_core::auth::Visible;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::{
    Blob, BlobRead, ByteRange, Charge, Children, Context, Digest, ErrorKind, Expect, MountFrom, PutManifest,
    Reference, Registry, RepositoryName, Tag, WriteOptions, empty,
};
use registry_remote::{Builder, RemoteRegistry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request as its head tells it to; one request a connection.
struct Scripted {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let head = head(&mut stream).await?;
                    let text = answer(&head);
                    seen.lock().unwrap().push(head);
                    stream.write_all(text.as_bytes()).await?;
                    // `stall` is what a far end says that then says nothing more.
                    if text.is_empty() || text.ends_with("stall") {
                        std::future::pending::<()>().await;
                    }
                    stream.shutdown().await
                });
            }
        });
        Scripted { url, heads, task }
    }

    fn remote(&self) -> RemoteRegistry {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> Builder {
        RemoteRegistry::builder(&self.url).idle_timeout(Duration::from_millis(300))
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn repository() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn ctx() -> Context {
    Context::system()
}

async fn bytes(blob: Blob) -> io::Result<Vec<u8>> {
    let BlobRead::Stream(stream) = blob.read else {
        panic!("a remote blob is a stream")
    };
    stream
        .try_fold(Vec::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

async fn read(remote: &RemoteRegistry, digest: &Digest, range: Option<ByteRange>) -> io::Result<Vec<u8>> {
    let blob = remote.read_blob(&ctx(), &repository(), digest, range).await;
    bytes(blob.expect("a head that looks right")).await
}

#[tokio::test]
async fn a_blob_that_is_another_is_not_handed_out_to_its_end() {
    let server = Scripted::start(|_| response("200 OK", "", "another")).await;
    let blob = server
        .remote()
        .read_blob(&ctx(), &repository(), &Digest::sha256(b"the one"), None)
        .await
        .unwrap();
    let BlobRead::Stream(mut stream) = blob.read else {
        panic!("a remote blob is a stream")
    };
    let mut given = 0;
    let error = loop {
        match stream.try_next().await {
            Ok(Some(piece)) => given += piece.len(),
            Ok(None) => panic!("other bytes were taken for the blob"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(given < "another".len(), "whoever counts bytes got them all");
}

#[tokio::test]
async fn a_blob_that_is_cut_off_is_an_error() {
    let server =
        Scripted::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part".to_owned()).await;
    assert!(read(&server.remote(), &Digest::sha256(b"x"), None).await.is_err());
}

#[tokio::test]
async fn a_blob_whose_digest_header_is_another_is_refused() {
    let other = Digest::sha256(b"other");
    let server =
        Scripted::start(move |_| response("200 OK", &format!("Docker-Content-Digest: {other}\r\n"), "x"))
            .await;
    let refused = server
        .remote()
        .read_blob(&ctx(), &repository(), &Digest::sha256(b"x"), None)
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_far_end_that_ignores_ranges_is_read_in_parts_all_the_same() {
    let server = Scripted::start(|_| response("200 OK", "", "0123456789")).await;
    let (remote, digest) = (server.remote(), Digest::sha256(b"0123456789"));
    for (range, expected) in [
        (ByteRange::From(2, Some(4)), "234"),
        (ByteRange::Suffix(3), "789"),
        (ByteRange::From(0, None), "0123456789"),
    ] {
        assert_eq!(
            read(&remote, &digest, Some(range)).await.unwrap(),
            expected.as_bytes()
        );
    }
    let beyond = remote
        .read_blob(&ctx(), &repository(), &digest, Some(ByteRange::From(10, None)))
        .await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::RangeInvalid);
}

#[tokio::test]
async fn another_part_than_was_asked_for_is_refused() {
    let server =
        Scripted::start(|_| response("206 Partial Content", "Content-Range: bytes 0-2/10\r\n", "012")).await;
    let range = Some(ByteRange::From(2, Some(4)));
    let refused = server
        .remote()
        .read_blob(&ctx(), &repository(), &Digest::sha256(b"x"), range)
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_manifest_that_is_another_is_refused() {
    let server = Scripted::start(|_| response("200 OK", "Content-Type: a/b\r\n", "{}")).await;
    let reference = Reference::Digest(Digest::sha256(b"the one"));
    let refused = server
        .remote()
        .get_manifest(&ctx(), &repository(), &reference)
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let server = Scripted::start(|head| match head.starts_with("get /v2/team/app/manifests") {
        true => "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 999999999999\r\n\r\n{".to_owned(),
        false => "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{".to_owned(),
    })
    .await;
    let remote = server.remote();
    let reference = Reference::Tag("v1".parse().unwrap());
    let manifest = remote.get_manifest(&ctx(), &repository(), &reference).await;
    assert_eq!(manifest.unwrap_err().kind(), ErrorKind::Internal);
    let tags = remote.list_tags(&ctx(), &repository(), None, 10).await;
    assert_eq!(tags.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn an_upload_that_is_sent_elsewhere_is_refused() {
    for location in [
        "http://127.0.0.1:1/v2/team/app/blobs/uploads/x",
        "//elsewhere.example/v2/team/app/blobs/uploads/x",
        "/v2/team/other/blobs/uploads/x",
        "/somewhere/else",
    ] {
        let server =
            Scripted::start(move |_| response("202 Accepted", &format!("Location: {location}\r\n"), ""))
                .await;
        let refused = server.remote().begin_upload(&ctx(), &repository(), None).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal, "{location}");
    }
}

#[tokio::test]
async fn an_upload_address_with_a_query_is_used_as_it_was_given() {
    let server = Scripted::start(|head| {
        let digest = Digest::sha256(b"");
        match &head[..3] {
            "pos" => response(
                "202 Accepted",
                "Location: /v2/team/app/blobs/uploads/1-2?_state=a%2Bb\r\n",
                "",
            ),
            "put" => response(
                "201 Created",
                &format!("Location: /v2/team/app/blobs/{digest}\r\n"),
                "",
            ),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    })
    .await;
    let remote = server.remote();
    let upload = remote.begin_upload(&ctx(), &repository(), None).await.unwrap();
    let digest = Digest::sha256(b"");
    remote
        .finish_upload(&ctx(), &repository(), &upload.id, None, empty(), &digest)
        .await
        .unwrap();
    let put = format!("put /v2/team/app/blobs/uploads/1-2?_state=a%2bb&digest={digest} ");
    assert!(
        server.heads().iter().any(|head| head.starts_with(&put)),
        "{:?}",
        server.heads()
    );
}

#[tokio::test]
async fn a_redirect_elsewhere_is_followed_without_telling_who_asks() {
    let elsewhere = Scripted::start(|_| response("200 OK", "", "content")).await;
    let target = format!("{}/bucket/key", elsewhere.url);
    let server =
        Scripted::start(move |_| response("307 Temporary Redirect", &format!("Location: {target}\r\n"), ""))
            .await;
    let remote = server.builder().basic("robot", "secret").build().unwrap();
    let content = read(&remote, &Digest::sha256(b"content"), None).await.unwrap();
    assert_eq!(content, b"content");
    assert!(server.heads()[0].contains("authorization: basic "));
    assert!(elsewhere.heads()[0].starts_with("get /bucket/key "));
    assert!(
        !elsewhere.heads()[0].contains("authorization"),
        "{:?}",
        elsewhere.heads()
    );
}

#[tokio::test]
async fn a_redirect_by_another_scheme_or_without_end_is_not_followed() {
    for location in [
        "https://127.0.0.1:1/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1:1/",
        "/again",
    ] {
        let server =
            Scripted::start(move |_| response("302 Found", &format!("Location: {location}\r\n"), "")).await;
        let refused = server
            .remote()
            .read_blob(&ctx(), &repository(), &Digest::sha256(b"x"), None)
            .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal, "{location}");
        assert!(server.heads().len() <= 6, "{} requests", server.heads().len());
    }
}

#[tokio::test]
async fn a_write_is_not_redirected() {
    let server =
        Scripted::start(|_| response("307 Temporary Redirect", "Location: /elsewhere\r\n", "")).await;
    let refused = server
        .remote()
        .delete_blob(&ctx(), &repository(), &Digest::sha256(b"x"))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn a_far_end_that_stands_still_is_not_waited_for() {
    let mute = Scripted::start(|_| String::new()).await;
    let refused = mute
        .remote()
        .stat_blob(&ctx(), &repository(), &Digest::sha256(b"x"))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);

    let stalls = Scripted::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstall".to_owned()).await;
    let error = read(&stalls.remote(), &Digest::sha256(b"x"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_far_end_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteRegistry::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let refused = remote
        .stat_blob(&ctx(), &repository(), &Digest::sha256(b"x"))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_the_protocol_cannot_say_is_refused_and_not_sent() {
    let server = Scripted::start(|_| response("500 Oh", "", "")).await;
    let remote = server.remote();
    let put = |options| PutManifest {
        options,
        ..PutManifest::tagged("v1".parse().unwrap(), OCI_MANIFEST, "{}")
    };
    let charge = vec![Charge {
        counter: "team".to_owned(),
        amount: 1,
        limit: None,
    }];
    for (what, options) in [
        (
            "charge",
            WriteOptions {
                charge,
                ..WriteOptions::default()
            },
        ),
        (
            "deferred",
            WriteOptions {
                children: Children::Deferred,
                ..WriteOptions::default()
            },
        ),
    ] {
        let error = remote
            .put_manifest(&ctx(), &repository(), put(options))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(what), "{}", error.message());
    }
    let error = remote.delete_repository(&ctx(), &repository()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let blind = Context {
        visible: Visible::none(),
        ..ctx()
    };
    let anywhere = remote
        .mount_blob(&blind, &repository(), &Digest::sha256(b"x"), &MountFrom::Anywhere)
        .await;
    assert_eq!(anywhere.unwrap(), None);
    assert_eq!(server.heads(), [""; 0]);
}

#[tokio::test]
async fn conditions_and_tags_are_said_in_headers_and_parameters() {
    let server = Scripted::start(|head| {
        let tags = if head.contains("?tag=") {
            "OCI-Tag: a, b\r\n"
        } else {
            ""
        };
        response("201 Created", tags, "")
    })
    .await;
    let remote = server.remote();
    let at = Digest::sha256(b"before");
    let put = |names: &[&str], expect| PutManifest {
        tags: names.iter().map(|name| name.parse::<Tag>().unwrap()).collect(),
        options: WriteOptions {
            expect,
            ..WriteOptions::default()
        },
        ..PutManifest::untagged(OCI_MANIFEST, "{}")
    };
    let digest = Digest::sha256(b"{}");
    for (names, expect, line, header) in [
        (
            &["a"][..],
            Expect::Absent,
            "put /v2/team/app/manifests/a ".to_owned(),
            "if-none-match: *\r\n".to_owned(),
        ),
        (
            &["a"],
            Expect::At(at),
            "put /v2/team/app/manifests/a ".to_owned(),
            format!("if-match: \"{at}\"\r\n"),
        ),
        (
            &["a", "b"],
            Expect::Any,
            format!("put /v2/team/app/manifests/{digest}?tag=a&tag=b "),
            String::new(),
        ),
        (
            &[],
            Expect::Any,
            format!("put /v2/team/app/manifests/{digest} "),
            String::new(),
        ),
    ] {
        remote
            .put_manifest(&ctx(), &repository(), put(names, expect))
            .await
            .unwrap();
        let head = server.heads().pop().unwrap();
        assert!(head.starts_with(&line) && head.contains(&header), "{head}");
        assert_eq!(head.contains("if-"), expect != Expect::Any, "{head}");
    }
    // A far end that does not know the parameter has not set the tags.
    let refused = remote
        .put_manifest(&ctx(), &repository(), put(&["a", "c"], Expect::Any))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains('c'));
}
