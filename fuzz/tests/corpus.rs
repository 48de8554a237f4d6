//! The committed corpora, replayed, and small changes to them tried, without a fuzzer.

use std::fs;
use std::path::Path;

use fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|why| panic!("{}: {why}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_target_has_a_corpus_and_survives_it() {
    for (name, target) in TARGETS {
        for seed in corpus(name) {
            target(&seed);
        }
    }
}

#[test]
fn every_corpus_belongs_to_a_target() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
    }
}

/// Seeds are cut, joined and overwritten. The random source is fixed, so that a failure happens again.
fn mutate(name: &str, target: Target) {
    let seeds = corpus(name);
    let config = Config {
        cases: 4000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seed = prop::sample::select(seeds);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = any::<prop::sample::Index>();
    runner
        .run(
            &(seed.clone(), seed, cut, edits),
            |(mut left, right, cut, edits)| {
                left.truncate(cut.index(left.len() + 1));
                left.extend_from_slice(&right[cut.index(right.len() + 1)..]);
                for (at, byte) in edits {
                    if !left.is_empty() {
                        let at = at.index(left.len());
                        left[at] = byte;
                    }
                }
                target(&left);
                Ok(())
            },
        )
        .unwrap_or_else(|why| panic!("{name}: {why}"));
}

#[test]
fn mutations_of_the_corpora_break_no_target() {
    for (name, target) in TARGETS {
        mutate(name, *target);
    }
}
