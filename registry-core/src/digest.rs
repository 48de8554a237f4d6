//! Content digests: the name a piece of content has because of its bytes.
//!
//! Grammar and registered algorithms: image-spec, `descriptor.md`, "Digests". Only the canonical form is accepted
//! (lower-case hex of exactly the algorithm's length), so that one content has one name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered digest algorithm that this registry computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 32 bytes; every implementation must have it.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The algorithm's registered name, as it stands before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of a hash in bytes.
    pub const fn hash_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(InvalidDigest::Algorithm),
        }
    }
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// No colon between algorithm and hash.
    #[error("a digest is written algorithm:hex")]
    Shape,
    /// An algorithm that this registry does not compute.
    #[error("the digest algorithm is not supported; use sha256 or sha512")]
    Algorithm,
    /// Wrong length, or a character that is not lower-case hex.
    #[error("the hash must be lower-case hex: 64 characters for sha256, 128 for sha512")]
    Hash,
}

/// The name of a piece of content: algorithm and hash.
///
/// ```
/// use registry_core::Digest;
/// let digest: Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse().unwrap();
/// assert_eq!(digest, Digest::sha256(b""));
/// assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// A SHA-256 hash.
    Sha256([u8; 32]),
    /// A SHA-512 hash.
    Sha512([u8; 64]),
}

impl Digest {
    /// The SHA-256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        Digest::Sha256(Sha256::digest(content).into())
    }

    /// The digest of `content` under `algorithm`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The algorithm of this digest.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw hash.
    pub fn hash(&self) -> &[u8] {
        match self {
            Digest::Sha256(hash) => hash,
            Digest::Sha512(hash) => hash,
        }
    }

    /// The hash in lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        let text = Text::of(self);
        text.as_str()[self.algorithm().as_str().len() + 1..].to_owned()
    }
}

/// A digest written out, without a piece of memory of its own: digests are in every key and every response.
struct Text {
    bytes: [u8; TEXT_MAX],
    length: usize,
}

/// The longest text of a digest, in bytes.
const TEXT_MAX: usize = "sha512:".len() + 2 * 64;

impl Text {
    fn of(digest: &Digest) -> Text {
        let (algorithm, hash) = (digest.algorithm().as_str().as_bytes(), digest.hash());
        let mut bytes = [0; TEXT_MAX];
        let (head, hex) = bytes.split_at_mut(algorithm.len() + 1);
        head[..algorithm.len()].copy_from_slice(algorithm);
        head[algorithm.len()] = b':';
        write_hex(hash, hex);
        Text {
            bytes,
            length: algorithm.len() + 1 + 2 * hash.len(),
        }
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).expect("hex is ASCII")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes bytes in lower-case hex, two characters for each.
pub(crate) fn write_hex(bytes: &[u8], hex: &mut [u8]) {
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

/// What a character of hex is worth, and for any other something beyond [`NIBBLE_MAX`].
const NIBBLES: [u8; 256] = {
    let mut worth = [0xff; 256];
    let mut nibble = 0;
    while nibble < HEX.len() {
        worth[HEX[nibble] as usize] = nibble as u8;
        nibble += 1;
    }
    worth
};

const NIBBLE_MAX: u8 = 15;

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidDigest> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(InvalidDigest::Hash);
    }
    // Whether all was hex is asked once at the end: a digest is in nearly every request.
    let (mut out, mut all) = ([0; N], 0);
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        *byte = high << 4 | low;
        all |= high | low;
    }
    match all <= NIBBLE_MAX {
        true => Ok(out),
        false => Err(InvalidDigest::Hash),
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (algorithm, hash) = s.split_once(':').ok_or(InvalidDigest::Shape)?;
        Ok(match algorithm.parse()? {
            Algorithm::Sha256 => Digest::Sha256(parse_hex(hash)?),
            Algorithm::Sha512 => Digest::Sha512(parse_hex(hash)?),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(self).as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|why| serde::de::Error::custom(format_args!("digest {text:?}: {why}")))
    }
}

/// A hash in progress.
#[derive(Clone)]
pub struct Hasher(Inner);

#[derive(Clone)]
enum Inner {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a hash under `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::new()),
            Algorithm::Sha512 => Inner::Sha512(Sha512::new()),
        })
    }

    /// The algorithm that this hash was started with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Sha256(_) => Algorithm::Sha256,
            Inner::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hasher) => hasher.update(bytes),
            Inner::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.0 {
            Inner::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Inner::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_a_digest() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        for bad in [
            format!("sha256:{}", hex.to_uppercase()),
            format!("SHA256:{hex}"),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("sha256{hex}"),
            "sha256:baddigeststring".into(),
            "sha256:".into(),
            ":".into(),
            String::new(),
            "sha256:../../../../etc/passwd".into(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_digest_survives_its_text(content: Vec<u8>, long: bool) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::of(algorithm, &content);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn whatever_parses_prints_the_same(text in "[a-z0-9]{1,8}:[0-9a-f]{60,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
