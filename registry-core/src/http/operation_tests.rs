use super::*;
use http::HeaderValue;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse_with(method: Method, target: &str, headers: &[(&str, &str)]) -> Result<Operation> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    Operation::parse(&method, &target.parse().unwrap(), &headers)
}

fn parse(method: Method, target: &str) -> Result<Operation> {
    parse_with(method, target, &[])
}

fn kind(method: Method, target: &str) -> ErrorKind {
    match parse(method, target) {
        Ok(operation) => panic!("{target} was read as {operation:?}"),
        Err(error) => error.kind(),
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn digest() -> Digest {
    Digest::sha256(b"")
}

fn id() -> UploadId {
    "0123".parse().unwrap()
}

#[test]
fn every_endpoint_of_the_specification_is_read() {
    let repository = name("team/app");
    let digest = digest();
    let reference = Reference::Tag("latest".parse().unwrap());
    let chunk = Chunk::default();
    let cases = [
        (Method::GET, "/v2/".to_owned(), Operation::Ping),
        (Method::HEAD, "/v2".to_owned(), Operation::Ping),
        (
            Method::GET,
            format!("/v2/team/app/blobs/sha256:{HEX}"),
            Operation::ReadBlob {
                repository: repository.clone(),
                digest,
                range: None,
                unless: None,
            },
        ),
        (
            Method::HEAD,
            format!("/v2/team/app/blobs/sha256%3A{HEX}"),
            Operation::StatBlob {
                repository: repository.clone(),
                digest,
                unless: None,
            },
        ),
        (
            Method::DELETE,
            format!("/v2/team/app/blobs/sha256:{HEX}"),
            Operation::DeleteBlob {
                repository: repository.clone(),
                digest,
            },
        ),
        (
            Method::GET,
            "/v2/team/app/manifests/latest".to_owned(),
            Operation::GetManifest {
                repository: repository.clone(),
                reference: reference.clone(),
                unless: None,
            },
        ),
        (
            Method::HEAD,
            format!("/v2/team/app/manifests/sha256:{HEX}"),
            Operation::StatManifest {
                repository: repository.clone(),
                reference: Reference::Digest(digest),
                unless: None,
            },
        ),
        (
            Method::DELETE,
            "/v2/team/app/manifests/latest".to_owned(),
            Operation::DeleteManifest {
                repository: repository.clone(),
                reference: reference.clone(),
            },
        ),
        (
            Method::POST,
            "/v2/team/app/blobs/uploads/".to_owned(),
            Operation::BeginUpload {
                repository: repository.clone(),
                algorithm: None,
            },
        ),
        (
            Method::POST,
            "/v2/team/app/blobs/uploads/?digest-algorithm=sha512".to_owned(),
            Operation::BeginUpload {
                repository: repository.clone(),
                algorithm: Some(Algorithm::Sha512),
            },
        ),
        (
            Method::POST,
            format!("/v2/team/app/blobs/uploads?digest=sha256:{HEX}"),
            Operation::PushBlob {
                repository: repository.clone(),
                digest,
                chunk,
            },
        ),
        (
            Method::POST,
            format!("/v2/team/app/blobs/uploads/?mount=sha256%3A{HEX}&from=other%2Frepo"),
            Operation::MountBlob {
                repository: repository.clone(),
                digest,
                from: MountFrom::Repository(name("other/repo")),
            },
        ),
        (
            Method::POST,
            format!("/v2/team/app/blobs/uploads/?mount=sha256:{HEX}"),
            Operation::MountBlob {
                repository: repository.clone(),
                digest,
                from: MountFrom::Anywhere,
            },
        ),
        (
            Method::GET,
            "/v2/team/app/blobs/uploads/0123?digest=anything".to_owned(),
            Operation::UploadStatus {
                repository: repository.clone(),
                id: id(),
            },
        ),
        (
            Method::PATCH,
            "/v2/team/app/blobs/uploads/0123".to_owned(),
            Operation::AppendUpload {
                repository: repository.clone(),
                id: id(),
                chunk,
            },
        ),
        (
            Method::PUT,
            format!("/v2/team/app/blobs/uploads/0123?digest=sha256:{HEX}"),
            Operation::FinishUpload {
                repository: repository.clone(),
                id: id(),
                chunk,
                digest,
            },
        ),
        (
            Method::DELETE,
            "/v2/team/app/blobs/uploads/0123".to_owned(),
            Operation::CancelUpload {
                repository: repository.clone(),
                id: id(),
            },
        ),
        (
            Method::GET,
            "/v2/team/app/tags/list?n=5&last=v1".to_owned(),
            Operation::ListTags {
                repository: repository.clone(),
                paging: Paging {
                    limit: Some(5),
                    after: Some("v1".into()),
                },
            },
        ),
        (
            Method::GET,
            format!(
                "/v2/team/app/referrers/sha256:{HEX}?artifactType=application/x+json&n=3&last=sha256:{HEX}"
            ),
            Operation::ListReferrers {
                repository,
                subject: digest,
                artifact_type: Some("application/x+json".into()),
                after: Some(digest),
                limit: Some(3),
            },
        ),
        (
            Method::GET,
            "/v2/_catalog?n=2147483648".to_owned(),
            Operation::ListRepositories {
                paging: Paging {
                    limit: Some(1 << 31),
                    after: None,
                },
            },
        ),
    ];
    for (method, target, expected) in cases {
        assert_eq!(parse(method, &target).unwrap(), expected, "{target}");
    }
}

#[test]
fn a_manifest_is_put_under_its_tag_or_its_digest_and_tag_parameters() {
    let expected = Operation::PutManifest {
        repository: name("a"),
        reference: Reference::Digest(digest()),
        tags: vec!["x".parse().unwrap(), "y".parse().unwrap()],
        media_type: Some("application/json".into()),
        length: Some(2),
        expect: Expect::Absent,
    };
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "2"),
        ("if-none-match", "*"),
    ];
    let target = format!("/v2/a/manifests/sha256:{HEX}?tag=x&tag=y&tag=x");
    assert_eq!(parse_with(Method::PUT, &target, &headers).unwrap(), expected);
}

#[test]
fn tags_beyond_the_limit_are_too_long_a_uri() {
    let tags = |count: usize| -> String { (0..count).map(|n| format!("&tag=t{n}")).collect() };
    let target = |count| format!("/v2/a/manifests/sha256:{HEX}?{}", tags(count));
    assert!(parse(Method::PUT, &target(TAGS_MAX)).is_ok());
    assert_eq!(kind(Method::PUT, &target(TAGS_MAX + 1)), ErrorKind::UriTooLong);
}

#[test]
fn a_manifest_announced_too_long_is_refused_by_its_head() {
    let length = (manifest::SIZE_MAX + 1).to_string();
    let error = parse_with(Method::PUT, "/v2/a/manifests/x", &[("content-length", &length)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ManifestTooLarge);
}

#[test]
fn names_out_of_grammar_are_refused_whatever_their_encoding() {
    for raw in [
        "A",
        "a%2Fb",
        "a%2fb",
        "%2e%2e",
        "a/..",
        "..%2f..",
        "a%00",
        "%00",
        "a/%2e%2e/b",
        "a//b",
        "a%252fb",
        "a%ff",
        "%C3%A4",
        "a%0d%0ab",
        "a%5cb",
        "-a",
        "a%20b",
    ] {
        for rest in ["tags/list", "manifests/x", "blobs/uploads/0"] {
            assert_eq!(
                kind(Method::GET, &format!("/v2/{raw}/{rest}")),
                ErrorKind::NameInvalid,
                "{raw}"
            );
        }
    }
    let mount = format!("/v2/a/blobs/uploads/?mount=sha256:{HEX}&from=..%2Fb");
    assert_eq!(kind(Method::POST, &mount), ErrorKind::NameInvalid);
}

#[test]
fn digests_out_of_grammar_are_refused_whatever_their_encoding() {
    for raw in [
        "sha256:baddigeststring",
        "sha256:..%2F..%2Fetc%2Fpasswd",
        "sha256:../../etc/passwd",
        "sha256:%2e%2e/x",
        "..",
        "%2e%2e",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &format!("sha256:{}", HEX.to_uppercase()),
        &format!("sha256:{HEX}%00"),
        &format!("sha256:{HEX}/"),
        &format!("sha512:{HEX}"),
        &format!("{}:{HEX}", "a".repeat(4000)),
        "x",
    ] {
        assert_eq!(
            kind(Method::GET, &format!("/v2/a/blobs/{raw}")),
            ErrorKind::DigestInvalid,
            "{raw}"
        );
        assert_eq!(
            kind(Method::GET, &format!("/v2/a/referrers/{raw}")),
            ErrorKind::DigestInvalid,
            "{raw}"
        );
        let query = raw.replace('/', "%2F");
        for target in [
            format!("/v2/a/blobs/uploads/?mount={query}"),
            format!("/v2/a/blobs/uploads/?digest={query}"),
        ] {
            assert_eq!(kind(Method::POST, &target), ErrorKind::DigestInvalid, "{target}");
        }
        let finish = format!("/v2/a/blobs/uploads/0?digest={query}");
        assert_eq!(kind(Method::PUT, &finish), ErrorKind::DigestInvalid, "{finish}");
    }
    assert_eq!(
        kind(Method::PUT, "/v2/a/blobs/uploads/0"),
        ErrorKind::DigestInvalid
    );
    assert_eq!(
        kind(Method::POST, "/v2/a/blobs/uploads/?digest-algorithm=md5"),
        ErrorKind::DigestInvalid
    );
}

#[test]
fn references_are_a_tag_or_a_digest_and_nothing_else() {
    for (raw, expected) in [
        (".hidden", ErrorKind::TagInvalid),
        ("..", ErrorKind::TagInvalid),
        ("a%2Fb", ErrorKind::TagInvalid),
        ("a/b", ErrorKind::TagInvalid),
        ("a%00", ErrorKind::TagInvalid),
        ("", ErrorKind::TagInvalid),
        ("a%253ab", ErrorKind::TagInvalid),
        ("a%0a", ErrorKind::TagInvalid),
        ("sha256:x", ErrorKind::DigestInvalid),
        ("a%3ab", ErrorKind::DigestInvalid),
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert_eq!(kind(method, &format!("/v2/a/manifests/{raw}")), expected, "{raw}");
        }
    }
    let long = "t".repeat(129);
    assert_eq!(
        kind(Method::GET, &format!("/v2/a/manifests/{long}")),
        ErrorKind::TagInvalid
    );
    let bad = format!("/v2/a/manifests/sha256:{HEX}?tag=ok&tag=not%2Fok");
    assert_eq!(kind(Method::PUT, &bad), ErrorKind::TagInvalid);
}

#[test]
fn an_upload_that_cannot_exist_is_unknown() {
    for raw in ["%2e%2e", "../x", "a%2Fb", "a.b", "%00", &"a".repeat(513)] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            assert_eq!(
                kind(method, &format!("/v2/a/blobs/uploads/{raw}")),
                ErrorKind::UploadUnknown,
                "{raw}"
            );
        }
    }
}

#[test]
fn a_refusal_names_the_thing_without_repeating_all_of_it() {
    let error = parse(
        Method::GET,
        &format!("/v2/a/blobs/sha256:%0d%0a{}", "x".repeat(30_000)),
    )
    .unwrap_err();
    assert!(
        error.message().contains("digest \"sha256:\\r\\nxxx"),
        "{}",
        error.message()
    );
    assert!(error.message().len() < 500);
}

#[test]
fn other_methods_are_refused_and_other_paths_unknown() {
    for (method, target) in [
        (Method::POST, "/v2/".to_owned()),
        (Method::PUT, format!("/v2/a/blobs/sha256:{HEX}")),
        (Method::POST, "/v2/a/manifests/x".to_owned()),
        (Method::GET, "/v2/a/blobs/uploads/".to_owned()),
        (Method::POST, "/v2/a/blobs/uploads/0".to_owned()),
        (Method::DELETE, "/v2/a/tags/list".to_owned()),
        (Method::DELETE, "/v2/_catalog".to_owned()),
        (Method::OPTIONS, "/v2/".to_owned()),
        (Method::TRACE, "/v2/a/manifests/x".to_owned()),
    ] {
        assert_eq!(kind(method, &target), ErrorKind::Unsupported, "{target}");
    }
    assert_eq!(
        kind(Method::GET, "/v2/_oci/ext/discover"),
        ErrorKind::RouteUnknown
    );
    assert_eq!(kind(Method::GET, "/"), ErrorKind::RouteUnknown);
}

#[test]
fn a_range_counts_for_get_alone_and_only_of_the_content_meant() {
    let target = format!("/v2/a/blobs/sha256:{HEX}");
    let range = |method: Method, headers: &[(&str, &str)]| match parse_with(method, &target, headers).unwrap()
    {
        Operation::ReadBlob { range, .. } => range,
        _ => None,
    };
    let tag = format!("\"sha256:{HEX}\"");
    let some = Some(ByteRange::From(1, Some(2)));
    assert_eq!(range(Method::GET, &[("range", "bytes=1-2")]), some);
    assert_eq!(
        range(Method::GET, &[("range", "bytes=1-2"), ("if-range", &tag)]),
        some
    );
    assert_eq!(
        range(Method::GET, &[("range", "bytes=1-2"), ("if-range", "\"other\"")]),
        None
    );
    assert_eq!(range(Method::GET, &[("range", "bytes=1-2,4-5")]), None);
    assert_eq!(range(Method::HEAD, &[("range", "bytes=1-2")]), None);
}

#[test]
fn needs_are_what_a_token_should_be_asked_for() {
    let scope = |method, target: &str| {
        let scope: crate::auth::Scope = parse(method, target).unwrap().needs().iter().collect();
        scope.to_string()
    };
    assert_eq!(scope(Method::GET, "/v2/"), "");
    assert_eq!(scope(Method::GET, "/v2/_catalog"), "registry:catalog:*");
    assert_eq!(scope(Method::GET, "/v2/a/b/manifests/x"), "repository:a/b:pull");
    assert_eq!(
        scope(Method::PUT, "/v2/a/b/manifests/x"),
        "repository:a/b:pull,push"
    );
    assert_eq!(
        scope(Method::DELETE, "/v2/a/b/manifests/x"),
        "repository:a/b:delete"
    );
    assert_eq!(
        scope(
            Method::POST,
            &format!("/v2/a/blobs/uploads/?mount=sha256:{HEX}&from=c/d")
        ),
        "repository:a:pull,push repository:c/d:pull"
    );
    assert_eq!(
        scope(Method::POST, &format!("/v2/a/blobs/uploads/?mount=sha256:{HEX}")),
        "repository:a:pull,push"
    );
}

#[test]
fn starting_points_of_referrers_are_digests() {
    assert_eq!(
        kind(Method::GET, &format!("/v2/a/referrers/sha256:{HEX}?last=x")),
        ErrorKind::PaginationInvalid
    );
    assert_eq!(
        kind(Method::GET, "/v2/a/tags/list?last=%00"),
        ErrorKind::PaginationInvalid
    );
    assert_eq!(
        kind(Method::GET, "/v2/a/tags/list?n=x"),
        ErrorKind::PaginationInvalid
    );
}

proptest! {
    #[test]
    fn no_head_makes_the_parser_panic(
        method in prop::sample::select(vec!["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "X"]),
        path in "/v2/([a-z%0-9.:/]{0,20}|blobs|uploads|manifests|tags|list|referrers|sha256:|/){0,8}",
        query in "([a-z-]{1,6}|digest|mount|from|tag|n|last|artifactType)=[ -~&&[^#<>\"`{}|^\\\\ ]]{0,30}",
        name in prop::sample::select(vec![
            header::RANGE, header::CONTENT_RANGE, header::CONTENT_LENGTH, header::IF_MATCH, header::IF_NONE_MATCH,
            header::CONTENT_TYPE,
        ]),
        value: Vec<u8>,
    ) {
        let Ok(uri) = format!("{path}?{query}").parse::<Uri>() else { return Ok(()) };
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(name, value);
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match Operation::parse(&method, &uri, &headers) {
            Ok(operation) => { operation.needs(); }
            Err(error) => prop_assert!(error.message().len() < 1000),
        }
    }
}
