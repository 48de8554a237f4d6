//! Hashing what people choose.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD};
use registry_core::{Error, Result};

/// Hashes passwords and verifies them. It is slow on purpose: a server does it on threads that may be busy, and only on
/// so many at once.
#[async_trait]
pub trait PasswordHashing: Send + Sync + 'static {
    /// The hash of a password, as a PHC string with a salt of its own.
    ///
    /// # Errors
    /// If it cannot be made, or not now.
    async fn hash(&self, password: &str) -> Result<String>;

    /// Whether a password is the one of which this is the hash. Takes as long if it is not.
    ///
    /// # Errors
    /// If the hash is none, or it cannot be found out now.
    async fn verify(&self, password: &str, hash: &str) -> Result<bool>;

    /// A hash as [`hash`](PasswordHashing::hash) makes them, of no password that anybody knows: what is held against a password
    /// if there is no account, since that is as much work as if there were one. It is drawn, not hashed, since every start needs
    /// one.
    fn nobodys(&self) -> String;
}

#[async_trait]
impl<P: PasswordHashing + ?Sized> PasswordHashing for std::sync::Arc<P> {
    async fn hash(&self, password: &str) -> Result<String> {
        (**self).hash(password).await
    }

    async fn verify(&self, password: &str, hash: &str) -> Result<bool> {
        (**self).verify(password, hash).await
    }

    fn nobodys(&self) -> String {
        (**self).nobodys()
    }
}

/// Bytes of a salt.
const SALT: usize = 16;

/// Argon2id, on the thread that asks.
#[derive(Clone)]
pub struct Argon2id {
    params: Params,
}

impl Argon2id {
    /// With 19 MiB, two passes and one lane, as OWASP's Password Storage Cheat Sheet asks at least.
    pub fn owasp() -> Self {
        Argon2id {
            params: Params::new(19 * 1024, 2, 1, None).expect("these are within the limits"),
        }
    }

    /// As little work as there can be: for tests, whose passwords are worth nothing.
    pub fn cheap() -> Self {
        Argon2id {
            params: Params::new(8, 1, 1, None).expect("these are within the limits"),
        }
    }

    /// Hashes, on this thread.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn hash_here(&self, password: &str) -> Result<String> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|why| Error::internal(why.to_string()))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let hash = argon.hash_password_with_salt(password.as_bytes(), &salt);
        Ok(hash.map_err(|why| Error::internal(why.to_string()))?.to_string())
    }

    /// Verifies, on this thread, with the parameters that the hash names. Bcrypt's are verified as well, since files have
    /// them; none is made.
    ///
    /// # Errors
    /// If the hash is none.
    pub fn verify_here(&self, password: &str, hash: &str) -> Result<bool> {
        if hash.starts_with("$2") {
            let verified = bcrypt::verify(password, hash);
            return verified.map_err(|_| Error::internal("a stored password hash is none"));
        }
        // The message of a parser could quote what it read.
        let hash = PasswordHash::new(hash).map_err(|_| Error::internal("a stored password hash is none"))?;
        let argon = Argon2::from(self.params.clone());
        Ok(argon.verify_password(password.as_bytes(), &hash).is_ok())
    }
}

impl fmt::Debug for Argon2id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Argon2id(m={}, t={}, p={})",
            self.params.m_cost(),
            self.params.t_cost(),
            self.params.p_cost()
        )
    }
}

#[async_trait]
impl PasswordHashing for Argon2id {
    async fn hash(&self, password: &str) -> Result<String> {
        self.hash_here(password)
    }

    async fn verify(&self, password: &str, hash: &str) -> Result<bool> {
        self.verify_here(password, hash)
    }

    fn nobodys(&self) -> String {
        let (memory, passes, lanes) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        let (salt, hash) = (
            drawn::<SALT>(&STANDARD_NO_PAD),
            drawn::<{ Params::DEFAULT_OUTPUT_LEN }>(&STANDARD_NO_PAD),
        );
        format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
    }
}

/// A bcrypt hash of no password that anybody knows, at this cost: drawn, as [`PasswordHashing::nobodys`].
pub(crate) fn nobodys_bcrypt(cost: u32) -> String {
    const ALPHABET: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);
    format!(
        "$2b${cost:02}${}{}",
        drawn::<16>(&ALPHABET),
        drawn::<23>(&ALPHABET)
    )
}

/// So many random bytes, as text.
fn drawn<const BYTES: usize>(alphabet: &GeneralPurpose) -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    alphabet.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_verified_by_its_hash_and_no_other_is() {
        let argon = Argon2id::cheap();
        let hash = argon.hash_here("Harbor12345").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(argon.verify_here("Harbor12345", &hash).unwrap());
        assert!(!argon.verify_here("Harbor12346", &hash).unwrap());
        assert_ne!(argon.hash_here("Harbor12345").unwrap(), hash);
        assert!(argon.verify_here("x", "no hash").is_err());
    }

    #[test]
    fn passwords_are_kept_at_owasps_parameters() {
        let hash = Argon2id::owasp().hash_here("Harbor12345").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        // The parameters are the hash's, whatever the verifier's.
        assert!(Argon2id::cheap().verify_here("Harbor12345", &hash).unwrap());
    }

    #[test]
    fn nobodys_hash_is_as_those_that_are_made_and_no_password_has_it() {
        let argon = Argon2id::cheap();
        let (made, nobodys) = (argon.hash_here("Harbor12345").unwrap(), argon.nobodys());
        assert_eq!(nobodys.len(), made.len());
        assert_eq!(nobodys.rsplitn(3, '$').last(), made.rsplitn(3, '$').last());
        assert!(!argon.verify_here("Harbor12345", &nobodys).unwrap());
        assert_ne!(nobodys, argon.nobodys());

        let (made, nobodys) = (bcrypt::hash("Harbor12345", 4).unwrap(), nobodys_bcrypt(4));
        assert_eq!((nobodys.len(), &nobodys[..7]), (made.len(), &made[..7]));
        assert!(!argon.verify_here("Harbor12345", &nobodys).unwrap());
    }
}
