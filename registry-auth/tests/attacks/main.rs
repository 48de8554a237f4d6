//! Holes that other registries had, as far as they are about who may do what: each is a test that is named after it.
//!
//! The registry is whole: accounts, tokens, projects and stores, asked over HTTP without a socket. What is said of time is held by
//! [`same_time`], which states how often it errs.
//!
//! | hole | test |
//! |---|---|
//! | CVE-2026-4404, a default password | [`logins`]; `tests/access/first_start.rs` |
//! | CVE-2026-27771, private repositories pulled by others | [`projects`]; `tests/access/decisions.rs`; `advisories.rs` of registry-core |
//! | CVE-2024-39897, a mount that leaks | [`mounts`]; `advisories.rs`; the test kit of registry-storage |
//! | CVE-2026-35172, a delete undone by a cache | `advisories.rs` |
//! | CVE-2026-41888, deletes by another path | `advisories.rs` |
//! | CVE-2026-32589, uploads of others | [`uploads`]; `advisories.rs`; the test kit |
//! | CVE-2026-31801, PROJQUAY-10504, tags that may not change | conditions on writes in `advisories.rs`; rules about tags are not there yet |
//! | CVE-2025-24976, keys and algorithms from a token | [`tokens`]; `tests/tokens/forged.rs` |
//! | Harbor #22900 and #23270, a project made anew; absent claims | [`projects`], [`tokens`]; `tests/tokens/ends.rs` |
//! | CVE-2026-33540, CVE-2020-15157, CVE-2026-2376, requests to foreign places | not applicable yet: nothing asks another registry, a webhook or a scanner on behalf of a client |
//! | CVE-2023-2253, a page of 2^31 | [`uploads`]; `advisories.rs` |
//! | CVE-2017-11468, CVE-2024-3727, bodies and digests that are none | not about accounts: `bad_input.rs` of registry-core |
//! | CVE-2025-30086, CVE-2024-22261, queries that tell what is hidden | the test kit of registry-storage; `q=` is read by the management API, with its tests |
//! | CVE-2022-31667, -31669, -31670, CVE-2024-22278, ids of other projects | the management API, with its tests; for repositories [`projects`] |
//! | Harbor #18636 and #21026, robots that may more than their makers | [`projects`]; `tests/access/narrowed.rs` at creation and update |
//! | CVE-2025-23208, groups | [`projects`]; `tests/access/staleness.rs` |
//! | CVE-2023-20902, how long a refused login takes | [`logins`]; `tests/access/login.rs` by the work that is done |
//! | CVE-2024-22244, CVE-2025-32019, redirects and scripts | not applicable yet: there are no pages for people |

mod house;
mod logins;
mod mounts;
mod projects;
mod same_time;
mod tokens;
mod uploads;
