//! `berth project`.

mod member;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::store::collection::Match;
use registry_harbor::model::{Project, ProjectRequest};

use crate::api::login::LOGIN;
use crate::api::{Api, Deleted, Listed, Named, find, path};
use crate::place::EXIT_CODES;
use crate::undo::end;

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
A project is the first part of the name of its repositories: shop is that of shop/web and shop/app/cart. It says who may what \
with them.

{LOGIN}

{EXIT_CODES}

Examples:
  berth project create shop
  berth project member add shop alice --role developer
  berth project public shop                 everybody may pull"))]
pub(crate) struct Projects {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a project. It is private unless it is said to be public.
    #[command(after_help = format!("{LOGIN}

{EXIT_CODES}

Examples:
  berth project create shop
  berth project create mirror --public"))]
    Create(Create),
    /// Say which projects there are that you may see.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth project list
  berth project list --like shop --json"))]
    List(Listed),
    /// Say what is known of a project.
    Show(Named),
    /// Delete a project. It must have no repositories.
    #[command(after_help = format!("\
Tokens and robots of the project are worth nothing any more, also if one of the same name is made.

{EXIT_CODES}

Examples:
  berth project delete shop
  berth project delete shop --yes           for a script"))]
    Delete(Deleted),
    /// Let everybody pull from a project, also who does not log in.
    Public(Named),
    /// Let only members pull from a project.
    Private(Named),
    /// Say who belongs to a project, and what they may there.
    Member(member::Members),
}

#[derive(Args)]
struct Create {
    /// What to call it: lower-case letters and digits, with . _ - between
    name: String,
    /// Everybody may pull from it, also who does not log in
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn run(args: &Projects) -> ExitCode {
    end(match &args.what {
        What::Create(args) => create(args),
        What::List(args) => list(args),
        What::Show(args) => show(args),
        What::Delete(args) => delete(args),
        What::Public(args) => open(args, true),
        What::Private(args) => open(args, false),
        What::Member(args) => member::run(args),
    })
}

/// What is asked for, of a project that is to be made if it has a name. Settings are texts.
fn wanted(name: Option<&str>, public: bool) -> ProjectRequest {
    ProjectRequest {
        project_name: name.map(str::to_owned),
        metadata: Some([("public".to_owned(), Some(public.to_string()))].into()),
        ..ProjectRequest::default()
    }
}

fn access(public: bool) -> &'static str {
    match public {
        true => "public: everybody may pull",
        false => "private: its members may pull",
    }
}

fn create(args: &Create) -> Result<(), String> {
    let client = args.api.client()?;
    let made = client.post("/projects", &wanted(Some(&args.name), args.public));
    made.map_err(|why| why.about("project", &args.name))?;
    let value = find::project(&client, &args.name)?;
    let sentence = format!("project {} was created, {}", args.name, access(args.public));
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}

fn list(args: &Listed) -> Result<(), String> {
    let like = args.like.iter().cloned().map(Match::Like);
    let filter = find::filter(&like.map(|test| ("name", test)).collect::<Vec<_>>());
    let projects = args.api.client()?.list("/projects", &[("q", &filter)])?;
    args.api.form.list::<Project>(&projects)
}

fn show(args: &Named) -> Result<(), String> {
    let value = find::project(&args.api.client()?, &args.name)?;
    args.api.form.one::<Project>(&value)
}

fn delete(args: &Deleted) -> Result<(), String> {
    let client = args.api.client()?;
    let value = find::project(&client, &args.name)?;
    args.sure.of(&format!("project {}", args.name))?;
    let deleted = client.delete(&path(&["projects", &args.name]));
    deleted.map_err(|why| why.about("project", &args.name))?;
    let sentence = format!("project {} was deleted", args.name);
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}

fn open(args: &Named, public: bool) -> Result<(), String> {
    let client = args.api.client()?;
    let put = client.put(&path(&["projects", &args.name]), &wanted(None, public));
    put.map_err(|why| why.about("project", &args.name))?;
    let value = find::project(&client, &args.name)?;
    let sentence = format!("project {} is {}", args.name, access(public));
    args.api.form.done(value, &args.name, &sentence, None);
    Ok(())
}
