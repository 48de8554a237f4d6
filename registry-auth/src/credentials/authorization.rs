//! The `Authorization` header (RFC 9110, section 11.6.2) and its Basic scheme (RFC 7617).

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use registry_core::{Error, ErrorKind, Result};

/// Longest name or secret that is looked at, in bytes.
const PART_MAX: usize = 1024;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What follows the scheme of this name, which is given in lower case; nothing if it is another.
pub fn scheme<'v>(value: &'v HeaderValue, name: &str) -> Option<&'v [u8]> {
    let bytes = value.as_bytes();
    let (scheme, rest) = (bytes.get(..name.len())?, bytes.get(name.len()..)?);
    if !scheme.eq_ignore_ascii_case(name.as_bytes()) || rest.first() != Some(&b' ') {
        return None;
    }
    Some(rest.trim_ascii())
}

/// A name and a secret, as a client sends them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who the client says it is.
    pub name: String,
    /// What is to prove it.
    pub secret: String,
}

impl Credentials {
    /// Reads what follows `Basic`. The name ends at the first colon; a secret may hold more of them.
    ///
    /// # Errors
    /// [`Unauthorized`](ErrorKind::Unauthorized) for what is no name and secret; it repeats neither.
    pub fn from_basic(encoded: &[u8]) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::Unauthorized,
                format!("the Basic credentials cannot be read: {why}"),
            )
        };
        if encoded.len() > 4 * PART_MAX {
            return Err(invalid("they are too long"));
        }
        let bytes = BASE64
            .decode(encoded)
            .map_err(|_| invalid("they are no base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| invalid("they are no UTF-8"))?;
        let (name, secret) = text
            .split_once(':')
            .ok_or_else(|| invalid("they hold no colon"))?;
        Credentials::new(name, secret)
    }

    /// A name and a secret that were sent in another way.
    ///
    /// # Errors
    /// [`Unauthorized`](ErrorKind::Unauthorized) if either is too long to be looked at, or holds control characters.
    pub fn new(name: &str, secret: &str) -> Result<Self> {
        let sound = |part: &str| part.len() <= PART_MAX && !part.chars().any(char::is_control);
        if !sound(name) || !sound(secret) {
            return Err(Error::new(
                ErrorKind::Unauthorized,
                format!("a name and a secret have at most {PART_MAX} bytes each, and no control characters"),
            ));
        }
        Ok(Credentials {
            name: name.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD as PADDED;
    use proptest::prelude::*;

    #[test]
    fn a_scheme_is_known_in_any_case_and_ends_at_a_space() {
        let rest = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            let rest = scheme(&value, "basic")?;
            Some(String::from_utf8(rest.to_vec()).unwrap())
        };
        assert_eq!(rest("Basic abc").as_deref(), Some("abc"));
        assert_eq!(rest("bAsIc   abc ").as_deref(), Some("abc"));
        for other in ["Basic", "Basically abc", "Bearer abc", "", "Bas"] {
            assert_eq!(rest(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_name_and_secret_is_refused_without_being_repeated() {
        let mut long = "a".repeat(PART_MAX + 1);
        long.push(':');
        for bad in [
            PADDED.encode("colonless"),
            PADDED.encode(long),
            PADDED.encode("a:b\0"),
            PADDED.encode(b"a:\xff"),
            "*".into(),
        ] {
            let error = Credentials::from_basic(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert!(!error.message().contains("colonless"));
        }
        let huge = "A".repeat(1 << 20);
        assert!(Credentials::from_basic(huge.as_bytes()).is_err());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let read = Credentials::from_basic(PADDED.encode("alice:Hidden1:x").as_bytes()).unwrap();
        let shown = format!("{read:?}");
        assert!(shown.contains("alice") && !shown.contains("Hidden1"), "{shown}");
        assert_eq!(read.secret, "Hidden1:x");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_padded_or_not(name in "[^:\\p{C}]{0,20}", secret in "\\P{C}{0,40}") {
            let encoded = PADDED.encode(format!("{name}:{secret}"));
            for encoded in [encoded.as_str(), encoded.trim_end_matches('=')] {
                let read = Credentials::from_basic(encoded.as_bytes()).unwrap();
                prop_assert_eq!((&read.name, &read.secret), (&name, &secret));
            }
        }
    }
}
