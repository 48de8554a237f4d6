//! A mix as registries in production see it: of a hundred requests some 93 read, most layers are small, few images are
//! asked for very often and most hardly ever. The proportions are those of the traces published with Anwar et al.,
//! "Improving Docker Registry Design based on Production Workload Analysis", FAST 2018: 90 to 95 % of requests read, 65 %
//! of layers are smaller than 1 MB.

use std::io;

use registry_storage::testkit::disk::Dice;

use super::connection::{Connection, Request};
use super::content::{Blobs, manifest};
use super::fill::Shelf;
use super::pushes::Images;

/// Images that are read.
const IMAGES: usize = 120;

/// Turns that differ; then they come again.
const TURNS: usize = 20_000;

/// Lengths of layers in KiB, each as likely as any other: 13 of 20 are below 1 MB.
const LAYERS: [usize; 20] = [
    1, 2, 3, 4, 8, 16, 32, 48, 64, 128, 256, 512, 900, 1200, 1800, 2500, 4000, 6000, 10_000, 16_000,
];

enum Turn {
    Read(usize),
    Push,
}

/// What is asked for, in order.
pub struct Trace {
    requests: Vec<Request>,
    turns: Vec<Turn>,
    pushed: Images,
}

impl Trace {
    pub(super) async fn prepare(shelf: &mut Shelf, salt: u64) -> io::Result<Self> {
        let mut dice = Dice::new(0x006d_6978_6564);
        let mut requests = Vec::new();
        // For each image where its requests are: HEAD and GET of its manifest, then a HEAD and a GET of each blob.
        let mut images = Vec::new();
        for number in 0..IMAGES as u64 {
            let config = Blobs::new(1500, 0xc0).get(number);
            let layers: Vec<_> = (0..1 + dice.below(6) as u64)
                .map(|layer| Blobs::new(dice.pick(&LAYERS) << 10, 0x1a).get(number * 8 + layer))
                .collect();
            let first = requests.len();
            let mut paths = Vec::new();
            for blob in layers.iter().chain([&config]) {
                paths.push(shelf.blob(blob).await?);
            }
            let manifest = manifest(&config, &layers);
            let [tag, _] = shelf.manifest(&format!("mixed{number}"), &manifest).await?;
            requests.extend(["HEAD", "GET"].map(|method| Request::manifest(method, &tag)));
            requests.extend(
                paths
                    .iter()
                    .flat_map(|path| ["HEAD", "GET"].map(|method| Request::get(method, path))),
            );
            images.push(first..requests.len());
        }
        let turns = (0..TURNS).map(|_| match dice.below(100) {
            0 => Turn::Push,
            kind => {
                let image = images[popular(&mut dice)].clone();
                let blobs = (image.len() - 2) / 2;
                let blob = image.start + 2 + 2 * dice.below(blobs);
                Turn::Read(match kind {
                    1..=25 => image.start,
                    26..=50 => image.start + 1,
                    51..=60 => blob,
                    _ => blob + 1,
                })
            }
        });
        Ok(Trace {
            turns: turns.collect(),
            requests,
            pushed: Images::new(salt),
        })
    }

    pub(super) fn renew(&mut self, salt: u64) {
        self.pushed = Images::new(salt);
    }

    pub(super) async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        match self.turns[number as usize % self.turns.len()] {
            Turn::Read(request) => Ok(connection.ask(&self.requests[request], &[], &[200]).await?.1),
            Turn::Push => self.pushed.turn(connection, number).await,
        }
    }
}

/// Which image: the one of rank `r` is asked for in proportion to `1 / r`.
fn popular(dice: &mut Dice) -> usize {
    // The inverse of the sum of 1 / r, which is close to the logarithm.
    let share = dice.below(1 << 20) as f64 / f64::from(1 << 20);
    let rank = (IMAGES as f64).powf(share);
    (rank as usize - 1).min(IMAGES - 1)
}
