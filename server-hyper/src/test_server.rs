//! A registry for one test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use registry_core::Registry;
use registry_core::http::Service;
use registry_core::store::{Lifetimes, Terms};
use registry_gc::{Collector, RunOptions, Stop, Summary};

use crate::runtime::TokioRuntime;
use crate::server::{Handle, Server};
use crate::stores::Stores;

/// A registry on a port of its own on loopback, open to anyone, gone when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use server_hyper::TestServer;
/// let registry = TestServer::in_memory().await?;
/// let answer = get(&format!("{}/v2/", registry.url())).await?;
/// assert_eq!(answer, 200);
/// # drop(registry);
/// # Ok(())
/// # }
/// # async fn get(url: &str) -> Result<u16, Box<dyn std::error::Error>> {
/// #     use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// #     let client = Client::builder(TokioExecutor::new()).build_http::<http_body_util::Empty<bytes::Bytes>>();
/// #     Ok(client.get(url.parse()?).await?.status().as_u16())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    handle: Handle,
    collector: Option<Collector>,
}

impl TestServer {
    /// An empty registry in memory. Connections wait for nothing more once this answers.
    ///
    /// Must be called within a tokio runtime, which serves it.
    ///
    /// # Errors
    /// If no port of loopback is to be had.
    pub async fn in_memory() -> io::Result<Self> {
        Self::on(Stores::memory(Lifetimes::default())).await
    }

    /// A registry on these stores, which may be short-lived ones: [`Stores::memory`] takes lifetimes.
    ///
    /// # Errors
    /// As for [`in_memory`](TestServer::in_memory).
    pub async fn on(stores: Stores) -> io::Result<Self> {
        let mut server = Self::serving(stores.registry).await?;
        server.collector = Some(stores.collector);
        Ok(server)
    }

    /// A registry of the caller's.
    ///
    /// # Errors
    /// As for [`in_memory`](TestServer::in_memory).
    pub async fn serving(registry: Arc<dyn Registry>) -> io::Result<Self> {
        let server = Server::builder()
            .service(Service::new(registry, TokioRuntime::shared()))
            .listen((Ipv4Addr::LOCALHOST, 0).into())
            .bind()
            .await?;
        let (address, handle) = (server.local_addr(), server.handle());
        tokio::spawn(server.serve());
        Ok(TestServer {
            address,
            handle,
            collector: None,
        })
    }

    /// One pass of the collector over all that is due, or more, as `terms` say. A test server never collects by itself.
    ///
    /// # Errors
    /// As of [`Collector::run`].
    ///
    /// # Panics
    /// If it serves a registry of the caller's, of which it knows no stores.
    pub async fn collect(&self, terms: Terms) -> registry_core::Result<Summary> {
        let collector = self.collector.as_ref().expect("a registry on stores of its own");
        let options = RunOptions { terms };
        collector.run(&options, &Stop::new(), &mut |_| {}).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.stop();
    }
}
