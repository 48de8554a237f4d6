//! What a request asks for, read from its head alone.

use http::{HeaderMap, Method, Uri, header};

use super::condition::{self, EntityTags};
use super::content_range::{Chunk, content_length};
use super::path::{self, Resource, Route};
use super::query::Query;
use super::{parse_range, quoted};
use crate::auth::{Access, Action};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest;
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{ByteRange, Expect, MountFrom, UploadId};

/// Most tags that one manifest can be put under in one request; the specification asks for at least ten.
pub const TAGS_MAX: usize = 64;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// How many entries at most (`n`).
    pub limit: Option<u64>,
    /// The entry after which to begin (`last`); it need not exist.
    pub after: Option<String>,
}

/// A request of the protocol, with every name in it parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Whether the protocol is spoken here (end-1).
    Ping,
    /// The repositories that the caller may see.
    ListRepositories {
        /// Which part of the list.
        paging: Paging,
    },
    /// A repository's tags (end-8).
    ListTags {
        /// The repository.
        repository: RepositoryName,
        /// Which part of the list.
        paging: Paging,
    },
    /// The manifests that refer to another (end-12).
    ListReferrers {
        /// The repository.
        repository: RepositoryName,
        /// The manifest referred to.
        subject: Digest,
        /// Only artifacts of this type.
        artifact_type: Option<String>,
        /// The referrer after which to begin.
        after: Option<Digest>,
        /// How many at most.
        limit: Option<u64>,
    },
    /// What is known of a blob (end-2, HEAD).
    StatBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// What the caller has already.
        unless: Option<EntityTags>,
    },
    /// A blob, or a part of it (end-2, GET).
    ReadBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// The part.
        range: Option<ByteRange>,
        /// What the caller has already.
        unless: Option<EntityTags>,
    },
    /// Deletes a blob (end-10).
    DeleteBlob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// Begins an upload (end-4a, end-4c).
    BeginUpload {
        /// The repository.
        repository: RepositoryName,
        /// What the digest will be computed with.
        algorithm: Option<Algorithm>,
    },
    /// A blob in one request (end-4b).
    PushBlob {
        /// The repository.
        repository: RepositoryName,
        /// The digest that the body must have.
        digest: Digest,
        /// The body's length.
        chunk: Chunk,
    },
    /// Takes a blob from another repository (end-11), or else begins an upload.
    MountBlob {
        /// The repository that is to have it.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Where from.
        from: MountFrom,
    },
    /// How far an upload is (end-13).
    UploadStatus {
        /// The repository.
        repository: RepositoryName,
        /// The upload.
        id: UploadId,
    },
    /// Adds to an upload (end-5).
    AppendUpload {
        /// The repository.
        repository: RepositoryName,
        /// The upload.
        id: UploadId,
        /// Where the body belongs.
        chunk: Chunk,
    },
    /// Ends an upload, the body being its last part (end-6).
    FinishUpload {
        /// The repository.
        repository: RepositoryName,
        /// The upload.
        id: UploadId,
        /// Where the body belongs.
        chunk: Chunk,
        /// The digest that the whole must have.
        digest: Digest,
    },
    /// Gives an upload up (end-14).
    CancelUpload {
        /// The repository.
        repository: RepositoryName,
        /// The upload.
        id: UploadId,
    },
    /// What is known of a manifest (end-3, HEAD).
    StatManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        reference: Reference,
        /// What the caller has already.
        unless: Option<EntityTags>,
    },
    /// A manifest (end-3, GET).
    GetManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        reference: Reference,
        /// What the caller has already.
        unless: Option<EntityTags>,
    },
    /// Writes a manifest (end-7a, end-7b).
    PutManifest {
        /// The repository.
        repository: RepositoryName,
        /// Its tag, or the digest that it must have.
        reference: Reference,
        /// The tags given as parameters, each once.
        tags: Vec<Tag>,
        /// The `Content-Type`, without parameters.
        media_type: Option<String>,
        /// The body's length, if announced.
        length: Option<u64>,
        /// What its tags must point at beforehand.
        expect: Expect,
    },
    /// Deletes a manifest and its tags, or only a tag (end-9).
    DeleteManifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest, or the tag.
        reference: Reference,
    },
}

impl Operation {
    /// Reads the head of a request. Looks at nothing else, and never panics.
    ///
    /// # Errors
    /// `RouteUnknown` for a path that is none of the protocol's, `Unsupported` for a method that the path does not
    /// know, and what its parts call for: `NameInvalid`, `DigestInvalid`, `TagInvalid`, `UploadUnknown`,
    /// `PaginationInvalid`, `RangeInvalid`, `SizeInvalid`, `ManifestTooLarge`, `UriTooLong`, `RequestInvalid`.
    ///
    /// ```
    /// use http::{HeaderMap, Method};
    /// use registry_core::http::Operation;
    /// let uri = "/v2/team/app/manifests/latest".parse().unwrap();
    /// let operation = Operation::parse(&Method::GET, &uri, &HeaderMap::new()).unwrap();
    /// assert!(matches!(operation, Operation::GetManifest { .. }));
    /// ```
    pub fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Operation> {
        let route = path::route(uri.path()).ok_or_else(|| {
            Error::new(
                ErrorKind::RouteUnknown,
                format!("{} is no path of this registry", quoted(uri.path())),
            )
        })?;
        if !route.resource.methods().contains(method) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} is not a method of {}",
                    quoted(method.as_str()),
                    quoted(uri.path())
                ),
            ));
        }
        let request = Request {
            method,
            route,
            query: Query::new(uri.query()),
            headers,
        };
        let repository = || path::repository(route.name);
        match route.resource {
            Resource::Base => Ok(Operation::Ping),
            Resource::Catalog => Ok(Operation::ListRepositories {
                paging: request.paging()?,
            }),
            Resource::Tags => Ok(Operation::ListTags {
                repository: repository()?,
                paging: request.paging()?,
            }),
            Resource::Referrers => request.referrers(repository()?),
            Resource::Blob => request.blob(repository()?),
            Resource::Uploads => request.uploads(repository()?),
            Resource::Upload => request.upload(repository()?),
            Resource::Manifest => request.manifest(repository()?),
        }
    }

    /// The accesses that this operation may require: what a client should ask a token for. A writer reads too, to see
    /// what is there already.
    pub fn needs(&self) -> Vec<Access> {
        use Action::{Delete, Pull, Push};
        let (repository, actions): (_, &[Action]) = match self {
            Operation::Ping => return Vec::new(),
            Operation::ListRepositories { .. } => return vec![Access::Catalog],
            Operation::ListTags { repository, .. }
            | Operation::ListReferrers { repository, .. }
            | Operation::StatBlob { repository, .. }
            | Operation::ReadBlob { repository, .. }
            | Operation::StatManifest { repository, .. }
            | Operation::GetManifest { repository, .. } => (repository, &[Pull]),
            Operation::BeginUpload { repository, .. }
            | Operation::PushBlob { repository, .. }
            | Operation::MountBlob { repository, .. }
            | Operation::UploadStatus { repository, .. }
            | Operation::AppendUpload { repository, .. }
            | Operation::FinishUpload { repository, .. }
            | Operation::CancelUpload { repository, .. }
            | Operation::PutManifest { repository, .. } => (repository, &[Pull, Push]),
            Operation::DeleteBlob { repository, .. } | Operation::DeleteManifest { repository, .. } => {
                (repository, &[Delete])
            }
        };
        let mut needs: Vec<Access> = actions
            .iter()
            .map(|action| Access::Repository(repository.clone(), *action))
            .collect();
        if let Operation::MountBlob {
            from: MountFrom::Repository(source),
            ..
        } = self
        {
            needs.push(Access::Repository(source.clone(), Pull));
        }
        needs
    }
}

/// A request's head, taken apart.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a Method,
    route: Route<'a>,
    query: Query<'a>,
    headers: &'a HeaderMap,
}

impl Request<'_> {
    fn paging(self) -> Result<Paging> {
        Ok(Paging {
            limit: self.query.limit()?,
            after: self.query.last()?,
        })
    }

    fn referrers(self, repository: RepositoryName) -> Result<Operation> {
        let after = self.query.last()?.map(|last| {
            last.parse().map_err(|why| {
                Error::new(
                    ErrorKind::PaginationInvalid,
                    format!("invalid starting point last={}: {why}", quoted(&last)),
                )
            })
        });
        Ok(Operation::ListReferrers {
            repository,
            subject: path::digest(self.route.last)?,
            artifact_type: self
                .query
                .one("artifactType")?
                .filter(|value| !value.is_empty())
                .map(Into::into),
            after: after.transpose()?,
            limit: self.query.limit()?,
        })
    }

    fn blob(self, repository: RepositoryName) -> Result<Operation> {
        let digest = path::digest(self.route.last)?;
        if *self.method == Method::DELETE {
            condition::unconditional(self.headers)?;
            return Ok(Operation::DeleteBlob { repository, digest });
        }
        let unless = condition::already_there(self.headers);
        // A range is defined for GET alone (RFC 9110 §14.2).
        if *self.method == Method::HEAD {
            return Ok(Operation::StatBlob {
                repository,
                digest,
                unless,
            });
        }
        let mut ranges = self.headers.get_all(header::RANGE).iter();
        let range = match (ranges.next(), ranges.next()) {
            (Some(range), None) if condition::range_counts(self.headers, &digest) => {
                range.to_str().ok().and_then(parse_range)
            }
            _ => None,
        };
        Ok(Operation::ReadBlob {
            repository,
            digest,
            range,
            unless,
        })
    }

    fn uploads(self, repository: RepositoryName) -> Result<Operation> {
        let algorithm = self.query.one("digest-algorithm")?.map(|text| {
            text.parse::<Algorithm>().map_err(|why| {
                Error::new(
                    ErrorKind::DigestInvalid,
                    format!("invalid digest-algorithm {}: {why}", quoted(&text)),
                )
            })
        });
        let algorithm = algorithm.transpose()?;
        if let Some(digest) = self.query.one("mount")? {
            let from = match self.query.one("from")? {
                Some(name) => MountFrom::Repository(path::repository_name(&name)?),
                None => MountFrom::Anywhere,
            };
            return Ok(Operation::MountBlob {
                repository,
                digest: path::digest_text(&digest)?,
                from,
            });
        }
        match self.query.one("digest")? {
            Some(digest) => Ok(Operation::PushBlob {
                repository,
                digest: path::digest_text(&digest)?,
                chunk: Chunk::parse(self.headers)?,
            }),
            None => Ok(Operation::BeginUpload {
                repository,
                algorithm,
            }),
        }
    }

    fn upload(self, repository: RepositoryName) -> Result<Operation> {
        let id = path::upload(self.route.last)?;
        match *self.method {
            Method::PATCH => Ok(Operation::AppendUpload {
                repository,
                id,
                chunk: Chunk::parse(self.headers)?,
            }),
            Method::PUT => {
                let digest = self.query.one("digest")?.ok_or_else(|| {
                    Error::new(
                        ErrorKind::DigestInvalid,
                        "the parameter digest is missing; an upload ends with the digest of the whole blob",
                    )
                })?;
                Ok(Operation::FinishUpload {
                    repository,
                    id,
                    digest: path::digest_text(&digest)?,
                    chunk: Chunk::parse(self.headers)?,
                })
            }
            Method::DELETE => Ok(Operation::CancelUpload { repository, id }),
            _ => Ok(Operation::UploadStatus { repository, id }),
        }
    }

    fn manifest(self, repository: RepositoryName) -> Result<Operation> {
        let reference = path::reference(self.route.last)?;
        match *self.method {
            Method::PUT => {
                let length = content_length(self.headers)?;
                if length.is_some_and(|length| length > manifest::SIZE_MAX as u64) {
                    return Err(manifest::too_large());
                }
                Ok(Operation::PutManifest {
                    repository,
                    reference,
                    tags: self.tags()?,
                    media_type: self.media_type()?,
                    length,
                    expect: condition::expected(self.headers)?,
                })
            }
            Method::DELETE => {
                condition::unconditional(self.headers)?;
                Ok(Operation::DeleteManifest {
                    repository,
                    reference,
                })
            }
            Method::HEAD => Ok(Operation::StatManifest {
                repository,
                reference,
                unless: condition::already_there(self.headers),
            }),
            _ => Ok(Operation::GetManifest {
                repository,
                reference,
                unless: condition::already_there(self.headers),
            }),
        }
    }

    fn tags(self) -> Result<Vec<Tag>> {
        let mut tags = Vec::new();
        for text in self.query.all("tag") {
            let tag = path::tag_text(&text)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > TAGS_MAX {
                return Err(Error::new(
                    ErrorKind::UriTooLong,
                    format!(
                        "tag {} is one too many: at most {TAGS_MAX} in one request; put the rest in another",
                        quoted(&text)
                    ),
                ));
            }
        }
        Ok(tags)
    }

    fn media_type(self) -> Result<Option<String>> {
        let Some(value) = self.headers.get(header::CONTENT_TYPE) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| {
            let text = String::from_utf8_lossy(value.as_bytes());
            Error::new(
                ErrorKind::ManifestInvalid,
                format!("the Content-Type {} is no media type", quoted(&text)),
            )
        })?;
        let essence = manifest::essence(text);
        Ok((!essence.is_empty()).then(|| essence.to_owned()))
    }
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
