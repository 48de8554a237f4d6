//! What is asked of whoever sits at the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use clap::Args;
use registry_auth::secret::Secret;

/// Whether there is somebody to ask.
pub(crate) fn is_there() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Whether whoever sits there says yes.
pub(crate) fn agrees(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = stderr()
        .flush()
        .and_then(|()| stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A secret, which is not shown while it is typed.
pub(crate) fn secret(prompt: &str) -> Result<Secret, String> {
    let typed = rpassword::prompt_password(prompt);
    let typed = typed.map_err(|why| format!("the password cannot be read from the terminal: {why}"))?;
    Ok(Secret::new(typed))
}

/// Whether something that nothing brings back is meant.
#[derive(Args)]
pub(crate) struct Sure {
    /// Do it, without asking
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// Asks whether this is to be deleted, unless that was said.
    pub(crate) fn of(&self, what: &str) -> Result<(), String> {
        match self.yes {
            true => Ok(()),
            false if !is_there() => Err(format!("nothing was deleted; to delete {what}, add --yes")),
            false if agrees(&format!("Delete {what}?")) => Ok(()),
            false => Err("nothing was deleted".to_owned()),
        }
    }
}
