//! Users.

use registry_auth::roles::Act;
use registry_auth::secret::Secret;
use registry_auth::{NewUser, Profile, User};
use registry_core::store::collection::{Match, Query, Row};

use crate::api::State;
use crate::asker::Asker;
use crate::call::Call;
use crate::list::Alias;
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};

const ALIASES: &[Alias] = &[("user_id", "id")];

pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let paging = call.paging()?;
    let query = paging.of(call.asked(ALIASES, ("username", false))?);
    let found = state.parts.tenants.accounts.users(&query).await?;
    let users: Vec<_> = found.rows.iter().map(shown).collect();
    Ok(call.listed(paging, found.total, &users))
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let new: model::UserRequest = call.document()?;
    let new = NewUser {
        profile: Profile {
            email: new.email,
            realname: new.realname,
            comment: new.comment,
        },
        ..NewUser::new(new.username, Secret::new(new.password))
    };
    let made = state.parts.tenants.accounts.create_user(new).await?;
    Ok(Reply::done().created(&State::location(format_args!("/users/{}", made.id))))
}

/// Harbor answers robots, which are no users, with 412.
pub(crate) async fn current(state: &State, call: &Call<'_>) -> Answer {
    let user = call.asker.standing.filter(|_| call.asker.is_whole());
    let Some(user) = user.map(|standing| standing.user()) else {
        return Err(Refusal::new(
            http::StatusCode::PRECONDITION_FAILED,
            format!("{} is not a user, but a part of what one may", call.asker),
        ));
    };
    Ok(Reply::json(&shown(
        &state.parts.tenants.accounts.user(user).await?,
    )))
}

pub(crate) async fn search(state: &State, call: &Call<'_>) -> Answer {
    need_whole_or(state, &call.asker, "user").await?;
    let name = call.query.get("username");
    let name = name.ok_or_else(|| Refusal::invalid("say what to look for: ?username=…"))?;
    let paging = call.paging()?;
    let query = Query::all()
        .and("username", Match::Like(name.to_owned()))
        .by("username", false);
    let found = state.parts.tenants.accounts.users(&paging.of(query)).await?;
    let users = found.rows.into_iter().map(|row| model::UserFound {
        user_id: row.id,
        username: row.value.username,
    });
    Ok(call.listed(paging, found.total, &users.collect::<Vec<_>>()))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let id = need_self_or(state, call, Act::Read).await?;
    Ok(Reply::json(&shown(&state.parts.tenants.accounts.user(id).await?)))
}

pub(crate) async fn update(state: &State, call: &Call<'_>) -> Answer {
    let id = need_self_or(state, call, Act::Update).await?;
    let new: model::UserProfile = call.document()?;
    let accounts = &state.parts.tenants.accounts;
    let old = accounts.user(id).await?.value;
    let profile = Profile {
        email: new.email.unwrap_or(old.email),
        realname: new.realname.unwrap_or(old.realname),
        comment: new.comment.unwrap_or(old.comment),
    };
    accounts.set_profile(id, profile).await?;
    Ok(Reply::done())
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    let id = call.id("user_id")?;
    if call.asker.standing.is_some_and(|standing| standing.user() == id) {
        return Err(Refusal::forbidden(
            "nobody deletes themselves; let another administrator do it",
        ));
    }
    state.parts.tenants.accounts.delete_user(id).await?;
    Ok(Reply::done())
}

pub(crate) async fn set_admin(state: &State, call: &Call<'_>) -> Answer {
    let id = call.id("user_id")?;
    let model::UserSysAdmin { sysadmin_flag } = call.document()?;
    state.parts.tenants.accounts.set_admin(id, sysadmin_flag).await?;
    Ok(Reply::done())
}

/// One's own with the present one, and in person: a token that is lost must not lock its user out. Anybody's by an
/// administrator.
pub(crate) async fn set_password(state: &State, call: &Call<'_>) -> Answer {
    let id = call.id("user_id")?;
    let own = call.asker.user_in_person() == Some(id);
    if !own && !call.asker.admin {
        return Err(Refusal::forbidden(format!(
            "{} may not change the password of user {id}; they may themselves, logged in with the present one",
            call.asker
        )));
    }
    let new: model::PasswordRequest = call.document()?;
    let accounts = &state.parts.tenants.accounts;
    if call.asker.standing.is_some_and(|standing| standing.user() == id) {
        if !accounts.is_password_of(id, &new.old_password).await? {
            return Err(Refusal::forbidden("old_password is not the present password"));
        }
        if new.old_password == new.new_password {
            return Err(Refusal::invalid(
                "new_password is the present password; choose another",
            ));
        }
    }
    accounts.set_password(id, &Secret::new(new.new_password)).await?;
    Ok(Reply::done())
}

/// The user that the path names, if that is who asks, or they may do this to any.
async fn need_self_or(state: &State, call: &Call<'_>, act: Act) -> Result<u64, Refusal> {
    let id = call.id("user_id")?;
    let own = call.asker.is_whole() && call.asker.standing.is_some_and(|standing| standing.user() == id);
    if !own {
        state.need_system(&call.asker, "user", act).await?;
    }
    Ok(id)
}

/// Lets users through, and robots and tokens that may list these.
pub(crate) async fn need_whole_or(state: &State, asker: &Asker, resource: &str) -> Result<(), Refusal> {
    match asker.is_whole() {
        true => Ok(()),
        false => state.need_system(asker, resource, Act::List).await,
    }
}

fn shown(row: &Row<User>) -> model::User {
    let user = &row.value;
    model::User {
        user_id: row.id,
        username: user.username.clone(),
        email: user.email.clone(),
        realname: user.realname.clone(),
        comment: user.comment.clone(),
        sysadmin_flag: user.admin,
        admin_role_in_auth: false,
        creation_time: user.created.to_string(),
        update_time: user.updated.to_string(),
    }
}
