//! Groups.

use registry_core::store::collection::Row;

use super::records::{Group, GroupKind};
use super::{Accounts, missing};
use crate::error::AccountError;

/// A group that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub kind: GroupKind,
    /// Its distinguished name in LDAP; empty for others.
    pub ldap_dn: String,
}

impl Accounts {
    /// Makes a group.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the name; [`AccountError::Conflict`] if it is taken.
    pub async fn create_group(&self, new: NewGroup) -> Result<Row<Group>, AccountError> {
        let name = checked(&new.name)?;
        if new.ldap_dn.len() > 512 {
            return Err(AccountError::Invalid(
                "a distinguished name has at most 512 bytes".to_owned(),
            ));
        }
        let group = Group {
            name,
            kind: new.kind,
            ldap_dn: new.ldap_dn,
            created: self.now(),
        };
        Ok(self.tables.groups.insert(&group).await?)
    }

    /// The group with this id.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn group(&self, id: u64) -> Result<Row<Group>, AccountError> {
        self.tables
            .groups
            .get(id)
            .await?
            .ok_or_else(|| missing::<Group>(id))
    }

    /// Gives a group another name.
    ///
    /// # Errors
    /// As for [`create_group`](Accounts::create_group); [`AccountError::Missing`].
    pub async fn rename_group(&self, id: u64, name: &str) -> Result<Row<Group>, AccountError> {
        let name = checked(name)?;
        let change = |group: &mut Group| {
            group.name.clone_from(&name);
            Ok::<_, AccountError>(())
        };
        self.tables.groups.update(id, change).await
    }

    /// Deletes a group. Its members may at once no more what they could through it.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn delete_group(&self, id: u64) -> Result<(), AccountError> {
        self.tables
            .groups
            .delete(id)
            .await?
            .ok_or_else(|| missing::<Group>(id))?;
        // What a group that there is not was given counts for nothing; this only gives room back.
        for member in self
            .tables
            .members_who(&crate::projects::Grantee::Group(id))
            .await?
            .rows
        {
            self.tables.members.delete(member.id).await?;
        }
        Ok(())
    }
}

/// The name of a group, as it is kept.
fn checked(name: &str) -> Result<String, AccountError> {
    let name = name.trim();
    match (1..=255).contains(&name.len()) {
        true => Ok(name.to_owned()),
        false => Err(AccountError::Invalid(
            "a group has a name of 1 to 255 bytes".to_owned(),
        )),
    }
}
