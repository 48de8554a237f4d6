//! The names by which accounts are known, to people and in records of what happened.
//!
//! | account | name |
//! |---|---|
//! | user | `alice` |
//! | robot of the registry | `robot$ci` |
//! | robot of a project | `robot$calico+ci` |
//! | access token | `alice#laptop` |
//!
//! A user's name has none of the characters that make the others, and does not begin as a robot's.

use super::Settings;
use crate::error::AccountError;

/// What is understood as a robot's prefix whatever that is.
const ALIAS: &str = "robot-";
/// Longest name of a user, in bytes.
const LONGEST: usize = 255;
/// What no user's name has: Harbor's, and what separates names and passwords.
const FORBIDDEN: &[char] = &[',', '"', '~', '#', '%', '$', '+', ':', '/', '\\'];
/// What stands for nobody and for the registry where names are shown.
const RESERVED: [&str; 2] = ["anonymous", "system"];

/// A name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    User(&'a str),
    Robot { project: Option<&'a str>, name: &'a str },
    Token { user: &'a str, name: &'a str },
}

impl<'a> Name<'a> {
    pub(crate) fn parse(text: &'a str, settings: &Settings) -> Self {
        let robot = text.strip_prefix(settings.robot_prefix.as_str());
        if let Some(rest) = robot.or_else(|| text.strip_prefix(ALIAS)) {
            return match rest.split_once('+') {
                Some((project, name)) => Name::Robot {
                    project: Some(project),
                    name,
                },
                None => Name::Robot {
                    project: None,
                    name: rest,
                },
            };
        }
        match text.split_once('#') {
            Some((user, name)) => Name::Token { user, name },
            None => Name::User(text),
        }
    }
}

/// The name of a robot, from that of its project.
pub(crate) fn robot(settings: &Settings, project: Option<&str>, name: &str) -> String {
    let prefix = &settings.robot_prefix;
    match project {
        Some(project) => format!("{prefix}{project}+{name}"),
        None => format!("{prefix}{name}"),
    }
}

/// The name of an access token.
pub(crate) fn token(user: &str, name: &str) -> String {
    format!("{user}#{name}")
}

/// Refuses what is no name for a user.
pub(super) fn check_user(name: &str, settings: &Settings) -> Result<(), AccountError> {
    let refuse = |why: String| Err(AccountError::Invalid(why));
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || FORBIDDEN.contains(&c);
    if name.is_empty() || name.len() > LONGEST || name.contains(is_odd) {
        return refuse(format!(
            "{name:?} is no name for a user: 1 to 255 bytes without spaces and without any of , \" ~ # % $ + : / \\"
        ));
    }
    if !matches!(Name::parse(name, settings), Name::User(_)) {
        return refuse(format!("{name:?} begins as the name of a robot; choose another"));
    }
    if RESERVED.contains(&name) {
        return refuse(format!("{name:?} means something else; choose another name"));
    }
    Ok(())
}

/// Refuses what is no name for a robot or an access token.
pub(super) fn check_part(name: &str) -> Result<(), AccountError> {
    let words = name.split(['.', '_', '-']);
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    match name.len() <= 100 && words.into_iter().all(is_word) {
        true => Ok(()),
        false => Err(AccountError::Invalid(format!(
            "{name:?} is no name for a robot or token: lower-case letters and digits, with one of . _ - between, at most 100"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_what_kind_of_account_it_is() {
        let settings = Settings::default();
        let read = |text| Name::parse(text, &settings);
        assert_eq!(read("alice"), Name::User("alice"));
        let ci = |project| Name::Robot { project, name: "ci" };
        assert_eq!(read("robot$ci"), ci(None));
        assert_eq!(read("robot-ci"), ci(None));
        assert_eq!(read("robot$calico+ci"), ci(Some("calico")));
        assert_eq!(read("robot-calico+ci"), ci(Some("calico")));
        let token = Name::Token {
            user: "alice",
            name: "ci",
        };
        assert_eq!(read("alice#ci"), token);
    }

    proptest! {
        #[test]
        fn what_is_a_users_name_is_no_other_accounts(name in "(robot[$-])?[a-c$#+:é ]{0,4}") {
            let settings = Settings::default();
            if check_user(&name, &settings).is_ok() {
                prop_assert_eq!(Name::parse(&name, &settings), Name::User(name.as_str()));
            }
            if check_part(&name).is_ok() {
                let full = robot(&settings, Some("p"), &name);
                prop_assert_eq!(Name::parse(&full, &settings), Name::Robot { project: Some("p"), name: &name });
            }
        }
    }
}
