//! What the clients do, by chance.

use std::collections::VecDeque;

use super::blobs::Unfinished;
use super::client::{Client, Shared};
use super::content::{BLOBS, GROUPS, MANIFESTS, REPOSITORIES, TAGS};
use crate::crash::random::Random;
use crate::crash::wire::Framing;

/// How long the same groups are busy, in milliseconds.
const BUSY_FOR: u64 = 600;
/// Groups that are busy at once.
const BUSY: usize = 3;
/// Uploads that each client keeps unfinished; older ones are forgotten, and left to the registry to give up.
const UNFINISHED: usize = 24;

/// A client at work.
struct Worker<'a> {
    client: Client<'a>,
    random: Random,
    unfinished: VecDeque<Unfinished>,
}

/// The number of the current window, and the groups that are busy in it.
fn busy(shared: &Shared) -> (u64, [usize; BUSY]) {
    let window = shared.now() / 1_000_000 / BUSY_FOR;
    (window, busy_in(shared.seed, window))
}

fn busy_in(seed: u64, window: u64) -> [usize; BUSY] {
    let mut random = Random::of(&[seed, 3, window]);
    std::array::from_fn(|_| random.below(GROUPS as u64) as usize)
}

/// Pushes, pulls and deletes until the trial is over.
pub fn work(shared: &Shared, number: u64) {
    let mut worker = Worker {
        client: Client::new(shared, number),
        random: Random::of(&[shared.seed, 4, number]),
        unfinished: VecDeque::new(),
    };
    while !shared.over() {
        worker.step();
    }
}

/// Pulls tags slowly until the trial is over: busy ones, and ones that rest.
pub fn read_slowly(shared: &Shared, number: u64) {
    let mut random = Random::of(&[shared.seed, 5, number]);
    let mut client = Client::new(shared, number);
    while !shared.over() {
        let group = match random.chance(50) {
            true => random.pick(&busy(shared).1),
            false => random.below(GROUPS as u64) as usize,
        };
        let (at, name) = (below(&mut random, REPOSITORIES), below(&mut random, TAGS));
        client.pull_tag(at, group, name, Some(&mut random));
    }
}

/// Deletes what a group has, mostly all of it, a window after it stopped being busy: so its blobs come into the hands of
/// the collector, and are asked for again by chance at any stage of that.
pub fn clear_up(shared: &Shared, number: u64) {
    let mut random = Random::of(&[shared.seed, 6, number]);
    let mut client = Client::new(shared, number);
    let mut seen = busy(shared).0;
    while !shared.over() {
        let (window, now_busy) = busy(shared);
        if window == seen {
            // Not to wait for anything, but to leave the processor to others.
            std::thread::sleep(std::time::Duration::from_millis(10));
            continue;
        }
        seen = window;
        let spared = below(&mut random, 3 * REPOSITORIES);
        let rested = busy_in(shared.seed, window.saturating_sub(2));
        for group in rested.into_iter().filter(|group| !now_busy.contains(group)) {
            for at in (0..REPOSITORIES).filter(|at| *at != spared) {
                clear(&mut client, at, group);
            }
        }
    }
}

/// Deletes every manifest of a group in a repository, what lists others first. Whether any was there.
pub fn clear(client: &mut Client<'_>, at: usize, group: usize) -> bool {
    let mut any = false;
    for manifest in (0..MANIFESTS).rev() {
        any |= client.delete_manifest(at, group, manifest);
    }
    any
}

fn below(random: &mut Random, limit: usize) -> usize {
    random.below(limit as u64) as usize
}

impl Worker<'_> {
    fn step(&mut self) {
        let at = below(&mut self.random, REPOSITORIES);
        let name = below(&mut self.random, TAGS);
        if self.random.chance(8) {
            // What rests is only read: every push would keep the collector from it.
            let group = below(&mut self.random, GROUPS);
            self.client.pull_tag(at, group, name, None);
            return;
        }
        let group = self.random.pick(&busy(self.client.shared).1);
        let manifest = below(&mut self.random, MANIFESTS);
        let blob = group * BLOBS + below(&mut self.random, BLOBS);
        match self.random.below(100) {
            0..34 => {
                let name = self.random.chance(85).then_some(name);
                self.client.push(at, group, manifest, name, &mut self.random);
            }
            34..48 => drop(self.client.pull_tag(at, group, name, None)),
            48..53 => self.client.delete_tag(at, group, name),
            53..60 => drop(self.client.delete_manifest(at, group, manifest)),
            60..66 => self.delete_and_push_again(at, group, manifest, name),
            66..72 => self.client.delete_blob(at, blob),
            72..77 => drop(self.client.push_blob(at, blob, &mut self.random)),
            77..82 => self.ask_and_read(at, blob),
            82..87 => {
                let from = (at + 1 + below(&mut self.random, REPOSITORIES - 1)) % REPOSITORIES;
                self.client.mount_blob(at, blob, from);
            }
            87..92 => self.client.list_referrers(at, group, manifest),
            92..98 => self.leave_unfinished(at, blob),
            _ => self.resume(),
        }
    }

    /// Deletes an image and pushes it again at once, or a little later.
    fn delete_and_push_again(&mut self, at: usize, group: usize, manifest: usize, name: usize) {
        if !self.client.delete_manifest(at, group, manifest) {
            return;
        }
        self.client.shared.count("manifests deleted and pushed again", 1);
        self.client
            .push(at, group, manifest, Some(name), &mut self.random);
    }

    /// What HEAD says yes to must be there to be read.
    fn ask_and_read(&mut self, at: usize, blob: usize) {
        self.client.head_blob(at, blob);
        self.client.get_blob(at, blob, |_, _| None);
    }

    /// Begins an upload and leaves it.
    fn leave_unfinished(&mut self, at: usize, blob: usize) {
        let Some(mut upload) = self.client.begin(at, blob) else {
            return;
        };
        let size = self.client.shared.universe.blobs[blob].size;
        let until = 1 + self.random.below(size);
        if self.random.chance(70) && !self.client.append(&mut upload, until, Framing::Length) {
            return;
        }
        self.client.shared.count("uploads left unfinished", 1);
        self.unfinished.push_back(upload);
        if self.unfinished.len() > UNFINISHED {
            self.unfinished.pop_front();
        }
    }

    /// Goes on with an upload that was left, if the registry has not given it up.
    fn resume(&mut self) {
        let one = below(&mut self.random, self.unfinished.len());
        if let Some(upload) = self.unfinished.remove(one)
            && self.client.finish(upload)
        {
            self.client.shared.count("uploads resumed", 1);
        }
    }
}
