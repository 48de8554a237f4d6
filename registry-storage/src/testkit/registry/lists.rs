//! Lists of tags and of repositories: in order, page by page.

use registry_core::auth::Visible;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::{ErrorKind, PutManifest, Tag};

use super::super::content;
use super::{F, User, assert_kind, repo, tag};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_lists_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::lists,
            $name,
            $factory,
            [
                tags_are_listed_in_ascii_order,
                pages_of_tags_make_the_whole,
                the_tag_after_which_a_page_begins_need_not_exist,
                a_page_says_whether_there_is_more,
                a_repository_without_tags_has_an_empty_list,
                a_repository_that_does_not_exist_has_no_list_of_tags,
                repositories_are_listed_in_ascii_order,
                pages_of_repositories_make_the_whole,
                only_repositories_that_the_caller_may_see_are_listed,
            ]
        );
    };
}

async fn tagged(user: &User, names: &[&str]) {
    let a = repo("a");
    let manifest = user.prepared(&a, "one").await;
    let tags = names.iter().map(|name| tag(name)).collect();
    let put = PutManifest {
        tags,
        ..PutManifest::untagged(OCI_MANIFEST, manifest)
    };
    user.put(&a, put).await.expect("a put");
}

async fn page(user: &User, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let page = user
        .registry
        .list_tags(&user.ctx, &repo("a"), after, limit)
        .await
        .expect("a page");
    (page.items.iter().map(Tag::to_string).collect(), page.more)
}

async fn catalog(user: &User, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let page = user
        .registry
        .list_repositories(&user.ctx, after, limit)
        .await
        .expect("a page");
    (
        page.items.iter().map(|name| name.to_string()).collect(),
        page.more,
    )
}

/// Upper case before `_` before lower case.
pub async fn tags_are_listed_in_ascii_order(fixture: F) {
    let user = User::of(&fixture);
    tagged(&user, &["b", "a", "Z", "_x", "1.10", "1.9", "a-b", "a.b", "aa"]).await;
    let expected = ["1.10", "1.9", "Z", "_x", "a", "a-b", "a.b", "aa", "b"];
    assert_eq!(user.tags(&repo("a")).await, expected);
}

/// Each once, none left out, whatever the size of a page.
pub async fn pages_of_tags_make_the_whole(fixture: F) {
    let user = User::of(&fixture);
    let names: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
    tagged(&user, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for limit in [1, 2, 5, 7, 25, 26] {
        let (mut listed, mut more) = page(&user, None, limit).await;
        while more {
            let (next, goes_on) = page(&user, listed.last().map(String::as_str), limit).await;
            assert!(
                !next.is_empty() && next.len() <= limit,
                "a page of {} of {limit}",
                next.len()
            );
            listed.extend(next);
            more = goes_on;
        }
        assert_eq!(listed, names, "in pages of {limit}");
    }
}

/// It may have been deleted meanwhile.
pub async fn the_tag_after_which_a_page_begins_need_not_exist(fixture: F) {
    let user = User::of(&fixture);
    tagged(&user, &["b", "d", "f"]).await;
    assert_eq!(page(&user, Some("a"), 9).await.0, ["b", "d", "f"]);
    assert_eq!(page(&user, Some("b"), 9).await.0, ["d", "f"]);
    assert_eq!(page(&user, Some("c"), 9).await.0, ["d", "f"]);
    assert_eq!(page(&user, Some("f"), 9).await.0, [""; 0]);
    assert_eq!(page(&user, Some("zzz"), 9).await.0, [""; 0]);
}

/// Exactly, also when the last of all ends the page.
pub async fn a_page_says_whether_there_is_more(fixture: F) {
    let user = User::of(&fixture);
    tagged(&user, &["a", "b", "c"]).await;
    assert!(page(&user, None, 2).await.1);
    assert!(!page(&user, None, 3).await.1);
    assert!(!page(&user, None, 4).await.1);
    assert!(!page(&user, Some("a"), 2).await.1);
    assert!(page(&user, Some("a"), 1).await.1);
}

/// It exists.
pub async fn a_repository_without_tags_has_an_empty_list(fixture: F) {
    let user = User::of(&fixture);
    user.untagged(&repo("a"), "one").await;
    assert_eq!(page(&user, None, 9).await, (Vec::new(), false));
}

/// `NameUnknown`.
pub async fn a_repository_that_does_not_exist_has_no_list_of_tags(fixture: F) {
    let user = User::of(&fixture);
    user.image(&repo("b"), "one", "latest").await;
    let outcome = user.registry.list_tags(&user.ctx, &repo("a"), None, 9).await;
    assert_kind(outcome, ErrorKind::NameUnknown);
}

async fn repositories(user: &User, names: &[&str]) {
    for name in names {
        user.push(&repo(name), &content(110, 10)).await;
        user.image(&repo(name), name, "latest").await;
    }
}

/// `-` before `/` before letters.
pub async fn repositories_are_listed_in_ascii_order(fixture: F) {
    let user = User::of(&fixture);
    assert_eq!(catalog(&user, None, 9).await, (Vec::new(), false));
    repositories(&user, &["b", "a/c", "a", "a-b", "ab"]).await;
    let expected = ["suite/a", "suite/a-b", "suite/a/c", "suite/ab", "suite/b"];
    assert_eq!(catalog(&user, None, 9).await.0, expected);
}

/// Each once, none left out; from where no repository is, too.
pub async fn pages_of_repositories_make_the_whole(fixture: F) {
    let user = User::of(&fixture);
    repositories(&user, &["a", "b", "c", "d", "e"]).await;
    for limit in [1, 2, 3, 5, 6] {
        let (mut listed, mut more) = catalog(&user, None, limit).await;
        while more {
            let (next, goes_on) = catalog(&user, listed.last().map(String::as_str), limit).await;
            assert!(
                !next.is_empty() && next.len() <= limit,
                "a page of {} of {limit}",
                next.len()
            );
            listed.extend(next);
            more = goes_on;
        }
        assert_eq!(
            listed,
            ["suite/a", "suite/b", "suite/c", "suite/d", "suite/e"],
            "in pages of {limit}"
        );
    }
    assert_eq!(
        catalog(&user, Some("suite/bb"), 9).await.0,
        ["suite/c", "suite/d", "suite/e"]
    );
}

/// By name and by prefix, in pages too.
pub async fn only_repositories_that_the_caller_may_see_are_listed(fixture: F) {
    let user = User::of(&fixture);
    repositories(&user, &["a", "b", "team/x", "team/y", "teammate", "z"]).await;
    let visible = Visible::Only {
        names: [repo("b"), repo("z")].into(),
        prefixes: ["suite/team/".to_owned()].into(),
    };
    let user = user.seeing(visible);
    let expected = ["suite/b", "suite/team/x", "suite/team/y", "suite/z"];
    assert_eq!(
        catalog(&user, None, 9).await,
        (expected.map(str::to_owned).to_vec(), false)
    );
    let (mut listed, mut more) = catalog(&user, None, 1).await;
    while more {
        let (next, goes_on) = catalog(&user, listed.last().map(String::as_str), 1).await;
        assert_eq!(next.len(), 1);
        listed.extend(next);
        more = goes_on;
    }
    assert_eq!(listed, expected);
    assert_eq!(
        catalog(&user.seeing(Visible::none()), None, 9).await,
        (Vec::new(), false)
    );
}
