//! Explores the model of the blob contract.
//!
//! ```text
//! model check [--large] [--only NAME] [--threads N] [--json]
//! model weakenings [--json]
//! model trace WEAKENING
//! ```
//!
//! Exits with 1 when a promise is broken, when a weakening goes uncaught, or when a transition was never exercised;
//! with 2 when it was called wrongly.

use registry_gc::model::{
    BlobContract, Bounds, CONTINUOUS, COVERED, Catch, LARGE, Outcome, Rules, SMALL, Step, Violation,
    Weakening, catch, check,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

const USAGE: &str = "usage: model [check [--large] [--only NAME] [--threads N] [--json] | weakenings [--json] | trace WEAKENING]";

struct Options {
    large: bool,
    json: bool,
    only: Option<String>,
    threads: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) if !command.starts_with("--") => (command.as_str(), rest),
        _ => ("check", &arguments[..]),
    };
    let kept = match (command, rest) {
        ("trace", [name]) => Weakening::named(name)
            .map(run_trace)
            .ok_or_else(|| unknown_weakening(name)),
        ("check", rest) => options(rest).and_then(|options| run_check(&options)),
        ("weakenings", rest) => options(rest).map(|options| run_weakenings(&options)),
        _ => Err(USAGE.to_owned()),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn unknown_weakening(name: &str) -> String {
    let names: Vec<String> = Weakening::ALL
        .iter()
        .map(|weakening| format!("  {}", weakening.name()))
        .collect();
    format!("no weakening is called {name}; there are\n{}", names.join("\n"))
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut options = Options {
        large: false,
        json: false,
        only: None,
        threads: cores,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--large" => options.large = true,
            "--json" => options.json = true,
            "--only" => options.only = Some(arguments.next().ok_or(USAGE)?.clone()),
            "--threads" => {
                let threads = arguments.next().and_then(|number| number.parse().ok());
                options.threads = threads.filter(|threads| *threads > 0).ok_or(USAGE)?;
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn run_check(options: &Options) -> Result<bool, String> {
    let all = if options.large {
        LARGE.to_vec()
    } else {
        [SMALL, CONTINUOUS].concat()
    };
    let worlds: Vec<Bounds> = all
        .iter()
        .copied()
        .filter(|world| options.only.as_deref().is_none_or(|only| only == world.name))
        .collect();
    if worlds.is_empty() {
        let names: Vec<&str> = all.iter().map(|world| world.name).collect();
        return Err(format!("no such configuration; there are {}", names.join(", ")));
    }
    let started = Instant::now();
    let mut covered = BTreeSet::new();
    let mut results = Vec::new();
    let mut broken = false;
    for world in worlds {
        let mut progress = |states: usize, transitions: usize, depth: usize| {
            if std::io::stderr().is_terminal() {
                eprint!(
                    "{}: {states} states, {transitions} transitions, depth {depth}\r",
                    world.name
                );
            }
        };
        let outcome = check(
            &BlobContract::new(world, Rules::CONTRACT),
            options.threads,
            Some(&mut progress),
        );
        covered.extend(outcome.covered.iter().copied());
        broken |= outcome.violation.is_some();
        if !options.json {
            print_outcome(&world, &outcome);
        }
        results.push((world, outcome));
    }
    // One configuration alone exercises only its own part, and the large ones repeat what the small ones do.
    let whole = options.only.is_none() && !options.large;
    let idle: Vec<&str> = COVERED
        .into_iter()
        .filter(|name| whole && !covered.contains(name))
        .collect();
    let states: usize = results.iter().map(|(_, outcome)| outcome.states).sum();
    let kept = !broken && idle.is_empty();
    if options.json {
        let worlds: Vec<Value> = results
            .iter()
            .map(|(world, outcome)| outcome_json(world, outcome))
            .collect();
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{}",
            json!({"configurations": worlds, "states": states, "never_exercised": idle,
            "seconds": seconds, "kept": kept})
        );
    } else {
        println!(
            "{states} states in {} configurations in {:.1} s: {}",
            results.len(),
            started.elapsed().as_secs_f64(),
            if kept { "every promise is kept" } else { "FAILED" }
        );
        for name in idle {
            println!("never exercised: {name}");
        }
    }
    Ok(kept)
}

fn describe_bounds(world: &Bounds) -> String {
    format!(
        "{} blob(s), {} name(s), {} id(s), {} client(s), {} collector(s), {} locations, {} entries; \
         ticks: lease {}, second delay {}, read {}, write {}, claim {}",
        world.blobs,
        world.names,
        world.repository_ids,
        world.clients,
        world.collectors,
        world.locations,
        world.entries,
        world.timing.lease,
        world.timing.second_delay,
        world.timing.longest_read,
        world.timing.longest_write,
        world.timing.claim
    )
}

fn print_outcome(world: &Bounds, outcome: &Outcome) {
    println!(
        "{:<22} {:>10} states {:>11} transitions, depth {:>3}, {:>6.1} s: {}",
        world.name,
        outcome.states,
        outcome.transitions,
        outcome.depth,
        outcome.took.as_secs_f64(),
        if outcome.violation.is_some() {
            "BROKEN"
        } else {
            "fixpoint"
        }
    );
    println!("    {}", world.about);
    println!("    {}", describe_bounds(world));
    if let Some(violation) = &outcome.violation {
        print_trace(violation);
    }
}

fn print_trace(violation: &Violation) {
    println!("    broken: {}", violation.promise.name());
    for (at, Step { action, state }) in violation.trace.iter().enumerate() {
        println!("    {:>3}. {action}\n           {state}", at + 1);
    }
}

fn outcome_json(world: &Bounds, outcome: &Outcome) -> Value {
    json!({
        "name": world.name,
        "bounds": describe_bounds(world),
        "states": outcome.states,
        "transitions": outcome.transitions,
        "depth": outcome.depth,
        "seconds": outcome.took.as_secs_f64(),
        "violation": outcome.violation.as_ref().map(violation_json),
    })
}

fn violation_json(violation: &Violation) -> Value {
    let steps: Vec<String> = violation
        .trace
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    json!({"promise": violation.promise.name(), "steps": steps})
}

/// Catches them all, as many at a time as there are cores.
fn run_weakenings(options: &Options) -> bool {
    let next = AtomicUsize::new(0);
    let (sender, caught) = mpsc::channel();
    let mut catches: Vec<(usize, Catch)> = std::thread::scope(|scope| {
        for _ in 0..options.threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((at, weakening)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    Weakening::ALL.get(at).map(|weakening| (at, *weakening))
                } {
                    if sender.send((at, catch(weakening))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        caught.iter().collect()
    });
    catches.sort_by_key(|(at, _)| *at);
    let all_caught = catches.iter().all(|(_, catch)| catch.is_caught());
    if options.json {
        let list: Vec<Value> = catches.iter().map(|(_, catch)| catch_json(catch)).collect();
        println!("{}", json!({"weakenings": list, "caught": all_caught}));
    } else {
        catches.iter().for_each(|(_, catch)| print_catch(catch));
        let caught = catches.iter().filter(|(_, catch)| catch.is_caught()).count();
        println!("{caught} of {} weakenings caught", catches.len());
    }
    all_caught
}

fn print_catch(catch: &Catch) {
    let steps = catch
        .outcome
        .violation
        .as_ref()
        .map_or(0, |violation| violation.trace.len());
    println!(
        "{} {:<32} {:<52} in {:>2} steps ({}, {} states)",
        if catch.is_caught() { "caught " } else { "MISSED " },
        catch.weakening.name(),
        catch
            .outcome
            .violation
            .as_ref()
            .map_or("nothing breaks", |violation| violation.promise.name()),
        steps,
        catch.world.name,
        catch.outcome.states
    );
}

fn catch_json(catch: &Catch) -> Value {
    json!({
        "weakening": catch.weakening.name(),
        "configuration": catch.world.name,
        "expected": catch.expected.name(),
        "caught": catch.is_caught(),
        "states": catch.outcome.states,
        "violation": catch.outcome.violation.as_ref().map(violation_json),
    })
}

fn run_trace(weakening: Weakening) -> bool {
    let caught = catch(weakening);
    print_catch(&caught);
    if caught.is_caught() {
        let readable = check(&weakening.model().numbered(), 1, None);
        readable.violation.iter().for_each(print_trace);
    }
    caught.is_caught()
}
