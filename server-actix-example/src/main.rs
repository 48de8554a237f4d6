//! An open registry under actix-web, for this machine only.

use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::{LocalRegistry, Options, Runtime};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use server_actix_example::{TokioRuntime, serve};

/// Serves an open registry to this machine.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes one that is free.
    #[arg(long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Keep everything in this directory; without it, in memory.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print the address to standard output once it is listened on.
    #[arg(long)]
    print_address: bool,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if !arguments.listen.ip().is_loopback() {
        return Err(
            "this example lets everybody do everything; it listens on a loopback address only".into(),
        );
    }
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
    let registry = registry(arguments.data.as_deref(), Arc::clone(&runtime))?;
    let listener = TcpListener::bind(arguments.listen)?;
    let address = listener.local_addr()?;
    let server = serve(Service::new(Arc::new(registry), runtime), listener)?;
    if arguments.print_address {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{address}").and_then(|()| out.flush())?;
    }
    Ok(server.await?)
}

fn registry(data: Option<&Path>, runtime: Arc<dyn Runtime>) -> Result<LocalRegistry, Box<dyn Error>> {
    let (lifetimes, options) = (Lifetimes::default(), Options::default());
    Ok(match data {
        None => {
            let bytes = Arc::new(MemoryBytes::new());
            let records = Records::new(Arc::new(MemoryKv::new()), Arc::clone(&runtime), lifetimes);
            LocalRegistry::new(Arc::new(records), bytes.clone(), bytes, runtime, options)
        }
        Some(directory) => {
            let stores = registry_storage::open(directory, Arc::clone(&runtime))?;
            let bytes = Arc::new(stores.bytes);
            let records = Records::new(Arc::new(stores.kv), Arc::clone(&runtime), lifetimes);
            LocalRegistry::new(Arc::new(records), bytes.clone(), bytes, runtime, options)
        }
    })
}
