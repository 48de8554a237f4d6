//! Whether stores can be worked with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use registry_harbor::{Component, Health};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::stores::Stores;

/// How long an answer is repeated, so that asking often costs no more commits.
const REPEAT: Duration = Duration::from_secs(1);
/// A store that takes longer than this for one small commit is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks stores whether they can be worked with, once a second at most, whoever wants to know.
#[derive(Clone)]
pub(crate) struct Readiness {
    stores: Stores,
    last: Arc<Mutex<Option<(Instant, Result<(), String>)>>>,
}

impl Readiness {
    pub(crate) fn of(stores: Stores) -> Self {
        Readiness {
            stores,
            last: Arc::default(),
        }
    }

    /// If they cannot, why, in plain words.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < REPEAT
        {
            return answer.clone();
        }
        let answer = match timeout(PROBE_TIMEOUT, self.stores.probe()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(
                    error = error.as_ref() as &dyn std::error::Error,
                    "the stores are not ready"
                );
                Err("the records cannot be written or read".to_owned())
            }
            Err(_) => Err(format!(
                "the records did not answer within {} s",
                PROBE_TIMEOUT.as_secs()
            )),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// As Harbor names them: what answers, and what keeps the records.
#[async_trait]
impl Health for Readiness {
    async fn components(&self) -> Vec<Component> {
        let component = |name: &str, healthy| Component {
            name: name.to_owned(),
            healthy,
        };
        let ready = self.ask().await.is_ok();
        vec![component("core", true), component("database", ready)]
    }
}
