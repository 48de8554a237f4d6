//! A registry that can only be read is read as before, and refuses everything else by name.

use std::sync::Arc;

use registry_core::auth::Identity;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::runtime::Threads;
use registry_core::store::Lifetimes;
use registry_core::wrappers::ReadOnly;
use registry_core::{
    Context, Digest, ErrorKind, LocalRegistry, MountFrom, Options, PutManifest, Reference, Registry,
    RepositoryName, Result, Tag, once,
};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::{block_on, read_all};

const CONFIG: &str = "a config";

fn manifest() -> String {
    let digest = Digest::sha256(CONFIG.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","digest":"{digest}","size":{}}},"layers":[]}}"#,
        CONFIG.len()
    )
}

fn repository() -> RepositoryName {
    "team/app".parse().expect("a name")
}

/// A registry with an image in it.
async fn filled(ctx: &Context) -> Arc<LocalRegistry> {
    let (runtime, bytes) = (Threads::shared(), Arc::new(MemoryBytes::new()));
    let records = Records::new(
        Arc::new(MemoryKv::new()),
        Arc::clone(&runtime),
        Lifetimes::default(),
    );
    let registry = LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        runtime,
        Options::default(),
    );
    let (name, digest) = (repository(), Digest::sha256(CONFIG.as_bytes()));
    let upload = registry.begin_upload(ctx, &name, None).await.expect("an upload");
    registry
        .finish_upload(ctx, &name, &upload.id, None, once(CONFIG), &digest)
        .await
        .expect("a push");
    let put = PutManifest::tagged("v1".parse().expect("a tag"), OCI_MANIFEST, manifest());
    registry.put_manifest(ctx, &name, put).await.expect("a put");
    Arc::new(registry)
}

fn ctx() -> Context {
    Context::request(Identity::Named("tester".into()), "test")
}

/// All that can be read of it, in a form that can be compared.
async fn seen(registry: &dyn Registry) -> String {
    let (ctx, name, config) = (ctx(), repository(), Digest::sha256(CONFIG.as_bytes()));
    let tag: Reference = "v1".parse::<Tag>().expect("a tag").into();
    let blob = registry
        .read_blob(&ctx, &name, &config, None)
        .await
        .expect("a blob");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        registry.stat_blob(&ctx, &name, &config).await.expect("a blob"),
        read_all(blob.read).await.expect("its bytes"),
        registry
            .stat_manifest(&ctx, &name, &tag)
            .await
            .expect("a manifest"),
        registry
            .get_manifest(&ctx, &name, &tag)
            .await
            .expect("a manifest"),
        registry.list_tags(&ctx, &name, None, 9).await.expect("tags"),
        registry
            .list_referrers(&ctx, &name, &config, None, None, 9)
            .await
            .expect("referrers"),
        registry
            .list_repositories(&ctx, None, 9)
            .await
            .expect("repositories"),
    )
}

#[test]
fn what_can_be_read_is_read_as_before() {
    block_on(async {
        let registry = filled(&ctx()).await;
        let before = seen(&*registry).await;
        assert_eq!(seen(&ReadOnly::around(Arc::clone(&registry))).await, before);
    });
}

#[test]
fn every_write_is_refused_as_unsupported_and_changes_nothing() {
    block_on(async {
        let (ctx, name, config) = (ctx(), repository(), Digest::sha256(CONFIG.as_bytes()));
        let registry = filled(&ctx).await;
        let before = seen(&*registry).await;
        // Begun where it can be, so that it is not for its absence that it is refused.
        let upload = registry
            .begin_upload(&ctx, &name, None)
            .await
            .expect("an upload")
            .id;
        let manifest = Digest::sha256(manifest().as_bytes());
        let put = PutManifest::tagged("v2".parse().expect("a tag"), OCI_MANIFEST, self::manifest());

        let shown = ReadOnly::around(Arc::clone(&registry));
        let refusals: Vec<(&str, Result<()>)> = vec![
            ("delete_blob", shown.delete_blob(&ctx, &name, &config).await),
            (
                "mount_blob",
                shown
                    .mount_blob(&ctx, &name, &config, &MountFrom::Anywhere)
                    .await
                    .map(drop),
            ),
            (
                "begin_upload",
                shown.begin_upload(&ctx, &name, None).await.map(drop),
            ),
            (
                "upload_status",
                shown.upload_status(&ctx, &name, &upload).await.map(drop),
            ),
            (
                "append_upload",
                shown
                    .append_upload(&ctx, &name, &upload, None, once("x"))
                    .await
                    .map(drop),
            ),
            (
                "finish_upload",
                shown
                    .finish_upload(&ctx, &name, &upload, None, once("x"), &Digest::sha256(b"x"))
                    .await
                    .map(drop),
            ),
            ("cancel_upload", shown.cancel_upload(&ctx, &name, &upload).await),
            (
                "put_manifest",
                shown.put_manifest(&ctx, &name, put).await.map(drop),
            ),
            (
                "delete_manifest",
                shown.delete_manifest(&ctx, &name, &manifest).await,
            ),
            (
                "delete_tag",
                shown.delete_tag(&ctx, &name, &"v1".parse().expect("a tag")).await,
            ),
            ("delete_repository", shown.delete_repository(&ctx, &name).await),
        ];
        for (operation, outcome) in refusals {
            assert_eq!(
                outcome.expect_err(operation).kind(),
                ErrorKind::Unsupported,
                "{operation}"
            );
        }
        assert_eq!(seen(&*registry).await, before);
        assert_eq!(
            registry
                .upload_status(&ctx, &name, &upload)
                .await
                .expect("an upload")
                .received,
            0
        );
    });
}
