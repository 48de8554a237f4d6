//! The operations of the management API: the rows of the matrix.

use super::super::harbor::{Column, Right};

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: credentials are not looked at.
    Nothing,
    /// Nothing, but credentials that prove nothing are refused.
    Anyone,
    /// An account.
    Login,
    /// A user; others are told that they are none (412).
    User,
    /// A user, or a right on the registry as a whole.
    UserOr(Right),
    /// To do everything.
    Admin,
    /// To do everything, or to be admin of a project.
    ProjectAdmin,
    /// A right on the registry as a whole.
    System(Right),
    /// To make projects.
    Creates,
    /// A right in the project.
    Project(Right),
    /// The same, and all that a role gives, which is given on.
    Grants(Right, Column),
    /// To be the user whom it is about, or to do everything.
    Own,
    /// To be that user, logged in with the password.
    InPerson,
    /// What nobody has.
    Never,
    /// To know of the project, or to be able to find out by making it; it is no refusal but a 404 that says so.
    Asks,
}

/// Whom the path names as user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Who asks; the user behind, if it is none.
    Self_,
    /// Somebody else.
    Another,
}

use About::{Another, Self_};
use Needs::{
    Admin, Anyone, Asks, Creates, Grants, InPerson, Login as LoggedIn, Never, Nothing, Own, Project,
    ProjectAdmin, System, User, UserOr,
};

/// An operation: its id, whom it is about, what it needs, what is behind the `?`, the body, and what it is answered with if it may
/// be done. `{project}` is the project's name and `{project_id}` its id, `{n}` a number, `{user}` a user of whom nobody knows.
pub(super) type Row = (&'static str, About, Needs, &'static str, &'static str, u16);

/// The rules beside the table, where Harbor's says nothing: users, groups and the registry's own robots are for administrators, and
/// for robots that were given the right; an account is its user's own; what protects an account is done in person.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    ("getPing", Another, Nothing, "", "", 200),
    ("getHealth", Another, Nothing, "", "", 200),
    ("getOpenApi", Another, Nothing, "", "", 200),
    ("getSystemInfo", Another, Anyone, "", "", 200),
    ("getPermissions", Another, ProjectAdmin, "", "", 200),
    ("listUsers", Another, System(("user", "list")), "", "", 200),
    ("createUser", Another, System(("user", "create")), "", r#"{"username":"new{n}","email":"new{n}@example.org","realname":"New","password":"Correct-Horse-1"}"#, 201),
    ("getCurrentUserInfo", Another, User, "", "", 200),
    ("getCurrentUserPermissions", Another, LoggedIn, "scope=/project/{project_id}", "", 200),
    ("searchUsers", Another, UserOr(("user", "list")), "username=boss", "", 200),
    ("getUser", Self_, Own, "", "", 200),
    ("getUser", Another, System(("user", "read")), "", "", 200),
    ("updateUserProfile", Self_, Own, "", r#"{"comment":"{n}"}"#, 200),
    ("updateUserProfile", Another, System(("user", "update")), "", r#"{"comment":"{n}"}"#, 200),
    ("deleteUser", Self_, Never, "", "", 200),
    ("deleteUser", Another, System(("user", "delete")), "", "", 200),
    ("setUserSysAdmin", Another, Admin, "", r#"{"sysadmin_flag":true}"#, 200),
    ("updateUserPassword", Self_, InPerson, "", r#"{"old_password":"Correct-Horse-1","new_password":"Correct-Horse-3"}"#, 200),
    ("updateUserPassword", Another, Admin, "", r#"{"new_password":"Correct-Horse-3"}"#, 200),
    ("listUserTokens", Self_, Own, "", "", 200),
    ("listUserTokens", Another, Admin, "", "", 200),
    ("createUserToken", Self_, InPerson, "", r#"{"name":"t{n}","duration":1}"#, 201),
    ("createUserToken", Another, Never, "", r#"{"name":"t{n}","duration":1}"#, 201),
    ("getUserToken", Self_, Own, "", "", 200),
    ("getUserToken", Another, Admin, "", "", 200),
    ("deleteUserToken", Self_, Own, "", "", 200),
    ("deleteUserToken", Another, Admin, "", "", 200),
    ("listUserGroups", Another, System(("user-group", "list")), "", "", 200),
    ("createUserGroup", Another, System(("user-group", "create")), "", r#"{"group_name":"g{n}","group_type":2}"#, 201),
    ("searchUserGroups", Another, UserOr(("user-group", "list")), "groupname=dev", "", 200),
    ("getUserGroup", Another, System(("user-group", "read")), "", "", 200),
    ("updateUserGroup", Another, System(("user-group", "update")), "", r#"{"group_name":"h{n}","group_type":2}"#, 200),
    ("deleteUserGroup", Another, System(("user-group", "delete")), "", "", 200),
    ("listProjects", Another, Anyone, "page_size=100", "", 200),
    ("headProject", Another, Asks, "project_name={project}", "", 200),
    ("createProject", Another, Creates, "", r#"{"project_name":"made{n}"}"#, 201),
    ("getProject", Another, Project(("project", "read")), "", "", 200),
    ("updateProject", Another, Project(("project", "update")), "", r#"{"metadata":{"auto_scan":"{n}"}}"#, 200),
    // It holds repositories, and stays for that (412).
    ("deleteProject", Another, Project(("project", "delete")), "", "", 412),
    ("getProjectDeletable", Another, Project(("project", "delete")), "", "", 200),
    ("getProjectSummary", Another, Project(("project", "read")), "", "", 200),
    ("listProjectMembers", Another, Project(("member", "list")), "", "", 200),
    ("createProjectMember", Another, Grants(("member", "create"), Column::Guest), "", r#"{"role_id":3,"member_user":{"user_id":{user}}}"#, 201),
    ("createProjectMember", Another, Grants(("member", "create"), Column::Admin), "", r#"{"role_id":1,"member_user":{"user_id":{user}}}"#, 201),
    ("getProjectMember", Another, Project(("member", "read")), "", "", 200),
    ("updateProjectMember", Another, Grants(("member", "update"), Column::Developer), "", r#"{"role_id":2}"#, 200),
    ("deleteProjectMember", Another, Project(("member", "delete")), "", "", 200),
    ("ListRobot", Another, System(("robot", "list")), "", "", 200),
    ("ListRobot", Another, Project(("robot", "list")), "q=Level%3Dproject%2CProjectID%3D{project_id}", "", 200),
    ("CreateRobot", Another, Project(("robot", "create")), "", r#"{"name":"r{n}","level":"project","duration":1,"permissions":[{"kind":"project","namespace":"{project}","access":[{"resource":"repository","action":"pull"}]}]}"#, 201),
    ("CreateRobot", Another, System(("robot", "create")), "", r#"{"name":"r{n}","level":"system","duration":1,"permissions":[{"kind":"project","namespace":"*","access":[{"resource":"repository","action":"pull"}]}]}"#, 201),
    ("GetRobotByID", Another, Project(("robot", "read")), "", "", 200),
    ("UpdateRobot", Another, Project(("robot", "update")), "", r#"{"description":"{n}"}"#, 200),
    ("RefreshSec", Another, Project(("robot", "update")), "", "{}", 200),
    ("DeleteRobot", Another, Project(("robot", "delete")), "", "", 200),
];
