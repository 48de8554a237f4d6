//! The registry itself: whether it is there, how it is, what it is.

use registry_core::Timestamp;

use crate::OPENAPI;
use crate::api::State;
use crate::call::Call;
use crate::model::{ComponentHealth, OverallHealth, SystemInfo};
use crate::reply::{Answer, Reply};

pub(crate) async fn ping(_state: &State, _call: &Call<'_>) -> Answer {
    Ok(Reply::bytes("text/plain; charset=utf-8", "Pong"))
}

pub(crate) async fn openapi(_state: &State, _call: &Call<'_>) -> Answer {
    Ok(Reply::bytes("application/json; charset=utf-8", OPENAPI))
}

pub(crate) async fn health(state: &State, _call: &Call<'_>) -> Answer {
    let word = |healthy: bool| if healthy { "healthy" } else { "unhealthy" }.to_owned();
    let components = state.parts.health.components().await;
    let all = components.iter().all(|component| component.healthy);
    let components = components.into_iter().map(|component| ComponentHealth {
        name: component.name,
        status: word(component.healthy),
    });
    Ok(Reply::json(&OverallHealth {
        status: word(all),
        components: components.collect(),
    }))
}

/// Harbor tells strangers how to log in, and nothing more.
pub(crate) async fn info(state: &State, call: &Call<'_>) -> Answer {
    let mut info = SystemInfo {
        auth_mode: "db_auth".to_owned(),
        ..SystemInfo::default()
    };
    if call.asker.standing.is_some() {
        let origin = state.parts.trust.origin(call.head);
        let everyone = state.parts.tenants.accounts.settings().users_create_projects;
        info.harbor_version = Some(state.parts.about.version.clone());
        info.registry_url = origin.as_ref().map(|origin| origin.authority().to_owned());
        info.external_url = origin.map(|origin| origin.to_string());
        info.project_creation_restriction = Some(if everyone { "everyone" } else { "adminonly" }.to_owned());
        info.read_only = Some(state.parts.about.read_only);
        info.current_time = Some(Timestamp::to_string(&state.parts.runtime.now()));
    }
    Ok(Reply::json(&info))
}
