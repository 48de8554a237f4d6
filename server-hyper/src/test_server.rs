//! A registry for one test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use registry_core::Registry;
use registry_core::http::Service;

use crate::runtime::TokioRuntime;
use crate::server::{Handle, Server};
use crate::stores::memory_registry;

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
}

impl TestServer {
    /// An empty registry in memory. Connections wait for nothing more once this answers.
    ///
    /// Must be called within a tokio runtime, which serves it.
    ///
    /// # Errors
    /// If no port of loopback is to be had.
    pub async fn in_memory() -> io::Result<Self> {
        Self::serving(memory_registry()).await
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
        Ok(TestServer { address, handle })
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
