//! A registry inside an application that has accounts of its own: the application says who asks, and what they may.
//! `cargo run -p server-hyper --example own_accounts`, then `docker login localhost:5000` as `ada` with `analytical`.
use std::{io, net::SocketAddr, sync::Arc};

use http::{header::AUTHORIZATION, request::Parts};
use registry_auth::credentials::{Credentials, scheme};
use registry_core::auth::*;
use registry_core::{Error, ErrorKind, Result, http::Service, store::Lifetimes, wrappers::Authorized};
use server_hyper::{Server, Stores, TokioRuntime};

const STAFF: &[(&str, &str)] = &[("ada", "analytical"), ("grace", "compiler")];

/// To each of them belongs what is below their name, and nothing else.
struct Staff;

#[async_trait::async_trait]
impl Authenticator for Staff {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Authenticated>> {
        let refused = || Error::new(ErrorKind::Unauthorized, "log in as one of the staff");
        let header = head.headers.get(AUTHORIZATION).ok_or_else(refused)?;
        let sent = Credentials::from_basic(scheme(header, "basic").ok_or_else(refused)?)?;
        let (name, password) = STAFF.iter().find(|one| one.0 == sent.name).ok_or_else(refused)?;
        match subtle::ConstantTimeEq::ct_eq(password.as_bytes(), sent.secret.as_bytes()).into() {
            true => Ok(Some(Identity::Named((*name).into()).into())),
            false => Err(refused()),
        }
    }
    fn challenge(&self, _head: &Parts) -> Challenge {
        let realm = "staff".to_owned();
        Challenge::Basic { realm }
    }
}

#[async_trait::async_trait]
impl Authorizer for Staff {
    async fn authorize(&self, who: &Identity, accesses: &[Access]) -> Result<Decision> {
        let (visible, asked) = (self.visible(who).await?, accesses.iter().collect::<Scope>());
        match asked.repositories().all(|(name, _)| visible.contains(name)) {
            true => Ok(Decision::Allowed),
            false => Ok(Decision::Denied { visible: false }),
        }
    }
    async fn visible(&self, who: &Identity) -> Result<Visible> {
        let (names, prefixes) = ([].into(), [format!("{who}/")].into());
        Ok(Visible::Only { names, prefixes })
    }
}

pub(crate) async fn listen(address: SocketAddr) -> io::Result<Server> {
    let registry = Authorized::around(Stores::memory(Lifetimes::default()).registry, Staff);
    let service = Service::new(Arc::new(registry), TokioRuntime::shared()).authenticator(Arc::new(Staff));
    Server::builder().service(service).listen(address).bind().await
}

#[tokio::main]
async fn main() {
    let server = listen(([127, 0, 0, 1], 5000).into()).await;
    server.expect("port 5000 is free").serve().await;
}
