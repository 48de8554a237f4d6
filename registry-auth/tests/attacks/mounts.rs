//! CVE-2024-39897: a mount tells nothing of what one may not read.

use std::sync::Arc;

use async_trait::async_trait;
use registry_auth::Settings;
use registry_core::wrappers::{Call, Gate, Gated};
use registry_core::{Context, Digest, LocalRegistry, Registry, Result};

use super::house::{House, Who};
use super::same_time::{assert_same_time, assert_told_apart};

/// Alice has `secret`, in which a blob is; Mallory has `own`, in which it is not. Both digests are returned: of that blob, and of
/// one that there is nowhere.
fn with_a_secret(house: &House) -> (Digest, Digest) {
    let (alice, mallory) = (house.user("alice"), house.user("mallory"));
    house.project("secret", alice);
    house.project("own", mallory);
    house.push_blob(Who::User("mallory"), "own/app", b"mallory's");
    let mut there = None;
    // As a layer that many images stand on.
    for number in 0..40 {
        let repository = format!("secret/app{number}");
        there = Some(house.push_blob(Who::User("alice"), &repository, b"a layer"));
        house.push_image(Who::User("alice"), &repository, "latest");
    }
    (there.unwrap(), Digest::sha256(b"nowhere"))
}

const FROM: [&str; 4] = ["", "&from=secret/app1", "&from=nowhere/app", "&from=own/app"];

fn target(digest: &Digest, from: &str) -> String {
    format!("/v2/own/app/blobs/uploads/?mount={digest}{from}")
}

#[test]
fn cve_2024_39897_a_mount_tells_nothing_of_what_one_may_not_read() {
    let house = House::new();
    let (there, nowhere) = with_a_secret(&house);
    let scope = "repository:own/app:pull,push repository:secret/app1:pull";
    let token = house.token(Who::User("mallory"), scope);
    for who in [Who::User("mallory"), Who::Bearer(&token)] {
        for from in FROM {
            let mount = |digest| house.ask(who, "POST", &target(digest, from), "").is(202);
            assert_eq!(mount(&there).shape(), mount(&nowhere).shape(), "{from:?}");
        }
        for digest in [&there, &nowhere] {
            let path = format!("/v2/own/app/blobs/{digest}");
            assert_eq!(house.get(who, &path).is(404).code(), "BLOB_UNKNOWN");
            let hidden = format!("/v2/secret/app1/blobs/{digest}");
            let refused = house.get(who, &hidden);
            assert!([401, 404].contains(&refused.status), "{refused:?}");
        }
    }
    // Whoever may read it mounts it: what is compared above is a mount that fails, and not one that always does.
    let both = "/v2/secret/app2/blobs/uploads/";
    let mounted = format!("{both}?mount={there}&from=secret/app1");
    house.ask(Who::User("alice"), "POST", &mounted, "").is(201);
}

#[test]
fn cve_2024_39897_a_mount_takes_as_long_for_what_one_may_not_read_as_for_nothing() {
    let house = House::new();
    let (there, nowhere) = with_a_secret(&house);
    let token = house.token(Who::User("mallory"), "repository:own/app:pull,push");
    for (name, who) in [("Basic", Who::User("mallory")), ("Bearer", Who::Bearer(&token))] {
        for from in FROM {
            let mount = |digest| {
                let target = target(digest, from);
                let house = &house;
                move |_| drop(house.ask(who, "POST", &target, "").is(202))
            };
            let what = format!("a mount{from} by {name}");
            assert_same_time(&what, &mut mount(&there), &mut mount(&nowhere));
        }
        for method in ["HEAD", "GET"] {
            let look = |digest| {
                let target = format!("/v2/own/app/blobs/{digest}");
                let house = &house;
                move |_| drop(house.ask(who, method, &target, "").is(404))
            };
            let what = format!("a {method} by {name}");
            assert_same_time(&what, &mut look(&there), &mut look(&nowhere));
        }
    }
}

/// A gate that reads the lists of a mount's source before anybody asks whether the caller may know of it.
struct LooksFirst(LocalRegistry);

#[async_trait]
impl Gate for LooksFirst {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        if let Call::MountSource(source) = call {
            // Lists are read each time; what else was read before takes hardly any time.
            for _ in 0..8 {
                let _there_or_not = self.0.list_tags(&Context::system(), source, None, 100).await;
            }
        }
        Ok(ctx.clone())
    }
}

#[test]
fn a_mount_that_looks_for_its_source_first_would_be_found_out() {
    let house = House::built(Settings::default(), |parts| {
        let looks_first = Gated::new(parts.guarded(), LooksFirst(parts.local.clone()));
        (Arc::new(looks_first), parts.directory())
    });
    let (there, _) = with_a_secret(&house);
    let mount = |from| {
        let target = target(&there, from);
        let house = &house;
        move |_| drop(house.ask(Who::User("mallory"), "POST", &target, "").is(202))
    };
    let (hidden, missing) = ("&from=secret/app1", "&from=nowhere/app");
    assert_told_apart("the source of a mount", &mut mount(hidden), &mut mount(missing));
}
