//! Tokens that were seen before: what they add to every request.

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures_executor::block_on;
use registry_auth::tokens::{KeyOptions, Keys, TokenAuthority, TokenOptions};
use registry_auth::{Directory, Verified};
use registry_core::auth::Scope;
use registry_core::runtime::Threads;
use registry_core::{Result, Runtime};
use registry_storage::memory::MemoryKv;

use super::Turn;

/// One account and one project, which never change.
struct Unchanging;

#[async_trait]
impl Directory for Unchanging {
    async fn verify(&self, name: &str, _secret: &str) -> Result<Option<Verified>> {
        Ok(Some(Verified {
            subject: name.into(),
            stamp: 1,
            limit: None,
        }))
    }

    async fn subject(&self, _name: &str) -> Result<Option<u64>> {
        Ok(Some(1))
    }

    async fn project(&self, _name: &str) -> Result<Option<u64>> {
        Ok(Some(1))
    }
}

/// A token's check, with the token in memory.
pub(super) fn check() -> io::Result<Turn> {
    let runtime: Arc<dyn Runtime> = Arc::new(Threads);
    let keys = Keys::new(Arc::new(MemoryKv::new()), runtime.clone(), KeyOptions::default());
    let authority = TokenAuthority::new(
        Arc::new(keys),
        Arc::new(Unchanging),
        runtime,
        TokenOptions::default(),
    );
    let scope: Scope = "repository:library/alpine:pull,push"
        .parse()
        .map_err(io::Error::other)?;
    let token = block_on(async {
        let holder = Unchanging.verify("somebody", "").await?;
        authority.issue(holder.as_ref(), &scope).await
    });
    let token = token.map_err(io::Error::other)?.token;
    block_on(authority.check(&token)).map_err(io::Error::other)?;
    Ok(Box::new(move || {
        let checked = block_on(authority.check(black_box(&token)));
        drop(black_box(checked));
    }))
}
