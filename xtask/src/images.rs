//! Makes real images offline from Debian packages: what the clients then push and pull.
//!
//! Both sets have the same kinds: an image on a shared base, the same with zstd layers, the same as Docker
//! schema2, an index of two platforms, and an artifact whose `subject` is the image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::command::{capture, limited, stdout};
use crate::layout::{Layout, remove};
use crate::report::{Job, summary};
use crate::{target, tools};

/// The clock that images are stamped with, so that a layer made twice has one digest.
const TIMESTAMP: &str = "1700000000";

/// What the programs below come from.
const PACKAGES: [&str; 4] = ["buildah", "mmdebstrap", "skopeo", "crun"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the set of about 3 MB, made from busybox.
    #[arg(long)]
    tiny: bool,
}

/// A set of images on disk, all digests verified.
pub(crate) struct ImageSet {
    /// The OCI layout that holds every tag but the schema2 one.
    pub(crate) layout: Layout,
    /// The image in Docker's schema2, in the layout of skopeo's `dir:`.
    pub(crate) schema2: PathBuf,
    /// The image that others are variants of; its first layer is `base`'s.
    pub(crate) image: &'static str,
    /// The image again, its layers compressed with zstd.
    pub(crate) zstd: &'static str,
    /// Every tag of the layout: base first, then those that share its layer.
    pub(crate) tags: &'static [&'static str],
}

/// The tag of the index of two platforms, in both sets.
pub(crate) const MULTI: &str = "multi";
/// The tag of the artifact whose subject is the image, in both sets.
pub(crate) const ARTIFACT: &str = "sbom";

/// One image built on the base: its tag and the shell line that makes its layer.
struct Recipe {
    tag: &'static str,
    script: &'static str,
}

const APT: &str = "apt-get update -qq && apt-get install -qq -y --no-install-recommends";
const APT_CLEAN: &str = "apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/*";

const FULL: [Recipe; 2] = [
    Recipe {
        tag: "python",
        script: "python3",
    },
    Recipe {
        tag: "nginx",
        script: "nginx-light",
    },
];

pub(crate) fn run(args: &Args) -> Result<bool> {
    let job = Job::run(if args.tiny { "images (tiny)" } else { "images" }, || {
        let set = make(args.tiny)?;
        let (count, bytes) = set.layout.verify()?;
        #[allow(clippy::cast_precision_loss, reason = "a size for people, one decimal")]
        let megabytes = bytes as f64 / 1e6;
        Ok(format!(
            "{}: {count} digests verified, {megabytes:.1} MB",
            set.layout.path.display()
        ))
    });
    let passed = job.outcome.passed();
    println!("{}", summary(&[job]));
    Ok(passed)
}

/// The image set, made if it is not there yet.
pub(crate) fn make(tiny: bool) -> Result<ImageSet> {
    let dir = target().join("images").join(if tiny { "tiny" } else { "full" });
    let set = ImageSet {
        layout: Layout::at(dir.join("oci")),
        schema2: dir.join("dir-schema2"),
        image: if tiny { "app" } else { "nginx" },
        zstd: if tiny { "app-zstd" } else { "nginx-zstd" },
        tags: if tiny {
            &["base", "app", "app-zstd", MULTI, ARTIFACT]
        } else {
            &["base", "python", "nginx", "nginx-zstd", MULTI, ARTIFACT]
        },
    };
    if !complete(&set) {
        remove(&dir)?;
        std::fs::create_dir_all(&dir)?;
        tools::debian(&PACKAGES)?;
        let factory = Factory {
            work: dir.join("work"),
        };
        let made = factory.fill(&set, tiny);
        factory.clean()?;
        made?;
        ensure!(
            complete(&set),
            "the image set in {} is not whole after it was made",
            dir.display()
        );
    }
    set.layout.verify()?;
    Ok(set)
}

fn complete(set: &ImageSet) -> bool {
    let tags = set.layout.tags().unwrap_or_default();
    set.tags.iter().all(|tag| tags.iter().any(|found| found == tag))
        && set.schema2.join("manifest.json").exists()
}

/// Where images are put together: a container store of its own, removed afterwards.
struct Factory {
    work: PathBuf,
}

impl Factory {
    fn buildah(&self) -> Command {
        let mut command = limited("buildah");
        command
            .arg("--root")
            .arg(self.work.join("store"))
            .arg("--runroot")
            .arg(self.work.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    }

    fn fill(&self, set: &ImageSet, tiny: bool) -> Result<()> {
        std::fs::create_dir_all(&self.work)?;
        let busybox = |arch: &str| self.bootstrap(&["--variant=extract", "--include=busybox-static"], arch);
        if tiny {
            self.commit("base", &busybox("amd64")?, "amd64")?;
            // Built by adding a file, since nothing in the image needs to run for it.
            let file = self.work.join("app.txt");
            std::fs::write(&file, "#!/bin/busybox sh\nbusybox echo berth\n".repeat(400))?;
            let container = stdout(self.buildah().args(["from", "localhost/base"]))?;
            capture(self.buildah().args(["add", &container]).arg(&file).arg("/app.sh"))?;
            self.finish(&container, "app")?;
        } else {
            let root = self.bootstrap(&["--variant=minbase", "--mode=root"], "amd64")?;
            self.commit("base", &root, "amd64")?;
            for recipe in &FULL {
                let script = format!("{APT} {} && {APT_CLEAN}", recipe.script);
                let container = stdout(self.buildah().args(["from", "localhost/base"]))?;
                let isolation = ["run", "--isolation", "chroot", "--network", "host"];
                capture(
                    self.buildah()
                        .args(isolation)
                        .args([&container, "--", "sh", "-c", &script]),
                )?;
                self.finish(&container, recipe.tag)?;
            }
        }
        self.two_platforms(&busybox("amd64")?, &busybox("arm64")?)?;
        self.export(set)?;
        artifact(set)
    }

    /// A root file system as a tar, from the packages that this machine's own sources offer.
    fn bootstrap(&self, options: &[&str], arch: &str) -> Result<PathBuf> {
        let tar = self.work.join(format!(
            "{}-{arch}.tar",
            options[0].trim_start_matches("--variant=")
        ));
        if tar.exists() {
            return Ok(tar);
        }
        let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
        let sources = sources
            .iter()
            .find(|path| Path::new(path).exists())
            .context("no package sources")?;
        let mut command = limited("mmdebstrap");
        command.args(options).arg(format!("--architectures={arch}"));
        // Nothing of a foreign platform is run, so nothing is needed to run it.
        command
            .args(["--quiet", "--skip=check/qemu", "bookworm"])
            .arg(&tar)
            .arg(sources);
        command.env("SOURCE_DATE_EPOCH", TIMESTAMP);
        capture(&mut command)?;
        Ok(tar)
    }

    fn commit(&self, tag: &str, root: &Path, arch: &str) -> Result<()> {
        let container = stdout(self.buildah().args(["from", "--arch", arch, "scratch"]))?;
        capture(self.buildah().args(["add", &container]).arg(root).arg("/"))?;
        capture(self.buildah().args([
            "config",
            "--os",
            "linux",
            "--arch",
            arch,
            "--cmd",
            "/bin/busybox",
            &container,
        ]))?;
        self.finish(&container, tag)
    }

    fn finish(&self, container: &str, tag: &str) -> Result<()> {
        let name = format!("localhost/{tag}");
        capture(self.buildah().args([
            "commit",
            "--quiet",
            "--rm",
            "--timestamp",
            TIMESTAMP,
            container,
            &name,
        ]))?;
        Ok(())
    }

    fn two_platforms(&self, amd64: &Path, arm64: &Path) -> Result<()> {
        capture(self.buildah().args(["manifest", "create", "localhost/multi"]))?;
        for (arch, root) in [("amd64", amd64), ("arm64", arm64)] {
            let tag = format!("busybox-{arch}");
            self.commit(&tag, root, arch)?;
            capture(self.buildah().args([
                "manifest",
                "add",
                "localhost/multi",
                &format!("localhost/{tag}"),
            ]))?;
        }
        Ok(())
    }

    fn export(&self, set: &ImageSet) -> Result<()> {
        let to = |tag: &str| format!("oci:{}:{tag}", set.layout.path.display());
        let push = |compression: &str, image: &str, tag: &str| {
            let mut command = self.buildah();
            command.args([
                "push",
                "--quiet",
                "--format",
                "oci",
                "--compression-format",
                compression,
            ]);
            capture(command.arg(format!("localhost/{image}")).arg(to(tag)))
        };
        for tag in set
            .tags
            .iter()
            .filter(|tag| ![set.zstd, MULTI, ARTIFACT].contains(tag))
        {
            push("gzip", tag, tag)?;
        }
        push("zstd", set.image, set.zstd)?;
        capture(
            self.buildah()
                .args(["manifest", "push", "--quiet", "--all", "localhost/multi"])
                .arg(to(MULTI)),
        )?;
        let mut convert = limited("skopeo");
        convert
            .args(["copy", "--quiet", "--format", "v2s2"])
            .arg(to(set.image));
        capture(convert.arg(format!("dir:{}", set.schema2.display())))?;
        Ok(())
    }

    fn clean(&self) -> Result<()> {
        // The store unmounts what it has mounted; then the folder can go.
        if self.work.join("store").exists() {
            capture(self.buildah().args(["rm", "--all"]))?;
        }
        remove(&self.work)
    }
}

/// Adds an artifact that says what the image is made of and names it as its subject.
fn artifact(set: &ImageSet) -> Result<()> {
    let subject = set.layout.descriptor(set.image)?;
    let layers = set.layout.closure(set.image)?.layers;
    let document = json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "dataLicense": "CC0-1.0", "name": set.image,
        "packages": layers.iter().enumerate().map(|(number, digest)| json!({
            "SPDXID": format!("SPDXRef-layer-{number}"), "name": digest, "downloadLocation": "NOASSERTION",
        })).collect::<Vec<_>>(),
    });
    let layer = set
        .layout
        .add("application/spdx+json", document.to_string().as_bytes())?;
    let config = set.layout.add("application/vnd.oci.empty.v1+json", b"{}")?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json",
        "config": config, "layers": [layer],
        "subject": { "mediaType": subject["mediaType"], "digest": subject["digest"], "size": subject["size"] },
    });
    let descriptor = set.layout.add(MANIFEST, manifest.to_string().as_bytes())?;
    set.layout.tag(ARTIFACT, descriptor)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
