//! Personal access tokens, which Harbor has not: `/users/{user_id}/tokens`, in its style.
//!
//! A token is made by its user in person: one that made others would outlive itself, and one made by an administrator for somebody
//! else would speak in their name.

use std::time::Duration;

use registry_auth::{NewToken, Token, User};
use registry_core::Timestamp;
use registry_core::store::collection::{Match, Query, Row};

use crate::api::State;
use crate::call::Call;
use crate::list::Alias;
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};
use crate::robots::{expires_at, read_permissions, shown_permission};

const ALIASES: &[Alias] = &[("token_id", "id")];
/// Longest that a token may be made for, in days, beside for ever.
const LONGEST: i64 = 36_500;
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let user = need_own(state, call).await?;
    let paging = call.paging()?;
    let query = call
        .asked(ALIASES, ("name", false))?
        .and("user_id", Match::Is(user.id.to_string()));
    let found = state.parts.tenants.accounts.tokens(&paging.of(query)).await?;
    let tokens: Vec<_> = found.rows.iter().map(|row| shown(&user, row)).collect();
    Ok(call.listed(paging, found.total, &tokens))
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let user = need_own(state, call).await?;
    if call.asker.user_in_person() != Some(user.id) {
        return Err(Refusal::forbidden(format!(
            "an access token is made by its user, logged in with the password, and not by {}",
            call.asker
        )));
    }
    let new: model::TokenRequest = call.document()?;
    let accounts = &state.parts.tenants.accounts;
    let days = match new.duration {
        0 => accounts.settings().robot_duration,
        days => days,
    };
    let expires = match days {
        -1 => None,
        1..=LONGEST => Some(state.parts.runtime.now() + DAY * days as u32),
        _ => {
            return Err(Refusal::invalid(format!(
                "duration is 1 to {LONGEST} days, or -1 for ever, and not {days}"
            )));
        }
    };
    let permissions = match new.permissions {
        Some(permissions) => Some(read_permissions(state, &call.asker, permissions).await?),
        None => None,
    };
    let new = NewToken {
        name: new.name,
        description: new.description,
        permissions,
        expires,
    };
    let (made, secret) = accounts.create_token(user.id, new).await?;
    let location = State::location(format_args!("/users/{}/tokens/{}", user.id, made.id));
    let created = model::Created {
        id: made.id,
        name: full_name(&user, &made.value),
        secret: secret.reveal().to_owned(),
        creation_time: made.value.created.to_string(),
        expires_at: expires_at(made.value.expires),
    };
    Ok(Reply::json(&created).created(&location))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let user = need_own(state, call).await?;
    let id = call.id("token_id")?;
    let theirs = Query::all()
        .and("id", Match::Is(id.to_string()))
        .and("user_id", Match::Is(user.id.to_string()));
    let found = state.parts.tenants.accounts.tokens(&theirs).await?;
    let token = found.rows.first();
    let token =
        token.ok_or_else(|| Refusal::missing(format!("{} has no access token {id}", user.value.username)))?;
    Ok(Reply::json(&shown(&user, token)))
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    let user = need_own(state, call).await?;
    state
        .parts
        .tenants
        .accounts
        .delete_token(user.id, call.id("token_id")?)
        .await?;
    Ok(Reply::done())
}

/// The user that the path names, if it is who asks, or an administrator asks.
async fn need_own(state: &State, call: &Call<'_>) -> Result<Row<User>, Refusal> {
    let asking = call.asker.standing.filter(|_| call.asker.is_whole());
    let asking = asking.map(|standing| standing.user());
    let id = match (call.part("user_id"), asking) {
        ("current", Some(asking)) => asking,
        ("current", None) => 0,
        _ => call.id("user_id")?,
    };
    if asking != Some(id) && !call.asker.admin {
        return Err(call.asker.refused(format!(
            "{} may not see to the access tokens of somebody else",
            call.asker
        )));
    }
    Ok(state.parts.tenants.accounts.user(id).await?)
}

fn full_name(user: &Row<User>, token: &Token) -> String {
    format!("{}#{}", user.value.username, token.name)
}

fn shown(user: &Row<User>, row: &Row<Token>) -> model::Token {
    let token = &row.value;
    let permissions = token.permissions.as_ref();
    let created: Timestamp = token.created;
    model::Token {
        id: row.id,
        name: full_name(user, token),
        description: token.description.clone(),
        permissions: permissions.map(|permissions| permissions.iter().map(shown_permission).collect()),
        expires_at: expires_at(token.expires),
        creation_time: created.to_string(),
    }
}
