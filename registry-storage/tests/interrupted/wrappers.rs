//! Wrappers.

use registry_core::auth::Visible;
use registry_core::wrappers::{Prefix, Select};
use registry_core::{Digest, ErrorKind, Registry};
use registry_storage::testkit::block_on;

use crate::harness::*;

#[test]
fn the_errors_of_a_prefixed_registry_do_not_tell_the_prefix() {
    block_on(async {
        let house = house();
        let front = Prefix::around(house.registry.clone(), &name("tenants/one"));
        let refused = front
            .list_tags(&house.ctx, &name("app"), None, 10)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NameUnknown);
        let told = format!("{} {:?}", refused.message(), refused.detail());
        assert!(!told.contains("tenants/one"), "{told}");
    });
}

#[test]
fn a_hidden_repository_has_no_referrers_like_one_that_does_not_exist() {
    block_on(async {
        let house = house();
        let only = Visible::Only {
            names: [].into(),
            prefixes: ["shown/".to_owned()].into(),
        };
        let front = Select::around(house.registry.clone(), only);
        let subject = Digest::sha256(b"subject");
        for repository in ["shown/nothing", "hidden"] {
            let page = front
                .list_referrers(&house.ctx, &name(repository), &subject, None, None, 10)
                .await;
            assert!(
                page.is_ok_and(|page| page.items.is_empty() && !page.more),
                "{repository}"
            );
        }
    });
}
