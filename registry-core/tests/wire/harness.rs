//! A registry in memory behind the service, without a socket.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use registry_core::auth::{
    Access, Action, Authenticated, Authenticator, Authorizer, Challenge, Decision, Identity, Visible,
};
use registry_core::http::{Body, Limits, Service};
use registry_core::store::{BlobStore, Kv, Lifetimes};
use registry_core::wrappers::Authorized;
use registry_core::{
    Digest, Error, ErrorKind, LocalRegistry, Options, Registry, RepositoryName, Result, Runtime, Timestamp,
    runtime::Threads,
};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use serde_json::{Value, json};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The service, and what is below it.
pub(crate) struct Wire {
    pub(crate) service: Service,
    pub(crate) clock: ManualClock,
    registry: LocalRegistry,
    kv: Arc<MemoryKv>,
    bytes: Arc<MemoryBytes>,
}

impl Wire {
    /// A registry for anyone.
    pub(crate) fn new() -> Wire {
        Wire::on(Threads::shared())
    }

    pub(crate) fn on(runtime: Arc<dyn Runtime>) -> Wire {
        let clock = ManualClock::at(Timestamp::system());
        let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
        let bytes = Arc::new(MemoryBytes::new());
        let records = Records::new(kv.clone(), Arc::clone(&runtime), Lifetimes::default());
        let registry = LocalRegistry::new(
            Arc::new(records),
            bytes.clone(),
            bytes.clone(),
            Arc::clone(&runtime),
            // Nothing inline, so that the path of large blobs is what is tested.
            Options {
                inline_max: 0,
                ..Options::default()
            },
        );
        Wire {
            service: Service::new(Arc::new(registry.clone()), runtime),
            clock,
            registry,
            kv,
            bytes,
        }
    }

    /// The same registry as `policy` lets it be seen; [`Named`] says who asks.
    pub(crate) fn under<R: Registry>(&self, policy: impl FnOnce(LocalRegistry) -> R) -> Wire {
        let registry: Arc<dyn Registry> = Arc::new(policy(self.registry.clone()));
        Wire {
            service: Service::new(registry, Threads::shared()).authenticator(Arc::new(Named)),
            clock: self.clock.clone(),
            registry: self.registry.clone(),
            kv: self.kv.clone(),
            bytes: self.bytes.clone(),
        }
    }

    /// The same registry with these accounts.
    pub(crate) fn governed(&self, grants: Grants) -> Wire {
        self.under(|registry| Authorized::around(registry, grants))
    }

    pub(crate) fn limited(mut self, limits: Limits) -> Wire {
        self.service = self.service.limits(limits);
        self
    }

    /// Sends a request with a body of known length, and checks what every answer must keep to.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        let mut request = request(method, target, headers);
        if !request.headers_mut().contains_key("content-length") && (!body.is_empty() || method == "PUT") {
            request.headers_mut().insert("content-length", body.len().into());
        }
        self.exchange(request.map(|()| Full::new(body)))
    }

    /// Sends a request whose body comes in these pieces, and perhaps breaks off.
    pub(crate) fn stream(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        pieces: Vec<io::Result<Bytes>>,
    ) -> Answer {
        let body = StreamBody::new(stream::iter(
            pieces.into_iter().map(|piece| piece.map(Frame::data)),
        ));
        self.exchange(request(method, target, headers).map(|()| body))
    }

    pub(crate) fn exchange<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        futures_executor::block_on(self.ask(request))
    }

    pub(crate) async fn ask<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = Answer::read(self.service.handle(request).await).await;
        answer.check(&method, &path);
        answer
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "")
    }

    pub(crate) fn head(&self, target: &str) -> Answer {
        self.send("HEAD", target, &[], "")
    }

    pub(crate) fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], "")
    }

    pub(crate) fn post(&self, target: &str) -> Answer {
        self.send("POST", target, &[], "")
    }

    pub(crate) fn put_manifest(&self, target: &str, media_type: &str, body: impl Into<Bytes>) -> Answer {
        self.send("PUT", target, &[("content-type", media_type)], body)
    }

    /// Pushes a blob in one request.
    pub(crate) fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.send("POST", &target, &[], content.to_vec()).is(201);
        digest
    }

    /// Pushes a small image, and gives its bytes.
    pub(crate) fn push_image(&self, repository: &str, reference: &str, seed: &str) -> (Digest, String) {
        let manifest = self.image(repository, seed, json!({}));
        let digest = Digest::sha256(manifest.as_bytes());
        let reference = if reference.is_empty() {
            digest.to_string()
        } else {
            reference.to_owned()
        };
        self.put_manifest(
            &format!("/v2/{repository}/manifests/{reference}"),
            IMAGE,
            manifest.clone(),
        )
        .is(201);
        (digest, manifest)
    }

    /// Pushes the blobs of a small image, and gives its manifest with `extra` fields.
    pub(crate) fn image(&self, repository: &str, seed: &str, extra: Value) -> String {
        let (config, layer) = (format!("config {seed}"), format!("layer {seed}"));
        self.push_blob(repository, config.as_bytes());
        self.push_blob(repository, layer.as_bytes());
        let mut manifest = json!({
            "schemaVersion": 2,
            "config": descriptor(CONFIG, config.as_bytes()),
            "layers": [descriptor(LAYER, layer.as_bytes())],
        });
        for (key, value) in extra.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        // With white space, so that a registry that writes JSON anew is found out.
        format!("{manifest:#}\n")
    }

    /// Begins an upload, and gives the path to go on at.
    pub(crate) fn begin(&self, repository: &str) -> String {
        self.post(&format!("/v2/{repository}/blobs/uploads/"))
            .is(202)
            .text("location")
    }

    pub(crate) fn begin_answer(&self) -> Answer {
        self.post("/v2/a/blobs/uploads/").is(202)
    }

    /// All that is kept: keys of records, and how many objects of bytes. A collector's notes of what it still has to
    /// unlink are left out, as they are no content.
    pub(crate) fn kept(&self) -> (Vec<String>, usize) {
        futures_executor::block_on(async {
            let entries = self.kv.scan("", None, usize::MAX).await.unwrap();
            let keys = entries.into_iter().map(|(key, _)| key);
            let is_note = |key: &String| ["doomed/", "unlink/"].iter().any(|table| key.starts_with(table));
            let keys = keys.filter(|key| !is_note(key)).collect();
            (keys, self.bytes.list(None, usize::MAX).await.unwrap().len())
        })
    }
}

pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(content), "size": content.len() })
}

/// A response, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn read(response: Response<Body>) -> Answer {
        let (head, body) = response.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// What holds for every answer of the protocol.
    fn check(&self, method: &Method, path: &str) {
        assert!(self.headers.contains_key("x-request-id"));
        assert_eq!(self.text("x-content-type-options"), "nosniff");
        assert_eq!(
            self.headers.get("docker-distribution-api-version").is_some(),
            path == "/v2" || path.starts_with("/v2/")
        );
        match (method, self.status) {
            (_, 204 | 304) => {
                assert!(self.body.is_empty() && !self.headers.contains_key("content-length"));
            }
            (&Method::HEAD, _) => {
                assert!(self.body.is_empty() && self.headers.contains_key("content-length"));
            }
            _ => assert_eq!(self.text("content-length"), self.body.len().to_string()),
        }
        if self.status >= 400 && method != Method::HEAD {
            assert_eq!(self.text("content-type"), "application/json");
            let errors = self.json()["errors"].as_array().unwrap().clone();
            assert_eq!(errors.len(), 1);
            let code = errors[0]["code"].as_str().unwrap();
            assert!(
                code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{code}"
            );
            assert!(!errors[0]["message"].as_str().unwrap().is_empty());
        }
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// An error with this code, whose message holds `named`.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, code: &str, named: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.code(), code);
        assert!(
            answer.message().contains(named),
            "{:?} does not name {named:?}",
            answer.message()
        );
        answer
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn detail(&self) -> Value {
        self.json()["errors"][0]["detail"].clone()
    }

    /// A header's value; empty without one.
    pub(crate) fn text(&self, name: &str) -> String {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    /// The target of `Link: <…>; rel="next"`.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.text("link");
        let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
        Some(target.to_owned())
    }
}

/// Takes `Authorization: Bearer <name>` for who somebody is, and `<name>|<scope>` for a token of theirs.
pub(crate) struct Named;

#[async_trait]
impl Authenticator for Named {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Authenticated>> {
        let Some(value) = head.headers.get("authorization") else {
            return Ok(None);
        };
        match value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
        {
            Some(name) if name != "forged" => {
                let (name, scope) = name
                    .split_once('|')
                    .map_or((name, None), |(name, scope)| (name, Some(scope)));
                Ok(Some(Authenticated {
                    identity: match name {
                        "" => Identity::Anonymous,
                        _ => Identity::Named(name.into()),
                    },
                    scope: scope.map(|scope| Arc::new(scope.parse().unwrap())),
                }))
            }
            _ => Err(Error::new(
                ErrorKind::Unauthorized,
                "the token is not valid; log in again",
            )),
        }
    }

    fn challenge(&self, _head: &Parts) -> Challenge {
        Challenge::Bearer {
            realm: "https://registry.test/token".into(),
            service: "registry.test".into(),
        }
    }
}

/// Who may do what: a name (empty for everybody), a repository, and actions there.
#[derive(Clone)]
pub(crate) struct Grants(pub(crate) Vec<(&'static str, &'static str, Vec<Action>)>);

impl Grants {
    fn of<'a>(
        &'a self,
        identity: &'a Identity,
    ) -> impl Iterator<Item = &'a (&'static str, &'static str, Vec<Action>)> {
        let name = match identity {
            Identity::Named(name) => name.as_ref(),
            _ => "",
        };
        self.0
            .iter()
            .filter(move |(who, ..)| *who == name || who.is_empty())
    }
}

#[async_trait]
impl Authorizer for Grants {
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        let granted = |access: &Access| match access {
            Access::Catalog => *identity != Identity::Anonymous,
            Access::Repository(name, action) => self
                .of(identity)
                .any(|(_, repository, actions)| *repository == name.as_str() && actions.contains(action)),
        };
        Ok(match accesses.iter().all(granted) {
            true => Decision::Allowed,
            false => Decision::Denied {
                visible: accesses.iter().all(|access| match access {
                    Access::Repository(name, _) => self
                        .of(identity)
                        .any(|(_, repository, _)| *repository == name.as_str()),
                    Access::Catalog => true,
                }),
            },
        })
    }

    async fn visible(&self, identity: &Identity) -> Result<Visible> {
        let names: Vec<RepositoryName> = self
            .of(identity)
            .filter(|(_, _, actions)| actions.contains(&Action::Pull))
            .map(|(_, repository, _)| repository.parse().unwrap())
            .collect();
        Ok(Visible::Only {
            names: names.into(),
            prefixes: Arc::new([]),
        })
    }
}
