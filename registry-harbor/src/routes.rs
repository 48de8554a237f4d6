//! Which operations there are: the table, and the way from a path into it.

use std::sync::OnceLock;

use futures_util::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;
use registry_auth::roles::{Act, Resource};

use crate::api::State;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::reply::Answer;
use crate::{groups, members, permissions, projects, robots, system, tokens, users};

/// What all paths begin with.
pub const BASE: &str = "/api/v2.0";

/// An operation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The path below [`BASE`], with what varies in braces.
    pub path: &'static str,
    /// Its name, as Harbor's document has it.
    pub id: &'static str,
}

/// What a caller must hold before an operation is even looked at. Some ask for more, which depends on what is asked for: of
/// one's own account, or of a robot of some project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing; credentials are not looked at.
    Nothing,
    /// Nothing, but what is answered depends on who asks.
    Anyone,
    /// An account.
    Login,
    /// An account that may do everything.
    Admin,
    /// A right on the registry as a whole.
    System(&'static str, Act),
    /// A right in the project that the path names.
    Project(Resource, Act),
}

/// Does an operation.
pub(crate) type Handler = for<'a> fn(&'a State, &'a Call<'a>) -> BoxFuture<'a, Answer>;

/// An operation, what it needs, and what does it.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) needs: Needs,
    pub(crate) handler: Handler,
}

macro_rules! routes {
    ($($method:ident $path:literal $id:ident, $needs:expr => $handler:path;)*) => {
        static ROUTES: &[Route] = &[$(Route {
            operation: Operation {
                method: stringify!($method),
                path: $path,
                id: stringify!($id),
            },
            needs: $needs,
            handler: |state, call| Box::pin($handler(state, call)),
        },)*];
    };
}

use Needs::{Admin, Anyone, Login, Nothing, Project, System};

routes! {
    GET "/ping" getPing, Nothing => system::ping;
    GET "/health" getHealth, Nothing => system::health;
    GET "/systeminfo" getSystemInfo, Anyone => system::info;
    GET "/openapi.json" getOpenApi, Nothing => system::openapi;
    GET "/permissions" getPermissions, Login => permissions::all;

    GET "/users" listUsers, System("user", Act::List) => users::list;
    POST "/users" createUser, System("user", Act::Create) => users::create;
    GET "/users/current" getCurrentUserInfo, Login => users::current;
    GET "/users/current/permissions" getCurrentUserPermissions, Login => permissions::own;
    GET "/users/search" searchUsers, Login => users::search;
    GET "/users/{user_id}" getUser, Login => users::get;
    PUT "/users/{user_id}" updateUserProfile, Login => users::update;
    DELETE "/users/{user_id}" deleteUser, System("user", Act::Delete) => users::delete;
    PUT "/users/{user_id}/sysadmin" setUserSysAdmin, Admin => users::set_admin;
    PUT "/users/{user_id}/password" updateUserPassword, Login => users::set_password;
    GET "/users/{user_id}/tokens" listUserTokens, Login => tokens::list;
    POST "/users/{user_id}/tokens" createUserToken, Login => tokens::create;
    GET "/users/{user_id}/tokens/{token_id}" getUserToken, Login => tokens::get;
    DELETE "/users/{user_id}/tokens/{token_id}" deleteUserToken, Login => tokens::delete;

    GET "/usergroups" listUserGroups, System("user-group", Act::List) => groups::list;
    POST "/usergroups" createUserGroup, System("user-group", Act::Create) => groups::create;
    GET "/usergroups/search" searchUserGroups, Login => groups::search;
    GET "/usergroups/{group_id}" getUserGroup, System("user-group", Act::Read) => groups::get;
    PUT "/usergroups/{group_id}" updateUserGroup, System("user-group", Act::Update) => groups::update;
    DELETE "/usergroups/{group_id}" deleteUserGroup, System("user-group", Act::Delete) => groups::delete;

    GET "/projects" listProjects, Anyone => projects::list;
    HEAD "/projects" headProject, Login => projects::head;
    POST "/projects" createProject, System("project", Act::Create) => projects::create;
    GET "/projects/{project_name_or_id}" getProject, Project(Resource::Project, Act::Read) => projects::get;
    PUT "/projects/{project_name_or_id}" updateProject, Project(Resource::Project, Act::Update) => projects::update;
    DELETE "/projects/{project_name_or_id}" deleteProject, Project(Resource::Project, Act::Delete) => projects::delete;
    GET "/projects/{project_name_or_id}/_deletable" getProjectDeletable, Project(Resource::Project, Act::Delete)
        => projects::deletable;
    GET "/projects/{project_name_or_id}/summary" getProjectSummary, Project(Resource::Project, Act::Read)
        => projects::summary;

    GET "/projects/{project_name_or_id}/members" listProjectMembers, Project(Resource::Member, Act::List)
        => members::list;
    POST "/projects/{project_name_or_id}/members" createProjectMember, Project(Resource::Member, Act::Create)
        => members::create;
    GET "/projects/{project_name_or_id}/members/{mid}" getProjectMember, Project(Resource::Member, Act::Read)
        => members::get;
    PUT "/projects/{project_name_or_id}/members/{mid}" updateProjectMember, Project(Resource::Member, Act::Update)
        => members::update;
    DELETE "/projects/{project_name_or_id}/members/{mid}" deleteProjectMember, Project(Resource::Member, Act::Delete)
        => members::delete;

    GET "/robots" ListRobot, Login => robots::list;
    POST "/robots" CreateRobot, Login => robots::create;
    GET "/robots/{robot_id}" GetRobotByID, Login => robots::get;
    PUT "/robots/{robot_id}" UpdateRobot, Login => robots::update;
    PATCH "/robots/{robot_id}" RefreshSec, Login => robots::refresh;
    DELETE "/robots/{robot_id}" DeleteRobot, Login => robots::delete;
}

/// Every operation that there is.
pub fn operations() -> &'static [Operation] {
    static OPERATIONS: OnceLock<Vec<Operation>> = OnceLock::new();
    OPERATIONS.get_or_init(|| ROUTES.iter().map(|route| route.operation).collect())
}

/// A route that was found for a request.
pub(crate) struct Found {
    pub(crate) route: &'static Route,
    /// What the braces of its path stand for, decoded.
    pub(crate) parameters: Vec<(String, String)>,
}

/// The way from a path to its operations.
pub(crate) struct Router(matchit::Router<Vec<&'static Route>>);

impl Router {
    pub(crate) fn new() -> Self {
        let mut paths: Vec<(&str, Vec<&Route>)> = Vec::new();
        for route in ROUTES {
            match paths.iter_mut().find(|(path, _)| *path == route.operation.path) {
                Some((_, routes)) => routes.push(route),
                None => paths.push((route.operation.path, vec![route])),
            }
        }
        let mut router = matchit::Router::new();
        for (path, routes) in paths {
            let inserted = router.insert(path, routes);
            inserted.expect("no path of the table is in the way of another");
        }
        Router(router)
    }

    /// The operation for this method and path. A path is taken apart before it is decoded, once, so that a `/` in a name is none
    /// between names.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Found, Refusal> {
        let nothing = || {
            Refusal::missing(format!(
                "there is nothing at this path; {BASE}/openapi.json lists what there is"
            ))
        };
        let below = path.strip_prefix(BASE).ok_or_else(nothing)?;
        let found = self.0.at(below).map_err(|_| nothing())?;
        let Some(route) = found
            .value
            .iter()
            .find(|route| route.operation.method == method.as_str())
        else {
            let methods: Vec<&str> = found.value.iter().map(|route| route.operation.method).collect();
            return Err(Refusal::not_allowed(methods.join(", ")));
        };
        let decoded = found.params.iter().map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Refusal::invalid(format!("{name} in the path is no UTF-8")))?;
            Ok((name.to_owned(), value.into_owned()))
        });
        let parameters = decoded.collect::<Result<_, Refusal>>()?;
        Ok(Found { route, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_at_its_path() {
        let router = Router::new();
        for operation in operations() {
            let path = format!("{BASE}{}", operation.path.replace(['{', '}'], ""));
            let found = router.find(&operation.method.parse().unwrap(), &path);
            let found = found.unwrap_or_else(|why| panic!("{operation:?}: {why:?}"));
            assert_eq!(found.route.operation, *operation);
        }
    }

    #[test]
    fn what_is_fixed_goes_before_what_varies_and_does_not_hide_it() {
        let router = Router::new();
        let id = |path: &str| {
            let found = router.find(&Method::GET, &format!("{BASE}{path}")).unwrap();
            (found.route.operation.id, found.parameters)
        };
        assert_eq!(id("/users/current").0, "getCurrentUserInfo");
        let (operation, parameters) = id("/users/current/tokens");
        assert_eq!(operation, "listUserTokens");
        assert_eq!(parameters, [("user_id".to_owned(), "current".to_owned())]);
        let (_, parameters) = id("/projects/a%2Fb%252F");
        assert_eq!(parameters[0].1, "a/b%2F");
    }

    #[test]
    fn no_two_operations_share_a_name() {
        let names: std::collections::BTreeSet<_> =
            operations().iter().map(|operation| operation.id).collect();
        assert_eq!(names.len(), operations().len());
    }
}
