//! Groups of users.

use registry_auth::{Group, GroupKind, NewGroup};
use registry_core::store::collection::{Match, Query, Row};

use crate::api::State;
use crate::call::Call;
use crate::list::Alias;
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};
use crate::users::need_whole_or;

const ALIASES: &[Alias] = &[];

pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let paging = call.paging()?;
    let mut query = call.asked(ALIASES, ("group_name", false))?;
    if let Some(name) = call.query.get("group_name") {
        query = query.and("group_name", Match::Like(name.to_owned()));
    }
    if let Some(dn) = call.query.get("ldap_group_dn") {
        query = query.and("ldap_group_dn", Match::Is(dn.to_owned()));
    }
    let found = state.parts.tenants.accounts.groups(&paging.of(query)).await?;
    let groups: Vec<_> = found.rows.iter().map(shown).collect();
    Ok(call.listed(paging, found.total, &groups))
}

pub(crate) async fn search(state: &State, call: &Call<'_>) -> Answer {
    need_whole_or(state, &call.asker, "user-group").await?;
    let name = call.query.get("groupname");
    let name = name.ok_or_else(|| Refusal::invalid("say what to look for: ?groupname=…"))?;
    let paging = call.paging()?;
    let query = Query::all()
        .and("group_name", Match::Like(name.to_owned()))
        .by("group_name", false);
    let found = state.parts.tenants.accounts.groups(&paging.of(query)).await?;
    let groups = found.rows.iter().map(|row| model::UserGroup {
        ldap_group_dn: String::new(),
        ..shown(row)
    });
    Ok(call.listed(paging, found.total, &groups.collect::<Vec<_>>()))
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let new: model::UserGroup = call.document()?;
    let kinds = [GroupKind::Ldap, GroupKind::Http, GroupKind::Oidc];
    let kind = kinds.into_iter().find(|kind| kind.id() == new.group_type);
    let kind = kind.ok_or_else(|| {
        Refusal::invalid(format!(
            "group_type is 1 for LDAP, 2 for a group of this registry or of a proxy, 3 for OpenID, and not {}",
            new.group_type
        ))
    })?;
    let new = NewGroup {
        name: new.group_name,
        kind,
        ldap_dn: new.ldap_group_dn,
    };
    let made = state.parts.tenants.accounts.create_group(new).await?;
    Ok(Reply::done().created(&State::location(format_args!("/usergroups/{}", made.id))))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let group = state.parts.tenants.accounts.group(call.id("group_id")?).await?;
    Ok(Reply::json(&shown(&group)))
}

/// Only the name can be changed, as in Harbor.
pub(crate) async fn update(state: &State, call: &Call<'_>) -> Answer {
    let id = call.id("group_id")?;
    let new: model::UserGroup = call.document()?;
    state
        .parts
        .tenants
        .accounts
        .rename_group(id, &new.group_name)
        .await?;
    Ok(Reply::done())
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    state
        .parts
        .tenants
        .accounts
        .delete_group(call.id("group_id")?)
        .await?;
    Ok(Reply::done())
}

fn shown(row: &Row<Group>) -> model::UserGroup {
    model::UserGroup {
        id: row.id,
        group_name: row.value.name.clone(),
        group_type: row.value.kind.id(),
        ldap_group_dn: row.value.ldap_dn.clone(),
    }
}
