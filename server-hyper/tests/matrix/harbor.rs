//! What each role may in a project: Harbor 2.16's table (`src/common/rbac/project/rbac_role.go`), written down here a second time,
//! so that the registry's own is held against something.

use registry_auth::roles::{self, Act, Resource, Rights, Role};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Admin,
    Maintainer,
    Developer,
    Guest,
    Limited,
    /// Anybody at all, in a public project.
    Public,
}

use Column::{Admin, Developer, Guest, Limited, Maintainer, Public};

impl Column {
    /// The greatest first. The last is apart: whoever has a role in a public project has it beside what anybody has there.
    const ALL: [Column; 6] = [Admin, Maintainer, Developer, Guest, Limited, Public];

    /// Whether it has a right, named as `resource`, `action`.
    pub(crate) fn may(self, (resource, action): Right) -> bool {
        let row = TABLE.iter().find(|(name, _)| *name == resource);
        let (_, cells) = row.unwrap_or_else(|| panic!("{resource} is not in the table"));
        actions(cells[self as usize]).contains(&action)
    }

    /// All that it has.
    pub(crate) fn rights(self) -> impl Iterator<Item = Right> {
        let rows = TABLE.iter();
        rows.flat_map(move |(resource, cells)| {
            let actions = actions(cells[self as usize]).into_iter();
            actions.map(|action| (*resource, action))
        })
    }
}

/// A resource of the table, and an action on it.
pub(crate) type Right = (&'static str, &'static str);

/// Admin, maintainer, developer, guest, limited guest, public. `c`reate, `r`ead, `u`pdate, `d`elete, `l`ist, and after a `+`
/// whole words.
const TABLE: &[(&str, [&str; 6])] = &[
    ("project", ["rud", "r", "r", "r", "r", "r"]),
    ("member", ["crudl", "rl", "rl", "rl", "", ""]),
    ("metadata", ["crud", "r", "", "", "", ""]),
    ("log", ["l", "", "", "", "", ""]),
    ("label", ["crudl", "crudl", "rl", "rl", "", "rl"]),
    ("quota", ["r", "r", "r", "r", "r", ""]),
    (
        "repository",
        [
            "crudl+pull,push",
            "crudl+pull,push",
            "crul+pull,push",
            "rl+pull",
            "rl+pull",
            "l+pull",
        ],
    ),
    (
        "tag-retention",
        ["crudl+operate", "crudl+operate", "crudl+operate", "", "", ""],
    ),
    ("immutable-tag", ["cudl", "cudl", "", "", "", ""]),
    ("configuration", ["ru", "r", "r", "r", "r", ""]),
    ("robot", ["crudl", "rl", "rl", "rl", "", ""]),
    ("notification-policy", ["crudl", "rl", "", "", "", ""]),
    ("scan", ["cr+stop", "cr+stop", "r", "r", "r", "r"]),
    ("sbom", ["cr+stop", "cr+stop", "r", "r", "r", ""]),
    ("scanner", ["rc", "r", "r", "r", "r", "r"]),
    ("artifact", ["crdl", "crdl", "crl", "rl", "rl", "rl"]),
    ("tag", ["cdl", "cdl", "cl", "l", "l", "l"]),
    ("artifact-addition", ["r", "r", "r", "r", "r", "r"]),
    ("accessory", ["l", "l", "l", "l", "l", "l"]),
    ("artifact-label", ["cd", "cd", "cd", "", "", ""]),
    ("preheat-policy", ["crudl", "", "", "", "", ""]),
    ("export-cve", ["crl", "crl", "crl", "", "", ""]),
];

fn actions(cell: &'static str) -> Vec<&'static str> {
    let (letters, words) = cell.split_once('+').unwrap_or((cell, ""));
    let letters = letters.chars().map(|letter| match letter {
        'c' => "create",
        'r' => "read",
        'u' => "update",
        'd' => "delete",
        'l' => "list",
        _ => panic!("{letter} stands for no action"),
    });
    letters
        .chain(words.split(',').filter(|word| !word.is_empty()))
        .collect()
}

#[test]
fn the_registrys_roles_are_harbors() {
    let rights = |column: Column| -> &'static Rights {
        match column {
            Admin => Role::ProjectAdmin.rights(),
            Maintainer => Role::Maintainer.rights(),
            Developer => Role::Developer.rights(),
            Guest => Role::Guest.rights(),
            Limited => Role::LimitedGuest.rights(),
            Public => roles::public(),
        }
    };
    assert_eq!(Resource::ALL.len(), TABLE.len());
    let mut wrong = Vec::new();
    for column in Column::ALL {
        for resource in Resource::ALL {
            for act in Act::ALL {
                let (is, should) = (
                    rights(column).contains(*resource, *act),
                    column.may((resource.as_str(), act.as_str())),
                );
                if is != should {
                    wrong.push(format!("{column:?} {}:{}: {is}", resource.as_str(), act.as_str()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_greater_column_never_has_less() {
    for (resource, cells) in TABLE {
        for pair in cells[..5].windows(2) {
            let (more, less) = (actions(pair[0]), actions(pair[1]));
            let lost: Vec<_> = less.iter().filter(|action| !more.contains(action)).collect();
            assert!(lost.is_empty(), "{resource}: {pair:?}");
        }
    }
}
