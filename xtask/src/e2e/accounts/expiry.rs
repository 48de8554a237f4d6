//! A token that ends while a push runs.
//!
//! The server's clock is libfaketime's, and is set while an answer of the push is held back. Clients ask the kernel for
//! the time themselves, so theirs cannot be set: instead the server's is slow when they get their token, by nearly a
//! token's life, so that it ends within seconds for them too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Checks;
use super::clients::Client;
use super::login::Login;
use crate::command::{self, capture};
use crate::http1::send;
use crate::proxy::{Exchange, Proxy};
use crate::server::{Running, start_with_accounts};
use crate::tools;

/// Seconds that a token lives: the default of `auth.token_lifetime`.
const LIFETIME: i64 = 30 * 60;

/// Seconds that a token lives on the client's clock, if the server's is slow.
const ON_THE_CLIENTS_CLOCK: i64 = 6;

/// Seconds past a token's end for which the server takes it still.
const LEEWAY: i64 = 60;

/// How long a push may take to send its first bytes, and a clock to be set.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the checks of one client, whose folder is `work`.
pub(super) fn run(client: &mut dyn Client, work: &Path, checks: &mut Checks) {
    checks.check("expiry", || expiry(client, &work.join("expiry")));
    if client.minds_expiry() {
        checks.check("refusal", || refusal(client, &work.join("refusal")));
    }
}

/// The token ends on both clocks: the push goes on, whether the client minds when its token ends or waits for the refusal.
fn expiry(client: &mut dyn Client, work: &Path) -> Result<()> {
    let admin = Login::drawn("admin")?;
    let server = Clocked::start(work, &admin, ON_THE_CLIENTS_CLOCK - LIFETIME)?;
    let push = server.push(server.logged_in(client, &admin)?, true)?;
    push.went_on()?;
    ensure!(
        client.minds_expiry() || push.refusals() > 0,
        "the token that was over was never refused"
    );
    Ok(())
}

/// The token ends by the server's clock alone, as when a client's is slow. No client of today that minds when its token ends
/// asks for another then. It may go on; if it does not, it says that it was refused, and the next push works.
fn refusal(client: &mut dyn Client, work: &Path) -> Result<()> {
    let admin = Login::drawn("admin")?;
    let server = Clocked::start(work, &admin, 0)?;
    let push = server.push(server.logged_in(client, &admin)?, false)?;
    ensure!(push.refusals() > 0, "the token that was over was never refused");
    if push.succeeded {
        return push.went_on();
    }
    ensure!(push.said.contains("unauthorized"), "it says: {}", push.said);
    capture(&mut client.push(&server.image())?).map(drop)
}

/// A berth whose clock can be set while it runs, and the proxy that its clients are to use.
struct Clocked {
    proxy: Proxy,
    offset: PathBuf,
    _running: Running,
}

impl Clocked {
    /// Starts it with a clock that is `offset` seconds fast.
    fn start(work: &Path, admin: &Login, offset: i64) -> Result<Self> {
        tools::debian(&["faketime", "libfaketime"])?;
        std::fs::create_dir_all(work)?;
        let file = work.join("offset");
        std::fs::write(&file, shown(offset))?;
        let library = format!(
            "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
            std::env::consts::ARCH
        );
        ensure!(Path::new(&library).exists(), "there is no {library}");
        let environment = [
            ("LD_PRELOAD", library.as_ref()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
            // Looks at the file each time; timers run as ever.
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("BERTH_AUTH__AUTO_CREATE_PROJECTS", "true".as_ref()),
        ];
        let running = start_with_accounts(work, &admin.password, &environment)?;
        Ok(Self {
            proxy: Proxy::start(running.address)?,
            offset: file,
            _running: running,
        })
    }

    fn image(&self) -> String {
        format!("{}/team/app:1", self.proxy.authority())
    }

    /// A client's push, which is logged in.
    fn logged_in(&self, client: &mut dyn Client, login: &Login) -> Result<Command> {
        if let Some(mut command) = client.login(&self.proxy.authority(), login)? {
            capture(&mut command)?;
        }
        client.push(&self.image())
    }

    /// Sets the clock.
    fn set(&self, offset: i64) -> Result<()> {
        // In one step, so that no half of it is read.
        let new = self.offset.with_extension("new");
        std::fs::write(&new, shown(offset))?;
        std::fs::rename(new, &self.offset).map_err(Into::into)
    }

    /// Runs a push, holds back the answer to its first bytes, lets the token that these came with end meanwhile, and
    /// lets the push go on. `known` is whether the token ends on the client's clock as well.
    fn push(&self, mut push: Command, known: bool) -> Result<Push> {
        let mark = self.proxy.mark();
        let held = self.proxy.hold(|exchange| {
            // The answer to the bytes of a blob: containerd sends them with the PUT that ends the upload.
            let sends = matches!(
                (exchange.method.as_str(), exchange.status),
                ("PATCH", 202) | ("PUT", 201)
            );
            sends && exchange.uploads() && exchange.token().is_some()
        });
        let (first, output) = std::thread::scope(|scope| -> Result<_> {
            let pushing = scope.spawn(move || push.output());
            let first = held
                .reached(PATIENCE)
                .context("the push sends no blob with a token");
            let ended = first.and_then(|first| {
                if known {
                    let left = ends(&first)? - now()?;
                    std::thread::sleep(Duration::from_secs(u64::try_from(left + 1).unwrap_or(0)));
                    self.set(LEEWAY + 10)?;
                } else {
                    self.set(LIFETIME + LEEWAY + 10)?;
                }
                Ok(first)
            });
            // Whatever happened, the push must get to its end.
            let answered = self.proxy.mark();
            drop(held);
            let output = pushing
                .join()
                .expect("it does not panic")
                .context("cannot start the push")?;
            Ok(((ended?, answered), output))
        })?;
        let (first, answered) = first;
        // The proof that the token was over.
        let token = first.token().unwrap_or_default().to_owned();
        let bearer = format!("Bearer {token}");
        let replayed = send(
            &self.proxy.authority(),
            "GET",
            "/v2/",
            &[("authorization", &bearer)],
            b"",
        )?;
        ensure!(
            replayed.head.status() == 401,
            "the push's first token is still taken: {}",
            replayed.head.start
        );
        Ok(Push {
            succeeded: output.status.success(),
            said: command::said(&output),
            log: self.proxy.since(mark),
            before: answered - mark,
            token,
        })
    }
}

/// What became of a push whose token ended.
struct Push {
    succeeded: bool,
    said: String,
    log: Vec<Exchange>,
    /// How much of the log is from before the token's end.
    before: usize,
    /// The token that ended.
    token: String,
}

impl Push {
    /// What was asked after the token's end.
    fn after(&self) -> &[Exchange] {
        &self.log[self.before..]
    }

    /// How often the token was refused after its end.
    fn refusals(&self) -> usize {
        let refused = |exchange: &&Exchange| exchange.status == 401 && exchange.token() == Some(&self.token);
        self.after().iter().filter(refused).count()
    }

    /// That the client got another token, and finished the push with that.
    fn went_on(&self) -> Result<()> {
        ensure!(self.succeeded, "the push failed: {}", self.said);
        let fetched =
            |exchange: &Exchange| exchange.target.starts_with("/service/token") && exchange.status == 200;
        ensure!(self.after().iter().any(fetched), "no other token was asked for");
        let finished = |exchange: &Exchange| {
            exchange.method == "PUT" && exchange.target.contains("/manifests/") && exchange.status == 201
        };
        let last = self.after().iter().find(|exchange| finished(exchange));
        let last = last.context("no manifest was pushed after the token's end")?;
        ensure!(
            last.token() != Some(&self.token),
            "the old token was taken for the manifest"
        );
        Ok(())
    }
}

/// As libfaketime reads it.
fn shown(offset: i64) -> String {
    format!("{offset:+}s\n")
}

fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())?)
}

/// When the token that an exchange bore ends, in seconds of Unix time.
fn ends(exchange: &Exchange) -> Result<i64> {
    let claims = exchange
        .token()
        .and_then(|token| token.split('.').nth(1))
        .context("a token has three parts")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    claims["exp"].as_i64().context("a token has an end")
}
