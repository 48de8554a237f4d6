//! The registry's contract at the other end of HTTP: under each server, and through two of them.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::{LocalRegistry, Options, Registry, Runtime};
use registry_remote::RemoteRegistry;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::Fixture;
use server_hyper::TestServer;

async fn through_hyper() -> Fixture<dyn Registry> {
    let server = TestServer::in_memory().await.expect("a server");
    Fixture::new(remote(server.url())).guarded_by(server)
}

async fn through_actix() -> Fixture<dyn Registry> {
    let server = Actix::start();
    Fixture::new(remote(server.url.clone())).guarded_by(server)
}

/// A remote registry at a server whose registry is a remote one at a server that keeps it.
async fn a_chain_of_two() -> Fixture<dyn Registry> {
    let far = TestServer::in_memory().await.expect("a server");
    let near = TestServer::serving(remote(far.url())).await.expect("a server");
    Fixture::new(remote(near.url())).guarded_by((near, far))
}

fn remote(url: String) -> Arc<dyn Registry> {
    Arc::new(RemoteRegistry::new(url).expect("a registry's origin"))
}

/// A registry in memory under actix, which wants a thread of its own; gone when it is dropped.
struct Actix {
    url: String,
    server: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Actix {
    fn start() -> Self {
        let (begun, running) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let runtime: Arc<dyn Runtime> = Arc::new(server_actix_example::TokioRuntime::current());
                let records = Records::new(
                    Arc::new(MemoryKv::new()),
                    Arc::clone(&runtime),
                    Lifetimes::default(),
                );
                let bytes = Arc::new(MemoryBytes::new());
                let registry = LocalRegistry::new(
                    Arc::new(records),
                    bytes.clone(),
                    bytes,
                    Arc::clone(&runtime),
                    Options::default(),
                );
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let url = format!("http://{}", listener.local_addr()?);
                let service = Service::new(Arc::new(registry), runtime);
                let server = server_actix_example::serve(service, listener)?;
                begun.send((url, server.handle())).expect("the test waits");
                server.await
            })
        });
        let (url, server) = running.recv().expect("the server runs");
        Actix {
            url,
            server,
            thread: Some(thread),
        }
    }
}

impl Drop for Actix {
    fn drop(&mut self) {
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                std::thread::panicking() || matches!(ended, Ok(Ok(()))),
                "the server failed: {ended:?}"
            );
        }
    }
}

registry_storage::registry_suite!(hyper, through_hyper);
registry_storage::registry_suite!(actix, through_actix);
registry_storage::registry_suite!(chain, a_chain_of_two);
