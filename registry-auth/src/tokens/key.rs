//! One signing key, and its record.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use registry_core::{Error, ErrorKind, Result, Timestamp};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Characters of a key's id.
pub(super) const ID_LENGTH: usize = 16;

/// Begins the associated data of a sealed key, so that the same sealing key may be used for other things.
const SEALED_FOR: &str = "berth token key 1 ";

/// Seals signing keys in the records, so that whoever can read these alone cannot make tokens.
///
/// ChaCha20-Poly1305 (RFC 8439) with the key's id as associated data: a sealed key can neither be read nor be put in the
/// place of another.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// Seals with these bytes, which should be random.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the algorithm takes 32 bytes");
        SealingKey(LessSafeKey::new(key))
    }

    /// Reads 32 bytes as 64 hexadecimal digits, as `openssl rand -hex 32` prints them; spaces around them are left out.
    ///
    /// # Errors
    /// [`RequestInvalid`](ErrorKind::RequestInvalid), without the text.
    pub fn from_hex(text: &str) -> Result<Self> {
        let digits = text.trim().as_bytes();
        let invalid = || {
            Error::new(
                ErrorKind::RequestInvalid,
                "a sealing key is 64 hexadecimal digits",
            )
        };
        let mut bytes = Zeroizing::new([0; 32]);
        if digits.len() != 2 * bytes.len() {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(invalid);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(SealingKey::new(&bytes))
    }

    fn seal(&self, id: &str, secret: &[u8]) -> Result<Sealed> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|why| Error::internal(why.to_string()))?;
        let mut text = secret.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(id), &mut text)
            .map_err(|_| Error::internal("a signing key could not be sealed"))?;
        Ok(Sealed {
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            text: URL_SAFE_NO_PAD.encode(text),
        })
    }

    fn open(&self, id: &str, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = URL_SAFE_NO_PAD.decode(&sealed.nonce).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let mut text = Zeroizing::new(URL_SAFE_NO_PAD.decode(&sealed.text).ok()?);
        let length = self.0.open_in_place(nonce, aad(id), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

fn aad(id: &str) -> Aad<String> {
    Aad::from(format!("{SEALED_FOR}{id}"))
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// A key pair's record.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// Format of this record.
    v: u32,
    public: String,
    /// The private half, as it is or sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
    pub(super) created: Timestamp,
    /// From when on the key signs, unless a later one does.
    pub(super) signs_from: Timestamp,
    /// Until when tokens signed with it are taken; without it, as long as it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verify_until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    nonce: String,
    text: String,
}

const FORMAT: u32 = 1;

impl Record {
    /// A fresh key pair and its id.
    pub(super) fn generate(
        sealing: Option<&SealingKey>,
        created: Timestamp,
        signs_from: Timestamp,
    ) -> Result<(String, Record)> {
        let failed = |_| Error::internal("the system gave no randomness for a signing key");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let private = Zeroizing::new(document.as_ref().to_vec());
        let pair = Ed25519KeyPair::from_pkcs8(&private).map_err(|why| Error::internal(why.to_string()))?;
        let public = pair.public_key().as_ref().to_vec();
        let id = id_of(&public);
        let mut record = Record {
            v: FORMAT,
            public: URL_SAFE_NO_PAD.encode(&public),
            private: None,
            sealed: None,
            created,
            signs_from,
            verify_until: None,
        };
        match sealing {
            Some(key) => record.sealed = Some(key.seal(&id, &private)?),
            None => record.private = Some(URL_SAFE_NO_PAD.encode(&*private)),
        }
        Ok((id, record))
    }

    pub(super) fn read(id: &str, bytes: &[u8]) -> Result<Record> {
        let damaged = |why: String| Error::internal(format!("the record of signing key {id}: {why}"));
        let record: Record = serde_json::from_slice(bytes).map_err(|why| damaged(why.to_string()))?;
        match record.v {
            FORMAT => Ok(record),
            newer => Err(damaged(format!(
                "its format {newer} is not known; this program is too old for it"
            ))),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}

/// The first 96 bits of the public key's thumbprint (RFC 7638, RFC 8037 appendix A.3): an id that nobody can give to
/// another key.
fn id_of(public: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    URL_SAFE_NO_PAD.encode(&thumbprint[..ID_LENGTH * 3 / 4])
}

/// Whether a key could have this id.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A key as it is used.
pub struct SigningKey {
    /// Names the key in the header of its tokens.
    pub(super) id: String,
    pub(super) public: Vec<u8>,
    pub(super) decoding: DecodingKey,
    /// Absent if the private half is sealed and cannot be opened.
    pub(super) encoding: Option<EncodingKey>,
    pub(super) signs_from: Timestamp,
    pub(super) verify_until: Option<Timestamp>,
}

impl SigningKey {
    pub(super) fn open(id: &str, record: &Record, sealing: Option<&SealingKey>) -> Result<Self> {
        let damaged = |what: &str| Error::internal(format!("the record of signing key {id}: {what}"));
        let public = URL_SAFE_NO_PAD
            .decode(&record.public)
            .map_err(|_| damaged("its public half is no base64url"))?;
        if id_of(&public) != id {
            return Err(damaged("its public half is another key's"));
        }
        let private = match (&record.private, &record.sealed) {
            (Some(private), _) => Some(Zeroizing::new(
                URL_SAFE_NO_PAD
                    .decode(private)
                    .map_err(|_| damaged("its private half is no base64url"))?,
            )),
            (None, Some(sealed)) => sealing.and_then(|key| key.open(id, sealed)),
            (None, None) => return Err(damaged("it has no private half")),
        };
        if let Some(private) = &private {
            let pair =
                Ed25519KeyPair::from_pkcs8(private).map_err(|_| damaged("its private half is no key"))?;
            if pair.public_key().as_ref() != public {
                return Err(damaged("its halves are not of one key"));
            }
        }
        Ok(SigningKey {
            id: id.to_owned(),
            decoding: DecodingKey::from_ed_der(&public),
            encoding: private.map(|private| EncodingKey::from_ed_der(&private)),
            public,
            signs_from: record.signs_from,
            verify_until: record.verify_until,
        })
    }

    /// Names the key in the header of its tokens.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn verifies(&self, now: Timestamp) -> bool {
        self.verify_until.is_none_or(|until| now < until)
    }

    /// The public half as a JSON Web Key (RFC 8037, section 2).
    pub(super) fn jwk(&self) -> serde_json::Value {
        serde_json::json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&self.public),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("signs_from", &self.signs_from)
            .field("verify_until", &self.verify_until)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn a_sealed_key_opens_under_its_own_id_and_sealing_key_only() {
        let (sealing, other) = (SealingKey::new(&[1; 32]), SealingKey::new(&[2; 32]));
        let (id, record) = Record::generate(Some(&sealing), NOW, NOW).unwrap();
        let text = String::from_utf8(record.bytes()).unwrap();
        assert!(!text.contains("private"), "{text}");
        let record = Record::read(&id, text.as_bytes()).unwrap();
        assert!(
            SigningKey::open(&id, &record, Some(&sealing))
                .unwrap()
                .encoding
                .is_some()
        );
        assert!(
            SigningKey::open(&id, &record, Some(&other))
                .unwrap()
                .encoding
                .is_none()
        );
        assert!(SigningKey::open(&id, &record, None).unwrap().encoding.is_none());

        let (second, mut swapped) = Record::generate(Some(&sealing), NOW, NOW).unwrap();
        swapped.sealed = record.sealed;
        assert!(
            SigningKey::open(&second, &swapped, Some(&sealing))
                .unwrap()
                .encoding
                .is_none()
        );
        assert!(SigningKey::open(&id, &swapped, Some(&sealing)).is_err());
    }

    #[test]
    fn sealing_keys_are_read_from_hexadecimal_and_never_shown() {
        let key = SealingKey::from_hex(&format!(" {}\n", "0f".repeat(32))).unwrap();
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
        let (id, record) = Record::generate(Some(&key), NOW, NOW).unwrap();
        let same = SealingKey::new(&[15; 32]);
        assert!(
            SigningKey::open(&id, &record, Some(&same))
                .unwrap()
                .encoding
                .is_some()
        );
        for bad in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"+f".repeat(32)] {
            assert!(SealingKey::from_hex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let (id, record) = Record::generate(None, NOW, NOW).unwrap();
        let key = SigningKey::open(&id, &record, None).unwrap();
        let shown = format!("{key:?} {}", key.jwk());
        assert!(shown.contains(&id) && !shown.contains(record.private.as_ref().unwrap().as_str()));
    }

    #[test]
    fn a_record_of_a_later_format_is_refused() {
        let error = Record::read("x", br#"{"v":2,"public":"","created":0,"signs_from":0}"#)
            .err()
            .unwrap();
        assert!(format!("{error:?}").contains("too old"), "{error:?}");
    }
}
