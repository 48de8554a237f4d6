//! `berth`: an OCI registry in one binary.
#![forbid(unsafe_code)]

mod accounts;
mod api;
mod backup;
mod certificate;
mod check;
mod fsck;
mod gc;
mod keys;
mod place;
mod progress;
mod project;
mod restore;
mod robot;
mod scrub;
mod serve;
mod settings;
mod terminal;
mod token;
mod trash;
mod trust;
mod undo;
mod user;
mod version;

use std::process::ExitCode;

// Guards that can be left out are for a search of schedules, never for keeping anything.
const _: () = assert!(
    !registry_core::weakening::BUILT_IN,
    "berth is not built with the feature weaken"
);

use clap::{Parser, Subcommand};

/// A request takes some dozens of small pieces of memory, and gives some of them back on another thread.
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An OCI registry in one binary: docker, podman, containerd, helm and oras push to it and pull from it.
#[derive(Parser)]
#[command(name = "berth", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  berth serve                              serve ./data at 127.0.0.1:5000, to who has an account
  berth serve --config /etc/berth.toml     serve as a file says
  berth serve --tls-self-signed            serve with TLS, by a certificate that berth makes
  berth trust --data /srv/berth            say how clients come to trust that
  berth check --config /etc/berth.toml     say what that would do, and whether it can
  berth user create alice --generate       make an account, and print its password once
  berth project create shop                make a project, for repositories such as shop/web
  berth robot create ci --project shop     make an account for a program
  berth backup --data /srv/berth /mnt/b    back it up, while it serves
  berth restore /mnt/b --data /srv/new     make a registry out of that
  berth fsck --deep --data /srv/berth      look at every record and every byte, while it serves
  berth gc --dry-run --data /srv/berth     say what would be given back, and why
  berth undelete team/app:v1               bring back what was deleted
  berth trash purge team/app               or let it go before its time
  berth scrub --data /srv/berth            say what was found damaged, and how far reading again is")]
struct Berth {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a registry until it is told to stop.
    Serve(serve::Serve),
    /// Read the configuration and look at the data, and say what `serve` would do.
    Check(check::Check),
    /// Copy records and blobs to another place, also while a server runs.
    Backup(backup::Backup),
    /// Make a registry out of a backup, and check it.
    Restore(restore::Restore),
    /// Check that records agree with each other and with the blobs, and repair them; also while a server runs.
    Fsck(fsck::Fsck),
    /// Give back what nothing points at any more; or say what would go, and why.
    Gc(gc::Gc),
    /// Bring back a manifest or a tag that was deleted.
    Undelete(undo::Undelete),
    /// List what can be undeleted, or let it go for good.
    Trash(trash::Trash),
    /// Say what was found damaged, and how far reading everything again is.
    Scrub(scrub::Scrub),
    /// Say where a tag pointed, since when, and who moved it.
    History(undo::History),
    /// Point a tag where it pointed before.
    Rollback(undo::Rollback),
    /// Replace the keys that sign tokens.
    Keys(keys::Keys),
    /// Say how clients come to trust the registry's certificate: docker, containerd, podman, Kubernetes, curl.
    Trust(trust::Trust),
    /// Make users, and say what they may.
    User(user::Users),
    /// Make projects, and say who may what in them.
    Project(project::Projects),
    /// Make accounts for programs.
    Robot(robot::Robots),
    /// Make access tokens for yourself.
    Token(token::Tokens),
    /// Print the version.
    Version(version::Version),
}

fn main() -> ExitCode {
    match Berth::parse().command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Check(check) => check::run(&check),
        Command::Backup(backup) => backup::run(&backup),
        Command::Restore(restore) => restore::run(&restore),
        Command::Fsck(fsck) => fsck::run(&fsck),
        Command::Gc(gc) => gc::run(&gc),
        Command::Undelete(undelete) => undo::undelete(&undelete),
        Command::Trash(trash) => trash::run(&trash),
        Command::Scrub(scrub) => scrub::run(&scrub),
        Command::History(history) => undo::history(&history),
        Command::Rollback(rollback) => undo::roll_back(&rollback),
        Command::Keys(keys) => keys::run(&keys),
        Command::Trust(trust) => trust::run(&trust),
        Command::User(users) => user::run(&users),
        Command::Project(projects) => project::run(&projects),
        Command::Robot(robots) => robot::run(&robots),
        Command::Token(tokens) => token::run(&tokens),
        Command::Version(version) => version::run(&version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Berth::command().debug_assert();
    }
}
