//! Running programs: every one has a time limit, and an error shows the command and what it said.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Seconds a captured command may take before it is killed.
const LIMIT_SECONDS: &str = "900";

/// A command that is killed after [`LIMIT_SECONDS`], for use with [`capture`] and [`stdout`].
pub(crate) fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=10", LIMIT_SECONDS])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Runs `command` to its end and returns what it printed; an unsuccessful exit is an error that quotes it.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ({}): {}", shown(command), output.status, said(&output));
    }
    Ok(output)
}

/// Runs `command` and returns its standard output, trimmed.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&capture(command)?.stdout)
        .trim()
        .to_owned())
}

/// Runs `command`, which must fail, and returns what it said.
pub(crate) fn refused(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    match output.status.code() {
        Some(0) => bail!("{} succeeded, a refusal was due", shown(command)),
        // 124 and 137 are how `timeout` reports that the limit ran out.
        None | Some(124 | 137) => bail!("{} was killed, a refusal was due", shown(command)),
        Some(_) => Ok(said(&output)),
    }
}

/// Runs `command` with its output shown as it comes; true if it succeeded.
/// The output goes to standard error if `quiet_stdout`, so that standard output stays machine-readable.
pub(crate) fn watched(command: &mut Command, quiet_stdout: bool) -> Result<bool> {
    command.stdin(Stdio::null());
    if quiet_stdout {
        command.stdout(std::io::stderr());
    }
    Ok(command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?
        .success())
}

/// The last lines of what a command said on standard error, where clients put the reason and some nothing else; of its standard
/// output if that is nothing.
pub(crate) fn said(output: &Output) -> String {
    let parts =
        [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let text = parts
        .into_iter()
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(12);
    lines[first..].join(" | ")
}

/// A command as a person would type it, without the password of `--user`.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    for word in command.get_args().map(|word| word.to_string_lossy()) {
        match (words.last().map(String::as_str), word.split_once(':')) {
            (Some("--user"), Some((name, _))) => words.push(format!("{name}:…")),
            _ => words.push(word.into_owned()),
        }
    }
    match words.as_slice() {
        [timeout, _, _, rest @ ..] if timeout == "timeout" => rest.join(" "),
        all => all.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_quotes_it() {
        let error = capture(limited("sh").args(["-c", "echo why >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("sh -c"), "{error}");
        assert!(error.contains("why"), "{error}");
    }

    #[test]
    fn the_reason_is_quoted_however_much_else_is_printed_and_a_password_is_not() {
        let script = "seq 100; echo why >&2; exit 1";
        let error = capture(limited("sh").args(["-c", script, "--user", "dev:Secret-1"]))
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(": why"), "{error}");
        assert!(error.contains("dev:…") && !error.contains("Secret-1"), "{error}");
    }

    #[test]
    fn a_success_where_a_refusal_was_due_is_an_error() {
        assert!(refused(&mut limited("true")).is_err());
        assert!(refused(&mut limited("false")).is_ok());
    }
}
