//! `berth token`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_auth::secret::Secret;
use registry_harbor::model::{Created, Token, TokenRequest};

use crate::api::client::read;
use crate::api::login::LOGIN;
use crate::api::permissions::{ALLOW, Allow, Days, in_projects, until};
use crate::api::{Api, Deleted, find, path};
use crate::place::EXIT_CODES;
use crate::undo::end;

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
An access token is yours: it may at most what you may, and is used with your name in place of your password, for docker login \
and for the API. For a program that is nobody's, see berth robot.

{LOGIN}

{EXIT_CODES}

Examples:
  berth token create laptop --username alice
  berth token list --username alice"))]
pub(crate) struct Tokens {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an access token for yourself, and print its secret once.
    #[command(after_help = format!("\
Without --allow the token may all that you may. {ALLOW}

{LOGIN}

{EXIT_CODES}

Examples:
  berth token create laptop --expires 90d
  berth token create reader --project shop --allow pull
  berth token create ci --quiet | docker login --username alice --password-stdin registry.example"))]
    Create(Create),
    /// Say which access tokens you have.
    List(Api),
    /// Delete an access token. Whatever uses it ends.
    Delete(Deleted),
}

#[derive(Args)]
struct Create {
    /// What to call it: lower-case letters and digits, with . _ - between
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// For how long: 30d, 12weeks, or never
    #[arg(long, value_name = "DAYS", default_value = "30d")]
    expires: Days,
    /// It may only this, in the projects that are named
    #[arg(long, value_name = "WHAT", value_delimiter = ',', requires = "projects")]
    allow: Vec<Allow>,
    /// A project that --allow is about, or '*' for all. May be given several times
    #[arg(id = "projects", long = "project", value_name = "PROJECT", requires = "allow")]
    projects: Vec<String>,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn run(args: &Tokens) -> ExitCode {
    end(match &args.what {
        What::Create(args) => create(args),
        What::List(args) => list(args),
        What::Delete(args) => delete(args),
    })
}

/// Where one's own are.
pub(crate) const MINE: &str = "/users/current/tokens";

fn create(args: &Create) -> Result<(), String> {
    let client = args.api.client()?;
    let body = TokenRequest {
        name: args.name.clone(),
        description: args.description.clone(),
        duration: args.expires.0,
        permissions: (!args.allow.is_empty()).then(|| in_projects(&args.projects, &args.allow)),
    };
    let made = client.post(MINE, &body);
    let made = made.map_err(|why| why.about("access token", &args.name))?;
    let created: Created = read(&made)?;
    let sentence = format!(
        "access token {} of {} was created, {}",
        args.name,
        client.username(),
        until_then(created.expires_at)
    );
    let secret = Secret::new(created.secret);
    args.api
        .form
        .done(made, &args.name, &sentence, Some(("secret", &secret)));
    Ok(())
}

/// How long a secret is worth anything, in a sentence.
pub(crate) fn until_then(expires_at: i64) -> String {
    match expires_at {
        ..0 => "and does not expire".to_owned(),
        at => format!("until {}", until(at)),
    }
}

fn list(args: &Api) -> Result<(), String> {
    let tokens = args.client()?.list(MINE, &[])?;
    args.form.list::<Token>(&tokens)
}

fn delete(args: &Deleted) -> Result<(), String> {
    let client = args.api.client()?;
    let (token, value) = find::token(&client, &args.name)?;
    args.sure.of(&format!("access token {}", args.name))?;
    let deleted = client.delete(&path(&["users", "current", "tokens", &token.id.to_string()]));
    deleted.map_err(|why| why.about("access token", &args.name))?;
    let sentence = format!("access token {} was deleted", args.name);
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}
