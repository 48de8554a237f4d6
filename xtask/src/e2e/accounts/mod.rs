//! Clients that log in: each may what its account may, and people are told why when they may not.

mod api;
mod clients;
mod expiry;
mod login;
mod steps;

use std::path::Path;

use anyhow::{Result, bail};

use self::api::{Api, Role};
use self::clients::{Client, Containers, Ctr, Docker, Home, Skopeo};
use self::login::Login;
use super::{Checks, skopeo};
use crate::images::ImageSet;
use crate::proxy::Proxy;
use crate::server::{Running, start_with_accounts};
use crate::tools;

/// What each client is checked for, in the order of the closing table.
pub(super) const COLUMNS: [&str; 12] = [
    "start", "login", "push", "pull", "guest", "tenant", "missing", "robot", "logout", "public", "expiry",
    "refusal",
];

/// A berth with tenants: the project `team` and its people, `rival`, which is somebody else's, and `open`, which is public.
/// In each of the latter two is an image, `app:1`.
pub(super) struct Tenants {
    api: Api,
    admin: Login,
    /// A developer of `team` and `open`.
    dev: Login,
    /// A guest of `team`.
    guest: Login,
    /// The registry as clients are to address it.
    registry: String,
    _proxy: Proxy,
    _running: Running,
}

impl Tenants {
    pub(super) fn start(images: &ImageSet, work: &Path) -> Result<Self> {
        tools::debian(&["skopeo"])?;
        let admin = Login::drawn("admin")?;
        let running = start_with_accounts(work, &admin.password, &[])?;
        let proxy = Proxy::start(running.address)?;
        let registry = proxy.authority();
        let tenants = Self {
            api: Api::new(registry.clone(), &admin),
            admin,
            dev: Login::drawn("dev")?,
            guest: Login::drawn("guest")?,
            registry,
            _proxy: proxy,
            _running: running,
        };
        let api = &tenants.api;
        api.logs_in()?;
        for (project, public) in [("team", false), ("rival", false), ("open", true)] {
            api.create_project(project, public)?;
        }
        let (dev, guest) = (&tenants.dev, &tenants.guest);
        for (login, project, role) in [
            (dev, "team", Role::Developer),
            (guest, "team", Role::Guest),
            (dev, "open", Role::Developer),
        ] {
            if project == "team" {
                api.create_user(login)?;
            }
            api.add_member(project, login, role)?;
        }
        let logins = tenants.admin.auth_file(work, &tenants.registry)?;
        let logins = logins.display().to_string();
        for project in ["rival", "open"] {
            skopeo::copy(
                &["--dest-tls-verify=false", "--dest-authfile", &logins],
                &image(images),
                &format!("docker://{}/{project}/app:1", tenants.registry),
            )?;
        }
        Ok(tenants)
    }
}

/// The image that all clients push, as skopeo writes it.
fn image(images: &ImageSet) -> String {
    format!("oci:{}:{}", images.layout.path.display(), images.image)
}

/// Runs one client's checks.
pub(super) fn run(
    client: super::Client,
    tenants: &Tenants,
    images: &ImageSet,
    work: &Path,
    checks: &mut Checks,
) -> Result<()> {
    let home = Home {
        work: work.to_owned(),
        image: image(images),
    };
    let mut made = None;
    checks.check("start", || {
        made = Some(make(client, home)?);
        Ok(())
    });
    if let Some(made) = &mut made {
        steps::run(&client.name(), made.as_mut(), tenants, checks);
        expiry::run(made.as_mut(), work, checks);
    }
    Ok(())
}

fn make(client: super::Client, home: Home) -> Result<Box<dyn Client>> {
    Ok(match client {
        super::Client::Skopeo => Box::new(Skopeo::new(home)?),
        super::Client::Docker => Box::new(Docker::new(home)?),
        super::Client::Containerd => Box::new(Ctr::new(home)?),
        super::Client::Podman => Box::new(Containers::podman(home)?),
        super::Client::Buildah => Box::new(Containers::buildah(home)?),
        other => bail!("{} is not logged in with here", other.name()),
    })
}
