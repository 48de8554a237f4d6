//! `berth keys`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_auth::tokens::{Rotated, Rotation};
use serde_json::Value;
use server_hyper::control::{Line, Request};

use crate::place::{self, EXIT_CODES, Place};
use crate::progress::time;
use crate::undo::{ask, end};

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sign tokens with another key from now on.
    #[command(after_help = format!("\
Keys are in the records, which all nodes share. The new one signs when every node knows it; the old one is taken until the \
last token that it signed has expired. Nobody notices. With --immediate the old ones are gone, and all tokens with them: \
clients get new ones, and those that are in the midst of a push begin again.

{EXIT_CODES}

Examples:
  berth keys rotate --data /srv/berth
  berth keys rotate --immediate --data /srv/berth     somebody else may know the key
  berth keys rotate --server https://registry.example:5001 --token-file control.token"))]
    Rotate(Rotate),
}

#[derive(Args)]
struct Rotate {
    /// End all keys and tokens that there are
    #[arg(long)]
    immediate: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Keys) -> ExitCode {
    match &args.what {
        What::Rotate(args) => end(rotate(args)),
    }
}

fn rotate(args: &Rotate) -> Result<(), String> {
    let how = match args.immediate {
        true => Rotation::Immediate,
        false => Rotation::Overlapping,
    };
    let request = Request::RotateKeys { how };
    let rotated: Rotated = ask(&args.place, &request, false, &mut |_: Value| {})?;
    match args.json {
        true => place::print(&Line::Done(serde_json::json!(rotated))),
        false => print!("{}", told(&rotated)),
    }
    Ok(())
}

fn told(rotated: &Rotated) -> String {
    let mut text = format!(
        "key {} signs tokens from {}\n",
        rotated.key,
        time(rotated.signs_from)
    );
    for (key, until) in &rotated.before {
        text.push_str(&match until {
            Some(until) => format!("key {key} is taken until {}\n", time(*until)),
            None => format!("key {key} is gone\n"),
        });
    }
    text
}
