//! `berth robot`.

mod output;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Subcommand, ValueEnum};
use registry_auth::secret::Secret;
use registry_harbor::model::{Created, Permission, Robot, RobotRequest, RobotSecret, RobotUpdate};
use serde_json::Value;

use self::output::{Credentials, Output};
use crate::api::client::read;
use crate::api::login::{LOGIN, host};
use crate::api::permissions::{ALLOW, Allow, Days, in_projects, on_system};
use crate::api::{Api, Client, Form, find, path};
use crate::place::EXIT_CODES;
use crate::terminal::Sure;
use crate::token::until_then;
use crate::undo::end;

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
A robot is an account for a program: it logs in with its name and its secret, as people do with theirs. One of a project reaches \
that project alone; one of the registry reaches the projects that it was given. None may more than who made it.

{LOGIN}

{EXIT_CODES}

Examples:
  berth robot create ci --project shop --allow pull,push
  berth robot list --project shop
  berth robot refresh ci --project shop     another secret"))]
pub(crate) struct Robots {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a robot, and print its name and secret once.
    #[command(after_help = format!("\
{ALLOW} It is about the projects that are named; on the registry as a whole, --allow-system gives what is there.

With --output only what a program reads is printed: dockerconfigjson, a ~/.docker/config.json; env, lines for a shell; \
kubernetes-secret, a Secret for imagePullSecrets.

{LOGIN}

{EXIT_CODES}

Examples:
  berth robot create ci --project shop --allow pull,push --expires 90d
  berth robot create ci --project shop --allow push --output env > ci.env
  berth robot create cluster --level system --project shop --project base --output kubernetes-secret | kubectl apply -f -
  berth robot create mirror --level system --project '*' --allow pull,list --expires never"))]
    Create(Create),
    /// Say which robots there are, of a project or of the registry.
    List(List),
    /// Say what is known of a robot.
    Show(Named),
    /// Delete a robot. Robots that it made are worth nothing any more.
    Delete(Delete),
    /// Let a robot do nothing until it is enabled.
    Disable(Named),
    /// Let a robot do again what it may.
    Enable(Named),
    /// Give a robot another secret, and print it once. The old one ends.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth robot refresh ci --project shop
  berth robot refresh ci --project shop --output kubernetes-secret | kubectl apply -f -"))]
    Refresh(Refresh),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Of one project
    Project,
    /// Of the registry
    System,
}

#[derive(Args)]
struct Create {
    /// What to call it: lower-case letters and digits, with . _ - between
    name: String,
    /// What it is of
    #[arg(long, value_enum, default_value_t = Level::Project)]
    level: Level,
    /// The project that it is of; with --level system, one that it reaches, or '*' for all. May then be given several times
    #[arg(id = "projects", long = "project", value_name = "PROJECT")]
    projects: Vec<String>,
    /// What it may in the projects
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "pull")]
    allow: Vec<Allow>,
    /// What it may on the registry as a whole, as RESOURCE:ACTION
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    allow_system: Vec<Allow>,
    /// For how long: 30d, 12weeks, or never [default: what the server says, 30 days]
    #[arg(long, value_name = "DAYS")]
    expires: Option<Days>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct List {
    /// Those of this project; without one, those of the registry
    #[arg(long)]
    project: Option<String>,
    #[command(flatten)]
    api: Api,
}

/// A robot by its name.
#[derive(Args)]
struct Which {
    /// Which: ci, or its whole name
    name: String,
    /// The project that it is of
    #[arg(long)]
    project: Option<String>,
}

impl Which {
    fn find(&self, client: &Client) -> Result<(Robot, Value), String> {
        find::robot(client, self.project.as_deref(), &self.name)
    }
}

#[derive(Args)]
struct Named {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Delete {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    sure: Sure,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Refresh {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn run(args: &Robots) -> ExitCode {
    end(match &args.what {
        What::Create(args) => create(args),
        What::List(args) => list(args),
        What::Show(args) => show(args),
        What::Delete(args) => delete(args),
        What::Disable(args) => disable(args, true),
        What::Enable(args) => disable(args, false),
        What::Refresh(args) => refresh(args),
    })
}

/// The path of a robot.
fn at(robot: &Robot) -> String {
    path(&["robots", &robot.id.to_string()])
}

/// What is asked for, or why it makes no sense.
fn permissions(args: &Create) -> Result<Vec<Permission>, &'static str> {
    match (args.level, args.projects.as_slice()) {
        (Level::Project, [one]) if one != "*" && args.allow_system.is_empty() => {}
        (Level::Project, _) => {
            return Err(
                "a robot of a project is given one --project; one that reaches several, or the registry as a \
                        whole, has --level system",
            );
        }
        (Level::System, []) if args.allow_system.is_empty() => {
            return Err(
                "a robot of the registry is given a --project that it reaches, '*' for all, or --allow-system",
            );
        }
        (Level::System, _) => {}
    }
    let mut permissions = in_projects(&args.projects, &args.allow);
    permissions.extend(on_system(&args.allow_system));
    Ok(permissions)
}

fn create(args: &Create) -> Result<(), String> {
    let permissions = permissions(args)
        .unwrap_or_else(|why| clap::Error::raw(ErrorKind::ArgumentConflict, format!("{why}\n")).exit());
    let client = args.api.client()?;
    let level = match args.level {
        Level::Project => "project",
        Level::System => "system",
    };
    let body = RobotRequest {
        name: args.name.clone(),
        description: args.description.clone(),
        level: level.to_owned(),
        // Without a word about it, what the operator says.
        duration: args.expires.map_or(0, |Days(days)| days),
        permissions,
        ..RobotRequest::default()
    };
    let made = client.post("/robots", &body);
    let made = made.map_err(|why| why.about("robot", &args.name))?;
    let created: Created = read(&made)?;
    let sentence = format!(
        "robot {} was created, {}",
        created.name,
        until_then(created.expires_at)
    );
    tell(
        &client,
        (args.api.form, &args.output),
        &sentence,
        &created.name,
        (Secret::new(created.secret), made),
    )
}

/// Prints the name and the secret of a robot, in the form that is wanted.
fn tell(
    client: &Client,
    (form, output): (Form, &Output),
    sentence: &str,
    name: &str,
    (secret, entry): (Secret, Value),
) -> Result<(), String> {
    let credentials = Credentials {
        registry: host(client.server()),
        name,
        secret: &secret,
    };
    match output.text(&credentials) {
        Some(text) => print!("{text}"),
        None => form.done(entry, name, sentence, Some(("secret", &secret))),
    }
    Ok(())
}

fn list(args: &List) -> Result<(), String> {
    let client = args.api.client()?;
    let robots = find::robots(&client, args.project.as_deref(), None)?;
    args.api.form.list::<Robot>(&robots)
}

fn show(args: &Named) -> Result<(), String> {
    let (_, value) = args.which.find(&args.api.client()?)?;
    args.api.form.one::<Robot>(&value)
}

fn delete(args: &Delete) -> Result<(), String> {
    let client = args.api.client()?;
    let (robot, value) = args.which.find(&client)?;
    args.sure.of(&format!("robot {}", robot.name))?;
    let deleted = client.delete(&at(&robot));
    deleted.map_err(|why| why.about("robot", &robot.name))?;
    let sentence = format!("robot {} was deleted", robot.name);
    args.api.form.done(value, &robot.name, &sentence, None);
    Ok(())
}

fn disable(args: &Named, disable: bool) -> Result<(), String> {
    let client = args.api.client()?;
    let (robot, _) = args.which.find(&client)?;
    let body = RobotUpdate {
        disable: Some(disable),
        ..RobotUpdate::default()
    };
    let put = client.put(&at(&robot), &body);
    put.map_err(|why| why.about("robot", &robot.name))?;
    let value = client
        .get(&at(&robot))
        .map_err(|why| why.about("robot", &robot.name))?;
    let sentence = match disable {
        true => format!("robot {} may do nothing until it is enabled", robot.name),
        false => format!("robot {} may do again what it may", robot.name),
    };
    args.api.form.done(value, &robot.name, &sentence, None);
    Ok(())
}

fn refresh(args: &Refresh) -> Result<(), String> {
    let client = args.api.client()?;
    let (robot, value) = args.which.find(&client)?;
    let drawn = client.patch(&at(&robot), &RobotSecret::default());
    let drawn = drawn.map_err(|why| why.about("robot", &robot.name))?;
    let drawn: RobotSecret = read(&drawn)?;
    let sentence = format!("robot {} has another secret, and the old one ended", robot.name);
    tell(
        &client,
        (args.api.form, &args.output),
        &sentence,
        &robot.name,
        (Secret::new(drawn.secret), value),
    )
}
