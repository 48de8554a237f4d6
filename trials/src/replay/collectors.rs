//! A collector of the stress: every step of [`Reclaim`](registry_core::store::Reclaim), over and over, with pauses and
//! crashes between any two.

use std::sync::Arc;

use registry_core::store::BlobStore;
use registry_core::{ErrorKind, Result};

use super::stress::Shared;
use super::trace::Happened;
use crate::crash::random::Random;

/// How much is taken up at once.
const BATCH: usize = 6;

/// Works until everything is over.
pub(super) async fn collect(shared: Arc<Shared>, mut random: Random) -> Result<()> {
    while !shared.is_over() {
        for _ in 0..random.below(40) {
            tokio::task::yield_now().await;
        }
        let done = if random.chance(10) {
            let polls = random.below(60);
            tokio::select! {
                biased;
                () = yields(polls) => {
                    shared.log.tell(Happened::Crashed);
                    Ok(())
                }
                done = pass(&shared) => done,
            }
        } else {
            pass(&shared).await
        };
        match done {
            // An outcome that is not told ends the pass, and the next one looks.
            Err(why) if why.kind() == ErrorKind::Internal => return Err(why),
            _ => {}
        }
    }
    Ok(())
}

/// Is ready when it has been asked so often.
pub(super) async fn yields(polls: u64) {
    for _ in 0..polls {
        tokio::task::yield_now().await;
    }
}

async fn pass(shared: &Shared) -> Result<()> {
    for entry in shared.reclaim.due(None, BATCH).await? {
        shared.reclaim.collect(&entry).await?;
    }
    for expired in shared.reclaim.expired_uploads(None, BATCH).await? {
        shared.reclaim.abandon(&expired.id).await?;
    }
    for doomed in shared.reclaim.doomed(None, BATCH).await? {
        shared
            .bytes
            .unlink(&doomed.location)
            .await
            .map_err(registry_core::Error::internal)?;
        shared.reclaim.clear_doomed(&doomed).await?;
    }
    shared.reclaim.sweep_manifests(1).await?;
    shared.reclaim.purge_trash(2).await?;
    for _ in 0..20 {
        if !shared.reclaim.sweep_repositories(BATCH).await? {
            break;
        }
    }
    Ok(())
}
