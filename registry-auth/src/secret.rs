//! Secrets: what people choose, and what the registry draws.
//!
//! A password is hashed slowly, since people choose what can be guessed. A drawn secret has 238 bits, which nobody guesses
//! however fast they may try, so that one SHA-256 is enough. The two are told apart by their form, never by the account: how
//! long a check takes says nothing of whose secret it is.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::AccountError;

/// How drawn secrets begin, so that scanners of source code find those that got there.
pub const DRAWN: &str = "berth_";
/// Letters and digits of a drawn secret behind that.
const DRAWN_LENGTH: usize = 40;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Shortest and longest password, in characters, as Harbor has it.
pub const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;

/// A secret in the clear, on its way to whoever is to know it. Nothing shows it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What somebody chose.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// A new one that nobody guesses. It is an acceptable password too.
    ///
    /// # Panics
    /// If the operating system has no randomness.
    pub fn draw() -> Self {
        loop {
            let mut text = DRAWN.to_owned();
            while text.len() < DRAWN.len() + DRAWN_LENGTH {
                let mut bytes = [0; 64];
                getrandom::fill(&mut bytes).expect("the operating system has randomness");
                // Of 256 values the first 248 are four for each letter; the others would make some likelier.
                let fair = bytes.iter().filter(|byte| **byte < 248);
                let letters = fair.map(|byte| char::from(LETTERS[usize::from(*byte) % 62]));
                text.extend(letters.take(DRAWN.len() + DRAWN_LENGTH - text.len()));
            }
            if has_all_kinds(&text[DRAWN.len()..]) {
                return Secret(text);
            }
        }
    }

    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a secret has the form of a drawn one.
pub fn is_drawn(secret: &str) -> bool {
    secret.strip_prefix(DRAWN).is_some_and(|rest| {
        rest.len() == DRAWN_LENGTH && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The SHA-256 of a drawn secret, in hexadecimal.
pub fn fingerprint(secret: &str) -> String {
    let hash = Sha256::digest(secret.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses what is no acceptable password.
///
/// # Errors
/// [`AccountError::Invalid`] says what one is.
pub fn check_password(password: &str) -> Result<(), AccountError> {
    if !PASSWORD.contains(&password.chars().count()) || !has_all_kinds(password) {
        return Err(AccountError::Invalid(
            "a password has 8 to 128 characters, among them an upper-case letter, a lower-case letter and a digit"
                .to_owned(),
        ));
    }
    if is_drawn(password) {
        return Err(AccountError::Invalid(format!(
            "what begins with {DRAWN} is drawn by the registry; choose another password"
        )));
    }
    Ok(())
}

fn has_all_kinds(text: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| text.bytes().any(|byte| kind(&byte));
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// A number that was never drawn before: what an account had is told from what it has by it.
pub(crate) fn draw_number() -> u64 {
    getrandom::u64().expect("the operating system has randomness")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_secrets_have_their_form_and_differ() {
        let (a, b) = (Secret::draw(), Secret::draw());
        assert_ne!(a, b);
        for secret in [a, b] {
            assert!(is_drawn(secret.reveal()), "{}", secret.reveal());
            assert!(has_all_kinds(secret.reveal()) && PASSWORD.contains(&secret.reveal().len()));
            assert_eq!(format!("{secret:?}"), "Secret(…)");
        }
    }

    #[test]
    fn passwords_are_as_harbor_wants_them() {
        for good in ["Harbor12345", "aB3aB3aB", &"aB3é".repeat(32)] {
            assert!(check_password(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "aB3aB3a",
            "alllower1",
            "ALLUPPER1",
            "NoDigitsHere",
            &"aB3".repeat(43),
        ] {
            assert!(check_password(bad).is_err(), "{bad}");
        }
        assert!(check_password(Secret::draw().reveal()).is_err());
    }

    #[test]
    fn a_fingerprint_is_the_sha256() {
        // FIPS 180-4, example of one block.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint("abc"), known);
    }
}
