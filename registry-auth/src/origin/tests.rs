use super::*;
use http::Request;
use proptest::prelude::*;

fn head(peer: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri("/v2/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut head = request.body(()).unwrap().into_parts().0;
    head.extensions.insert(RemoteAddr(peer.parse().unwrap()));
    head
}

fn trust(networks: &[&str]) -> Trust {
    Trust {
        external: None,
        proxies: networks.iter().map(|network| network.parse().unwrap()).collect(),
    }
}

fn seen(trust: &Trust, peer: &str, headers: &[(&str, &str)]) -> (String, String) {
    let head = head(peer, headers);
    let origin = trust
        .origin(&head)
        .map_or("none".to_owned(), |origin| origin.to_string());
    (origin, trust.client(&head).unwrap().to_string())
}

const HOST: (&str, &str) = ("host", "inner:5000");

#[test]
fn without_proxies_the_host_and_the_connection_tell() {
    assert_eq!(seen(&trust(&[]), "192.0.2.1", &[HOST]).0, "http://inner:5000");
    let mut encrypted = head("192.0.2.1", &[("host", "Registry.Example.com")]);
    encrypted.extensions.insert(Encrypted);
    assert_eq!(
        trust(&[]).origin(&encrypted).unwrap().to_string(),
        "https://registry.example.com"
    );
    assert_eq!(trust(&[]).origin(&head("192.0.2.1", &[])), None);
}

#[test]
fn what_is_configured_overrides_all() {
    let trust = Trust {
        external: Some("https://r.example.com/".parse().unwrap()),
        ..trust(&["0.0.0.0/0"])
    };
    let (origin, _) = seen(
        &trust,
        "192.0.2.1",
        &[HOST, ("x-forwarded-host", "other"), ("forwarded", "host=other")],
    );
    assert_eq!(origin, "https://r.example.com");
}

#[test]
fn forwarded_headers_of_strangers_mean_nothing() {
    let headers = [
        HOST,
        ("forwarded", "for=203.0.113.9;host=evil;proto=https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let (origin, client) = seen(&trust(&["10.0.0.0/8"]), "192.0.2.1", &headers);
    assert_eq!(
        (origin.as_str(), client.as_str()),
        ("http://inner:5000", "192.0.2.1")
    );
}

#[test]
fn a_proxy_is_believed_about_its_client_and_not_about_what_that_wrote_itself() {
    let trust = trust(&["10.0.0.0/8", "fd00::/8"]);
    for (headers, origin, client) in [
        (
            vec![("forwarded", "for=203.0.113.9;host=r.example.com;proto=https")],
            "https://r.example.com",
            "203.0.113.9",
        ),
        // The client has sent a `Forwarded` of its own, to which the proxy added.
        (
            vec![
                ("forwarded", "for=1.1.1.1;host=evil;proto=http"),
                ("forwarded", "for=203.0.113.9;proto=https;host=r.example.com"),
            ],
            "https://r.example.com",
            "203.0.113.9",
        ),
        // Two proxies: what the outer saw counts.
        (
            vec![(
                "forwarded",
                "for=1.1.1.1;host=evil, for=\"[2001:db8::9]:4711\";host=r.example.com;proto=https, for=10.1.1.1;host=mid;proto=http",
            )],
            "https://r.example.com",
            "2001:db8::9",
        ),
        (
            vec![("forwarded", "for=_hidden;host=r.example.com;proto=https")],
            "https://r.example.com",
            "10.0.0.1",
        ),
        (
            vec![
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "r.example.com"),
            ],
            "https://r.example.com",
            "203.0.113.9",
        ),
        (
            vec![("x-forwarded-proto", "https")],
            "https://inner:5000",
            "10.0.0.1",
        ),
        (
            vec![
                ("x-forwarded-host", "r.example.com"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-proto", "https"),
            ],
            "https://r.example.com:8443",
            "10.0.0.1",
        ),
        (
            vec![
                ("x-forwarded-host", "r.example.com"),
                ("x-forwarded-port", "443"),
                ("x-forwarded-proto", "https"),
            ],
            "https://r.example.com",
            "10.0.0.1",
        ),
        (
            vec![
                ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
                ("x-forwarded-host", "evil, r.example.com"),
            ],
            "http://r.example.com",
            "203.0.113.9",
        ),
        (
            vec![
                ("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.1.1.1"),
                ("x-forwarded-host", "evil, r.example.com, mid"),
            ],
            "http://r.example.com",
            "203.0.113.9",
        ),
        // What is no host is not told back.
        (
            vec![("x-forwarded-host", "a\"b")],
            "http://inner:5000",
            "10.0.0.1",
        ),
        (
            vec![("forwarded", "host=\"a b\";for=203.0.113.9")],
            "http://inner:5000",
            "203.0.113.9",
        ),
        (vec![("forwarded", "garbage")], "http://inner:5000", "10.0.0.1"),
    ] {
        let mut all = vec![HOST];
        all.extend(headers);
        assert_eq!(
            seen(&trust, "10.0.0.1", &all),
            (origin.to_owned(), client.to_owned()),
            "{all:?}"
        );
    }
}

#[test]
fn forwarded_is_read_as_its_rfc_writes_it() {
    let hops = |text: &str| parse_forwarded(text);
    let one = hops("For=\"[2001:db8:cafe::17]:4711\"").unwrap();
    assert_eq!(one[0].client, Some("2001:db8:cafe::17".parse().unwrap()));
    let two = hops("for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com").unwrap();
    assert_eq!(two.len(), 2);
    assert_eq!(
        (two[1].proto.as_deref(), two[1].host.as_deref()),
        (Some("http"), Some("example.com"))
    );
    assert_eq!(
        hops("for=\"192.0.2.1:_x\"").unwrap()[0].client,
        Some("192.0.2.1".parse().unwrap())
    );
    assert_eq!(hops("host=\"a\\\"b\"").unwrap()[0].host.as_deref(), Some("a\"b"));
    assert_eq!(hops(";;for=unknown; ;").unwrap(), [Hop::default()]);
    for bad in [
        "for",
        "for=",
        "for=a b",
        "for=a;for=b",
        "f(r=a",
        "for=\"a",
        "for=\"a\\",
        "for=\"a\"b",
    ] {
        assert_eq!(hops(bad), None, "{bad}");
    }
    assert_eq!(hops(&"for=a,".repeat(1000)), None);
}

#[test]
fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
    for good in [
        "http://localhost:5000",
        "https://[2001:db8::1]:8443",
        "https://a_b.example",
        "HTTPS://R.example:1",
    ] {
        assert!(good.parse::<Origin>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "r.example",
        "ftp://r",
        "https://",
        "https://r/path",
        "https://r:0",
        "https://r:65536",
        "https://u@r",
        "https://[::1",
        "https://r:",
        "https://r\r\n",
        "https://r:+1",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_told_back_holds_nothing_but_an_origin(host in "\\PC{0,40}", proto in "\\PC{0,10}", port in "\\PC{0,7}", forwarded in "\\PC{0,60}") {
        let values = [("host", &host), ("x-forwarded-proto", &proto), ("x-forwarded-port", &port), ("x-forwarded-host", &host), ("forwarded", &forwarded)];
        let mut parts = head("10.0.0.1", &[]);
        for (name, value) in values {
            if let Ok(value) = http::HeaderValue::from_str(value) {
                parts.headers.insert(name, value);
            }
        }
        if let Some(origin) = trust(&["10.0.0.0/8"]).origin(&parts) {
            let text = origin.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/.-_[]".contains(&b)), "{}", text);
            prop_assert_eq!(text.parse::<Origin>().unwrap(), origin);
        }
    }

    #[test]
    fn strangers_change_nothing(forwarded in "(for|host|proto|by)=[a-z0-9.]{1,9}([,;](for|host|proto)=[a-z0-9.]{1,9}){0,3}", x in "[a-z0-9., ]{0,20}") {
        let plain = seen(&trust(&["10.0.0.0/8"]), "192.0.2.7", &[HOST]);
        let headers = [HOST, ("forwarded", forwarded.as_str()), ("x-forwarded-for", x.as_str()), ("x-forwarded-host", x.as_str())];
        prop_assert_eq!(seen(&trust(&["10.0.0.0/8"]), "192.0.2.7", &headers), plain);
    }

    #[test]
    fn hops_that_were_written_are_read(hops in prop::collection::vec((any::<Option<std::net::Ipv4Addr>>(), "[ -~]{1,12}", "[a-z]{1,5}"), 1..5)) {
        let mut text = Vec::new();
        for (client, host, proto) in &hops {
            let host = host.replace('\\', "\\\\").replace('"', "\\\"");
            let client = client.map_or("unknown".to_owned(), |client| client.to_string());
            text.push(format!("for={client};host=\"{host}\";proto={proto}"));
        }
        let read = parse_forwarded(&text.join(", ")).unwrap();
        let expected: Vec<Hop> = hops.into_iter().map(|(client, host, proto)| Hop { client: client.map(Into::into), host: Some(host), proto: Some(proto) }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _read_or_not = parse_forwarded(&text);
    }
}
