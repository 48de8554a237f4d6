//! `berth project member`.

use clap::{Args, Subcommand};
use registry_auth::roles::Role;
use registry_harbor::model::{MemberRequest, MemberUser, ProjectMember, RoleRequest, UserGroup};
use serde_json::Value;

use crate::api::{Api, Client, find, path};
use crate::place::EXIT_CODES;

/// What the roles may, the least first.
const ROLES: &str = "\
Each role may whatever those before it may: limited-guest pulls; guest sees who else is there; developer pushes; maintainer \
deletes, and sets policies; project-admin says who else may what, and may delete the project.";

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
{ROLES}

{EXIT_CODES}

Examples:
  berth project member add shop alice --role developer
  berth project member add shop bob --role developer --pattern 'app-*'
  berth project member add shop --group ops --role maintainer
  berth project member list shop"))]
pub(super) struct Members {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Give a user or a group a role in a project, or on some of its repositories.
    #[command(after_help = format!("\
{ROLES}

With --pattern the role is about the repositories that match: 'app-*' in the project shop are shop/app-cart and shop/app-web. \
Who has several roles may what any of them gives.

{EXIT_CODES}

Examples:
  berth project member add shop alice --role developer
  berth project member add shop bob --role developer --pattern 'app-*'
  berth project member add shop --group ops --role maintainer"))]
    Add(Given),
    /// Say who belongs to a project.
    List(List),
    /// Give a member another role.
    #[command(after_help = format!("\
{ROLES}

{EXIT_CODES}

Examples:
  berth project member role shop alice --role maintainer
  berth project member role shop bob --role guest --pattern 'app-*'"))]
    Role(Given),
    /// Take the role of a user or a group away.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth project member remove shop alice
  berth project member remove shop bob --pattern 'app-*'"))]
    Remove(Remove),
}

/// A user or a group.
#[derive(Args)]
struct Whose {
    /// The project
    project: String,
    /// The user
    #[arg(required_unless_present = "group")]
    user: Option<String>,
    /// This group instead of a user
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    group: Option<String>,
    /// Only on the repositories that match, such as 'app-*'
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Whose {
    /// The name, the kind as the API has it, and who it is for people.
    fn who(&self) -> Result<(&str, &'static str, String), String> {
        match (&self.user, &self.group) {
            (_, Some(group)) => Ok((group, "g", format!("group {group}"))),
            (Some(user), None) => Ok((user, "u", user.clone())),
            (None, None) => Err("nobody is named".to_owned()),
        }
    }

    /// The pattern from the project's name on.
    fn pattern(&self) -> Option<String> {
        let pattern = self.pattern.as_ref()?;
        let whole = format!("{}/", self.project);
        Some(match pattern.starts_with(&whole) {
            true => pattern.clone(),
            false => format!("{whole}{pattern}"),
        })
    }

    fn place(&self) -> String {
        self.pattern()
            .unwrap_or_else(|| format!("project {}", self.project))
    }

    fn find(&self, client: &Client) -> Result<(ProjectMember, Value), String> {
        let (name, kind, _) = self.who()?;
        find::member(client, &self.project, (name, kind), self.pattern().as_deref())
    }

    fn at(&self, member: &ProjectMember) -> String {
        path(&["projects", &self.project, "members", &member.id.to_string()])
    }
}

#[derive(Args)]
struct Given {
    #[command(flatten)]
    whose: Whose,
    /// limited-guest, guest, developer, maintainer or project-admin
    #[arg(long, value_parser = role)]
    role: Role,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct List {
    /// The project
    project: String,
    #[command(flatten)]
    api: Api,
}

#[derive(Args)]
struct Remove {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    api: Api,
}

/// A role by Harbor's name, also with a hyphen; `admin` is the project's.
fn role(text: &str) -> Result<Role, String> {
    let plain = text.replace(['-', '_'], "").to_lowercase();
    let named = Role::ALL.into_iter().find(|role| {
        let name = role.name().to_lowercase();
        name == plain || name == format!("project{plain}")
    });
    named.ok_or_else(|| "it is limited-guest, guest, developer, maintainer or project-admin".to_owned())
}

pub(super) fn run(args: &Members) -> Result<(), String> {
    match &args.what {
        What::Add(args) => add(args),
        What::List(args) => list(args),
        What::Role(args) => change(args),
        What::Remove(args) => remove(args),
    }
}

fn add(args: &Given) -> Result<(), String> {
    let (name, kind, who) = args.whose.who()?;
    let client = args.api.client()?;
    let mut body = MemberRequest {
        role_id: args.role.id(),
        pattern: args.whose.pattern(),
        ..MemberRequest::default()
    };
    match kind {
        "g" => {
            body.member_group = Some(UserGroup {
                group_name: name.to_owned(),
                ..UserGroup::default()
            });
        }
        _ => {
            body.member_user = Some(MemberUser {
                username: name.to_owned(),
                ..MemberUser::default()
            });
        }
    }
    let made = client.post(&path(&["projects", &args.whose.project, "members"]), &body);
    made.map_err(|why| why.about("project", &args.whose.project))?;
    let (_, value) = args.whose.find(&client)?;
    let sentence = format!("{who} is {} in {}", args.role, args.whose.place());
    args.api.form.done(value, name, &sentence, None);
    Ok(())
}

fn list(args: &List) -> Result<(), String> {
    let found = args
        .api
        .client()?
        .list(&path(&["projects", &args.project, "members"]), &[]);
    args.api
        .form
        .list::<ProjectMember>(&found.map_err(|why| why.about("project", &args.project))?)
}

fn change(args: &Given) -> Result<(), String> {
    let (name, _, who) = args.whose.who()?;
    let client = args.api.client()?;
    let (member, _) = args.whose.find(&client)?;
    let body = RoleRequest {
        role_id: args.role.id(),
        pattern: None,
    };
    let put = client.put(&args.whose.at(&member), &body);
    put.map_err(|why| why.about("member", name))?;
    let (_, value) = args.whose.find(&client)?;
    let sentence = format!("{who} is {} in {}", args.role, args.whose.place());
    args.api.form.done(value, name, &sentence, None);
    Ok(())
}

fn remove(args: &Remove) -> Result<(), String> {
    let (name, _, who) = args.whose.who()?;
    let client = args.api.client()?;
    let (member, value) = args.whose.find(&client)?;
    let removed = client.delete(&args.whose.at(&member));
    removed.map_err(|why| why.about("member", name))?;
    let sentence = format!("{who} has no role in {} any more", args.whose.place());
    args.api.form.done(value, name, &sentence, None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_harbors_name_or_one_that_is_typed_more_easily() {
        for (text, meant) in [
            ("developer", Role::Developer),
            ("limitedGuest", Role::LimitedGuest),
            ("limited-guest", Role::LimitedGuest),
            ("project-admin", Role::ProjectAdmin),
            ("projectAdmin", Role::ProjectAdmin),
            ("admin", Role::ProjectAdmin),
        ] {
            assert_eq!(role(text), Ok(meant), "{text}");
        }
        assert!(role("owner").is_err() && role("").is_err());
    }
}
