//! An upload's address at the far end, as an [`UploadId`], and back.
//!
//! The far end names an upload by a `Location`, a trait's caller by an id. The id is what follows
//! `/v2/<repository>/blobs/uploads/`: as it is when it has the form of an id, else in base64url after a `=`, which
//! begins no plain one. Nothing has to be remembered here, so any node can go on with any upload, and the ids of a
//! chain of registries are the same text all along it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use registry_core::error::upload_unknown;
use registry_core::{RepositoryName, Result, UploadId};

const ENCODED: char = '=';

fn base(repository: &RepositoryName) -> String {
    format!("/v2/{repository}/blobs/uploads/")
}

/// The id of the upload at `target`, a path and perhaps a query. `None` if it lies elsewhere than the protocol says,
/// or cannot be carried in an id's 512 characters.
pub(crate) fn id(repository: &RepositoryName, target: &str) -> Option<UploadId> {
    let tail = target.strip_prefix(&base(repository))?;
    if !is_tail(tail) {
        return None;
    }
    if !tail.starts_with(ENCODED)
        && let Ok(id) = tail.parse()
    {
        return Some(id);
    }
    format!("{ENCODED}{}", URL_SAFE_NO_PAD.encode(tail)).parse().ok()
}

/// The path and query at which the far end keeps the upload.
///
/// # Errors
/// `UploadUnknown` if no upload of this repository can have this id.
pub(crate) fn target(repository: &RepositoryName, id: &UploadId) -> Result<String> {
    let tail = match id.as_str().strip_prefix(ENCODED) {
        None => Some(id.as_str().to_owned()),
        Some(encoded) => URL_SAFE_NO_PAD
            .decode(encoded)
            .ok()
            .and_then(|tail| String::from_utf8(tail).ok()),
    };
    match tail {
        Some(tail) if is_tail(&tail) => Ok(base(repository) + &tail),
        _ => Err(upload_unknown(id)),
    }
}

/// One path segment that is not `.` or `..` in any writing, and perhaps a query.
fn is_tail(tail: &str) -> bool {
    let (segment, query) = tail.split_once('?').unwrap_or((tail, ""));
    let in_segment =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'.' | b'~' | b':');
    let in_query = |b: u8| b.is_ascii_graphic() && b != b'#';
    !matches!(segment, "" | "." | "..") && segment.bytes().all(in_segment) && query.bytes().all(in_query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    #[test]
    fn an_address_survives_its_id() {
        for tail in [
            "0123456789abcdef0123456789abcdef",
            "=starts-like-an-encoded-one",
            "3b241101-e2bb-4255-8caf-4136c566a962?_state=aGVsbG8%3D&x=y",
            "a.b~c:d",
        ] {
            let address = format!("/v2/team/app/blobs/uploads/{tail}");
            let id = id(&repository(), &address).expect(tail);
            assert_eq!(target(&repository(), &id).unwrap(), address);
        }
        let plain = id(&repository(), "/v2/team/app/blobs/uploads/abc").unwrap();
        assert_eq!(plain.as_str(), "abc");
    }

    #[test]
    fn an_address_outside_the_repositorys_uploads_has_no_id() {
        for address in [
            "/v2/team/other/blobs/uploads/abc",
            "/v2/team/app/blobs/uploads/",
            "/v2/team/app/blobs/uploads/..",
            "/v2/team/app/blobs/uploads/a/b",
            "/v2/team/app/blobs/uploads/%2e%2e",
            "/v2/team/app/manifests/latest",
            &format!("/v2/team/app/blobs/uploads/a?{}", "x".repeat(400)),
        ] {
            assert_eq!(id(&repository(), address), None, "{address}");
        }
    }

    #[test]
    fn an_id_that_leads_out_of_the_uploads_is_unknown() {
        for tail in ["../../other/blobs/uploads/1", "..", "a/b", "a#b", "", "a b", "ä"] {
            let forged: UploadId = format!("={}", URL_SAFE_NO_PAD.encode(tail)).parse().unwrap();
            let error = target(&repository(), &forged).unwrap_err();
            assert_eq!(error.kind(), registry_core::ErrorKind::UploadUnknown, "{tail}");
        }
        assert!(target(&repository(), &"=!".replace('!', "-").parse().unwrap()).is_err());
    }
}
