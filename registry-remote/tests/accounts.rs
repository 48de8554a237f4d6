//! The registry's contract, kept for somebody who logs in: a user without any right but to make projects, whom the first push
//! into each gives what the rest of the contract takes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use registry_auth::secret::Secret;
use registry_auth::{Argon2id, EntranceOptions, NewUser, Settings, Tenants};
use registry_core::Registry;
use registry_core::store::Lifetimes;
use registry_remote::RemoteRegistry;
use registry_storage::testkit::Fixture;
use server_hyper::{Front, Handle, Server, Stores, TokioRuntime};

const USER: &str = "dev";
const PASSWORD: &str = "Correct-Horse-1";

/// Ends its server when it is dropped.
struct Serving(Handle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn logged_in() -> Fixture<dyn Registry> {
    let stores = Stores::memory(Lifetimes::default());
    let settings = Settings {
        auto_create: true,
        ..Settings::default()
    };
    let hashing = Arc::new(Argon2id::cheap());
    let tenants = Tenants::open(Arc::clone(stores.kv()), TokioRuntime::shared(), hashing, settings);
    let tenants = tenants.expect("settings that make sense");
    let user = NewUser::new(USER, Secret::new(PASSWORD));
    tenants.accounts.create_user(user).await.expect("a new user");
    let front = Front::of_tenants(&stores, &tenants, EntranceOptions::default());
    let server = Server::builder()
        .service(front.service(Default::default()))
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .bind()
        .await
        .expect("a port");
    let (url, serving) = (
        format!("http://{}", server.local_addr()),
        Serving(server.handle()),
    );
    tokio::spawn(server.serve());
    let remote = RemoteRegistry::builder(url).basic(USER, PASSWORD).build();
    Fixture::new(Arc::new(remote.expect("a registry's origin")) as Arc<dyn Registry>)
        .guarded_by((serving, stores))
}

registry_storage::registry_suite!(logged_in, logged_in);
