//! What goes in and out, as JSON. Clients may use these types too; what holds a secret cannot be shown by `{:?}`.

mod accounts;
mod projects;
mod registry;
mod robots;

pub use accounts::{PasswordRequest, User, UserFound, UserGroup, UserProfile, UserRequest, UserSysAdmin};
pub use projects::{
    MemberRequest, MemberUser, Project, ProjectDeletable, ProjectMember, ProjectRequest, ProjectSummary,
    RoleRequest,
};
pub use registry::{ComponentHealth, ErrorItem, Errors, OverallHealth, SystemInfo};
pub use robots::{
    Access, Created, Permission, Permissions, Robot, RobotRequest, RobotSecret, RobotUpdate, Token,
    TokenRequest,
};
