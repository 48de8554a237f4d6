//! Several ways to say who one is.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticated, Authenticator, Challenge};
use crate::error::Result;

/// Asks one authenticator after the other; the first that knows what to make of a request decides, also if it refuses.
///
/// So tokens, accounts of the registry's own and a directory of the company's can stand side by side: each passes on
/// what is not its own. A client is asked for credentials by the first.
#[derive(Clone)]
pub struct FirstOf(Vec<Arc<dyn Authenticator>>);

impl FirstOf {
    /// These, in this order.
    pub fn new(
        first: Arc<dyn Authenticator>,
        others: impl IntoIterator<Item = Arc<dyn Authenticator>>,
    ) -> Self {
        FirstOf(std::iter::once(first).chain(others).collect())
    }
}

impl fmt::Debug for FirstOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstOf({})", self.0.len())
    }
}

#[async_trait]
impl Authenticator for FirstOf {
    async fn authenticate(&self, head: &http::request::Parts) -> Result<Option<Authenticated>> {
        for authenticator in &self.0 {
            if let Some(known) = authenticator.authenticate(head).await? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    fn challenge(&self, head: &http::request::Parts) -> Challenge {
        self.0[0].challenge(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use crate::error::{Error, ErrorKind};
    use futures_executor::block_on;

    /// Knows one scheme; takes what comes behind it for a name, unless that is `wrong`.
    struct Scheme(&'static str);

    #[async_trait]
    impl Authenticator for Scheme {
        async fn authenticate(&self, head: &http::request::Parts) -> Result<Option<Authenticated>> {
            let value = head
                .headers
                .get("authorization")
                .map(|value| value.to_str().unwrap());
            match value.and_then(|value| value.strip_prefix(self.0)) {
                Some(" wrong") => Err(Error::new(ErrorKind::Unauthorized, self.0)),
                Some(name) => Ok(Some(Identity::Named(name.trim().into()).into())),
                None => Ok(None),
            }
        }

        fn challenge(&self, _head: &http::request::Parts) -> Challenge {
            Challenge::Basic {
                realm: self.0.to_owned(),
            }
        }
    }

    #[test]
    fn who_knows_the_credentials_decides_and_what_nobody_knows_is_passed_on() {
        let both = FirstOf::new(
            Arc::new(Scheme("Bearer")),
            [Arc::new(Scheme("Basic")) as Arc<dyn Authenticator>],
        );
        let ask = |value: &str| {
            let head = http::Request::builder()
                .header("authorization", value)
                .body(())
                .unwrap()
                .into_parts()
                .0;
            block_on(both.authenticate(&head)).map(|known| known.map(|known| known.identity.to_string()))
        };
        assert_eq!(ask("Bearer a").unwrap().as_deref(), Some("a"));
        assert_eq!(ask("Basic b").unwrap().as_deref(), Some("b"));
        assert_eq!(ask("Digest c").unwrap(), None);
        assert_eq!(ask("Basic wrong").unwrap_err().message(), "Basic");
        let head = http::Request::new(()).into_parts().0;
        assert_eq!(
            both.challenge(&head),
            Challenge::Basic {
                realm: "Bearer".to_owned()
            }
        );
    }
}
