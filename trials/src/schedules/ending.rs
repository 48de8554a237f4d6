//! What is looked at when everybody has stopped.

use std::time::Duration;

use registry_core::{Context, Digest, Reference, Registry, once};
use registry_gc::model::Promise;
use registry_storage::testkit::disk::Dice;

use super::code::Code;
use super::oracle::{Broken, Bytes};

/// Rounds of the clock and a lone collector after which nothing may be left.
const ROUNDS: usize = 40;

/// Everybody has stopped: what was promised still is there, a push works at whatever stage things are, and a collector
/// that is left alone leaves nothing behind.
pub(super) async fn ending(code: &Code, dice: &mut Dice) {
    let world = &code.world;
    world.calm();
    world.oracle().collects(world.scheduler.current());
    world.trace(|| "everybody has stopped".into());
    if dice.once_in(2) {
        push_again(code).await;
    }
    let mut idle = 0;
    for _ in 0..ROUNDS {
        if world.is_broken() {
            return;
        }
        world.scheduler.advance(Duration::from_secs(61));
        let swept = async {
            while code.collect().await? {}
            code.tidy().await
        };
        if let Err(why) = swept.await {
            world.refused("the last collector", &why);
        }
        let idles = {
            let view = &world.oracle().view;
            let mut loose = view.loosened.iter().map(|(_, place)| place);
            let untagged = world.setting.untagged.is_some() && loose.any(|place| !view.is_listed(place));
            view.due().next().is_none() && view.dropped.is_empty() && !untagged
        };
        idle = match idles {
            true => idle + 1,
            false => 0,
        };
        if idle > 1 {
            break;
        }
    }
    let verdict = world.oracle().residue(&world.bytes);
    world.judge(verdict);
    pull_everything(code).await;
}

/// Pushes every blob to one of the names: whatever has become of it, it must be there afterwards.
async fn push_again(code: &Code) {
    let world = &code.world;
    for name in &world.library.names {
        for content in &world.library.contents {
            world.begins("pushes again");
            let digest = Digest::sha256(content);
            let ctx = Context::system();
            let pushed = async {
                let begun = code.registry.begin_upload(&ctx, name, None).await?;
                let bytes = once(content.clone());
                code.registry
                    .finish_upload(&ctx, name, &begun.id, Some(0), bytes, &digest)
                    .await?;
                code.registry.read_blob(&ctx, name, &digest, None).await
            };
            if let Err(why) = pushed.await {
                world.judge(Err(Broken::of(
                    Promise::RePush,
                    format!("{digest} was pushed again: {why}"),
                )));
                return;
            }
        }
    }
}

/// Whatever tag there is leads to a manifest all of which is there.
async fn pull_everything(code: &Code) {
    let world = &code.world;
    let view = world.oracle().view.clone();
    let ctx = Context {
        may_push: false,
        ..Context::system()
    };
    for (name, id) in &view.names {
        for place in view.manifests.keys().filter(|(there, _)| there == id) {
            let name = name.parse().expect("a name");
            world.begins("pulls at the end");
            let got = code
                .registry
                .get_manifest(&ctx, &name, &Reference::Digest(place.1))
                .await;
            if let Err(why) = got {
                world.judge(Err(Broken::of(
                    Promise::Closure,
                    format!("manifest {}: {why}", place.1),
                )));
            }
            let blobs = view.children.get(place).map(|children| children.blobs.clone());
            for digest in blobs.unwrap_or_default() {
                let intact = view.blobs.get(&digest).is_some_and(|blob| {
                    !blob.suspect && world.oracle().bytes_of(&digest, blob, &world.bytes) == Bytes::Good
                });
                if intact
                    && view.has_edge(id, &digest)
                    && let Err(why) = code.registry.read_blob(&ctx, &name, &digest, None).await
                {
                    world.judge(Err(Broken::of(Promise::Closure, format!("{digest}: {why}"))));
                }
            }
        }
    }
}
