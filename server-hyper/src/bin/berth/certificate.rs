//! The certificate with which a registry is served.

use std::sync::Arc;

use server_hyper::config::{Loaded, Problem};
use server_hyper::tls::Tls;

/// What the configuration says, read from its files or made.
pub(crate) fn certificate(loaded: &Loaded) -> Result<Option<Arc<Tls>>, Problem> {
    let config = &loaded.config;
    config
        .certificate()
        .map_err(|error| loaded.locate(Problem::caused(config.tls.key_of(&error), &error)))
}

/// Says how clients come to trust a certificate that nobody else vouches for.
pub(crate) fn announce(loaded: &Loaded, tls: Option<&Tls>, admin: Option<&str>) {
    if tls.and_then(Tls::authority).is_none() {
        return;
    }
    match (loaded.config.certificates(), admin) {
        (Some(directory), _) => {
            let file = directory.join(server_hyper::tls::AUTHORITY);
            let file = std::path::absolute(&file).unwrap_or(file);
            let data = loaded.config.data.display();
            tracing::info!(
                "clients are to trust {}; how, says: berth trust --data {data}",
                file.display()
            );
        }
        (None, Some(admin)) => tracing::warn!(
            "clients are to trust a certificate authority that is gone when berth stops: {admin}/ca.pem"
        ),
        (None, None) => tracing::warn!(
            "clients cannot be told to trust the certificate: its authority is in memory, and admin.listen, where it \
             could be fetched, is off"
        ),
    }
}
