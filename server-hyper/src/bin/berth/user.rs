//! `berth user`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::store::collection::Match;
use registry_harbor::model::{PasswordRequest, User, UserProfile, UserRequest, UserSysAdmin};
use serde_json::Value;

use crate::api::client::{Failure, read};
use crate::api::login::LOGIN;
use crate::api::password::NewPassword;
use crate::api::{Api, Client, Deleted, Listed, Named, find, path};
use crate::place::EXIT_CODES;
use crate::undo::end;

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
{LOGIN}

{EXIT_CODES}

Examples:
  berth user create alice --email alice@shop.example --generate
  berth user list
  berth user admin grant alice
  berth user password                       change your own"))]
pub(crate) struct Users {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a user.
    #[command(after_help = format!("\
A password has 8 to 128 characters, among them an upper-case letter, a lower-case letter and a digit. Without one of the three \
flags it is asked for, twice.

{LOGIN}

{EXIT_CODES}

Examples:
  berth user create alice                                 asks for the password
  berth user create alice --generate                      makes one up, and prints it once
  berth user create bob --new-password-stdin < bob.txt
  password=$(berth user create carol --generate --quiet)  for a script"))]
    Create(Create),
    /// Say which users there are.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth user list
  berth user list --like ali
  berth user list --json | jq -r 'select(.sysadmin_flag).username'"))]
    List(Listed),
    /// Say what is known of a user; without a name, of yourself.
    Show(Show),
    /// Change what is known of a user beside what they may.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth user update alice --email alice@shop.example
  berth user update alice --comment ''              without a comment"))]
    Update(Update),
    /// Delete a user. Their tokens are worth nothing any more, nor are the robots that they made.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth user delete alice
  berth user delete alice --yes         for a script"))]
    Delete(Deleted),
    /// Give a user another password; without a name, yourself. What was given out on the old one ends.
    #[command(after_help = format!("{LOGIN}

{EXIT_CODES}

Examples:
  berth user password                                    asks for the new one
  berth user password alice --generate                   as an administrator"))]
    Password(Password),
    /// Let a user do everything, or no longer.
    #[command(after_help = format!("\
The first administrator stays one, so that there always is one.

{EXIT_CODES}

Examples:
  berth user admin grant alice
  berth user admin revoke alice"))]
    Admin(Admin),
}

/// What is known of a user.
#[derive(Args, Clone)]
struct Profile {
    /// Where to write to
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What they are called
    #[arg(long, value_name = "NAME")]
    realname: Option<String>,
    /// Whatever else is to be known
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Args)]
struct Create {
    /// The name to log in with
    name: String,
    #[command(flatten)]
    profile: Profile,
    /// They may do everything
    #[arg(long)]
    admin: bool,
    #[command(flatten)]
    password: NewPassword,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Show {
    /// Whom; yourself if nobody is named
    name: Option<String>,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Update {
    /// Whom
    name: String,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Password {
    /// Whom; yourself if nobody is named
    name: Option<String>,
    #[command(flatten)]
    password: NewPassword,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
#[command(arg_required_else_help = true)]
struct Admin {
    #[command(subcommand)]
    what: Right,
}

#[derive(Subcommand)]
enum Right {
    /// Let a user do everything.
    Grant(Named),
    /// Let them do no more than their roles say.
    Revoke(Named),
}

pub(crate) fn run(args: &Users) -> ExitCode {
    end(match &args.what {
        What::Create(args) => create(args),
        What::List(args) => list(args),
        What::Show(args) => show(args),
        What::Update(args) => update(args),
        What::Delete(args) => delete(args),
        What::Password(args) => password(args),
        What::Admin(args) => match &args.what {
            Right::Grant(whom) => admin(whom, true),
            Right::Revoke(whom) => admin(whom, false),
        },
    })
}

/// The path of a user.
fn at(user: &User, rest: &[&str]) -> String {
    let id = user.user_id.to_string();
    path(&[&["users", &id], rest].concat())
}

fn create(args: &Create) -> Result<(), String> {
    let client = args.api.client()?;
    let chosen = args.password.of(&args.name)?;
    let profile = args.profile.clone();
    let body = UserRequest {
        username: args.name.clone(),
        email: profile.email.unwrap_or_default(),
        realname: profile.realname.unwrap_or_default(),
        comment: profile.comment.unwrap_or_default(),
        password: chosen.password.reveal().to_owned(),
    };
    client
        .post("/users", &body)
        .map_err(|why| why.about("user", &args.name))?;
    let (user, mut value) = find::user(&client, &args.name)?;
    if args.admin {
        let right = set_admin(&client, &user, true);
        right.map_err(|why| {
            format!(
                "user {} was created, but is no administrator: {why}; try `berth user admin grant {}`",
                args.name, args.name
            )
        })?;
        (_, value) = find::user(&client, &args.name)?;
    }
    let sentence = format!("user {} was created", args.name);
    args.api.form.done(value, &args.name, &sentence, chosen.drawn());
    Ok(())
}

fn list(args: &Listed) -> Result<(), String> {
    let like = args.like.iter().cloned().map(Match::Like);
    let filter = find::filter(&like.map(|test| ("username", test)).collect::<Vec<_>>());
    let users = args.api.client()?.list("/users", &[("q", &filter)])?;
    args.api.form.list::<User>(&users)
}

/// Whoever is named, or else whoever asks.
fn named(client: &Client, name: Option<&str>) -> Result<(User, Value), String> {
    match name {
        Some(name) => find::user(client, name),
        None => {
            let value = client.get("/users/current")?;
            Ok((read(&value)?, value))
        }
    }
}

fn show(args: &Show) -> Result<(), String> {
    let (_, value) = named(&args.api.client()?, args.name.as_deref())?;
    args.api.form.one::<User>(&value)
}

fn update(args: &Update) -> Result<(), String> {
    let client = args.api.client()?;
    let (user, _) = find::user(&client, &args.name)?;
    let profile = args.profile.clone();
    let body = UserProfile {
        email: profile.email,
        realname: profile.realname,
        comment: profile.comment,
    };
    let put = client.put(&at(&user, &[]), &body);
    put.map_err(|why| why.about("user", &args.name))?;
    let (_, value) = find::user(&client, &args.name)?;
    let sentence = format!("user {} was changed", args.name);
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}

fn delete(args: &Deleted) -> Result<(), String> {
    let client = args.api.client()?;
    let (user, value) = find::user(&client, &args.name)?;
    args.sure.of(&format!("user {}", args.name))?;
    let deleted = client.delete(&at(&user, &[]));
    deleted.map_err(|why| why.about("user", &args.name))?;
    let sentence = format!("user {} was deleted", args.name);
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}

fn password(args: &Password) -> Result<(), String> {
    let client = args.api.client()?;
    let (user, value) = named(&client, args.name.as_deref())?;
    let chosen = args.password.of(&user.username)?;
    let mut body = PasswordRequest {
        new_password: chosen.password.reveal().to_owned(),
        ..PasswordRequest::default()
    };
    if user.username == client.username() {
        body.old_password = client.password().reveal().to_owned();
    }
    let put = client.put(&at(&user, &["password"]), &body);
    put.map_err(|why| why.about("user", &user.username))?;
    let sentence = format!("user {} has another password", user.username);
    args.api
        .form
        .done(value, &user.username, &sentence, chosen.drawn());
    Ok(())
}

fn set_admin(client: &Client, user: &User, admin: bool) -> Result<(), Failure> {
    let body = UserSysAdmin { sysadmin_flag: admin };
    client.put(&at(user, &["sysadmin"]), &body)
}

fn admin(args: &Named, admin: bool) -> Result<(), String> {
    let client = args.api.client()?;
    let (user, _) = find::user(&client, &args.name)?;
    let put = set_admin(&client, &user, admin);
    put.map_err(|why| why.about("user", &args.name))?;
    let (_, value) = find::user(&client, &args.name)?;
    let sentence = match admin {
        true => format!("user {} may do everything", args.name),
        false => format!("user {} is no administrator any more", args.name),
    };
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}
