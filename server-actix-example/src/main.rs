//! An open registry in memory, under actix-web, on a loopback address.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::{LocalRegistry, Options};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use server_actix_example::{ActixRuntime, serve};

const USAGE: &str = "usage: server-actix-example [--listen 127.0.0.1:5000] [--print-address]";

struct Arguments {
    listen: SocketAddr,
    print_address: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { listen: SocketAddr::from(([127, 0, 0, 1], 5000)), print_address: false };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--listen" => {
                let address = given.next().ok_or("--listen takes an address")?;
                parsed.listen = address.parse().map_err(|why| format!("--listen {address}: {why}"))?;
            }
            "--print-address" => parsed.print_address = true,
            other => return Err(format!("{other} is no argument\n{USAGE}")),
        }
    }
    if !parsed.listen.ip().is_loopback() {
        return Err(format!("--listen {}: anyone may push here, so it must be a loopback address", parsed.listen));
    }
    Ok(parsed)
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let arguments = arguments().map_err(io::Error::other)?;
    let runtime = ActixRuntime::shared();
    let records = Records::new(Arc::new(MemoryKv::new()), runtime.clone(), Lifetimes::default());
    let bytes = Arc::new(MemoryBytes::new());
    let registry =
        LocalRegistry::new(Arc::new(records), bytes.clone(), bytes, runtime.clone(), Options::default());
    let listener = TcpListener::bind(arguments.listen)?;
    let address = listener.local_addr()?;
    let server = serve(Service::new(Arc::new(registry), runtime), listener)?;
    if arguments.print_address {
        writeln!(io::stdout(), "{address}")?;
    }
    server.await
}
