//! A client: one connection, and every answer held against what the registry had promised.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::content::{Universe, repository};
use super::ledger::{Event, Ledger, Subject, Time};
use crate::crash::wire::{Framing, Reply, Wire};

/// How far the clients' clock and the registry's may be apart.
const CLOCKS: Duration = Duration::from_millis(20);

/// How long things last, as the server is told.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// How long a promise lasts.
    pub grace: Duration,
    /// Promises of so much time share a record.
    pub bucket: Duration,
    /// Between condemning a blob and removing it, and the longest read.
    pub second_delay: Duration,
    /// How long what was deleted can be undeleted.
    pub undo: Duration,
    /// How long an upload may rest.
    pub upload_idle: Duration,
    /// The longest write.
    pub longest_write: Duration,
    /// Between two runs of the collector.
    pub interval: Duration,
}

/// What the clients share.
pub struct Shared {
    /// The seed of every choice.
    pub seed: u64,
    /// What there is to push.
    pub universe: Arc<Universe>,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// What was promised.
    ledger: Mutex<Ledger>,
    server: Mutex<(SocketAddr, u64)>,
    moved: Condvar,
    /// The server is being killed.
    excused: AtomicBool,
    over: AtomicBool,
    began: Instant,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    broken: Mutex<Vec<String>>,
}

impl Shared {
    /// For a trial of an empty registry at `address`.
    pub fn new(seed: u64, lifetimes: Lifetimes, address: SocketAddr) -> Self {
        let universe = Arc::new(Universe::new(seed));
        let grace = lifetimes.grace.saturating_sub(CLOCKS).as_nanos() as Time;
        Shared {
            seed,
            ledger: Mutex::new(Ledger::new(Arc::clone(&universe), grace)),
            universe,
            lifetimes,
            server: Mutex::new((address, 0)),
            moved: Condvar::new(),
            excused: AtomicBool::new(false),
            over: AtomicBool::new(false),
            began: Instant::now(),
            counts: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Nanoseconds since the trial began.
    pub fn now(&self) -> Time {
        self.began.elapsed().as_nanos() as Time
    }

    /// What was promised.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with the ledger")
    }

    /// Whether clients are to stop.
    pub fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Stops the clients.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Counts what happened.
    pub fn count(&self, what: &'static str, by: u64) {
        let mut counts = self.counts.lock().expect("nobody panics with the counts");
        *counts.entry(what).or_default() += by;
    }

    /// What happened how often.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().expect("nobody panics with the counts").clone()
    }

    /// A promise was broken: the trial is over.
    pub fn broken(&self, what: String) {
        self.broken.lock().expect("nobody panics with them").push(what);
        self.stop();
    }

    /// The promises that were broken.
    pub fn violations(&self) -> Vec<String> {
        self.broken.lock().expect("nobody panics with them").clone()
    }

    /// From now on answers may be missing.
    pub fn excuse(&self) {
        self.excused.store(true, Ordering::SeqCst);
    }

    /// The server runs again, here.
    pub fn serve_at(&self, address: SocketAddr) {
        let mut server = self.server.lock().expect("nobody panics with it");
        *server = (address, server.1 + 1);
        self.excused.store(false, Ordering::SeqCst);
        self.moved.notify_all();
    }

    fn server(&self) -> (SocketAddr, u64) {
        *self.server.lock().expect("nobody panics with it")
    }

    /// Waits until another server runs than this one: until then a request to it may still take effect.
    fn wait_for_another(&self, than: u64) {
        let mut server = self.server.lock().expect("nobody panics with it");
        while server.1 == than {
            server = self.moved.wait(server).expect("nobody panics with it");
        }
    }
}

/// A request that was sent, and what came back.
#[derive(Debug)]
pub struct Asked {
    /// When it was sent.
    pub invoked: Time,
    /// When its answer had come, or it could take effect no more.
    pub ended: Time,
    /// The answer; none if the server was killed.
    pub reply: Option<Reply>,
}

impl Asked {
    /// The status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.reply.as_ref().map(|reply| reply.status)
    }
}

/// A client.
pub struct Client<'a> {
    /// What it shares with the others.
    pub shared: &'a Shared,
    number: u64,
    wire: Wire,
    at: u64,
}

/// A body, and how it is framed.
pub type Body<'b> = Option<(Framing, &'b [u8])>;

impl<'a> Client<'a> {
    /// The client of this number.
    pub fn new(shared: &'a Shared, number: u64) -> Self {
        let (address, at) = shared.server();
        Client {
            shared,
            number,
            wire: Wire::new(address),
            at,
        }
    }

    /// Takes so long to read the body of the next answer.
    pub fn slowly(&mut self, pace: Duration) {
        self.wire.slowly(pace);
    }

    /// Sends a request whose write, if it is one, was begun in the ledger at `invoked`, and waits for the answer, or
    /// until the server that was asked is gone for certain.
    ///
    /// A connection that breaks off under a living server is a broken promise, of a body too if that came within the
    /// longest read.
    pub fn ask(
        &mut self,
        invoked: Time,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Body<'_>,
    ) -> Asked {
        let shared = self.shared;
        let (address, at) = shared.server();
        if at != self.at {
            self.at = at;
            self.wire = Wire::new(address);
        }
        let answer = self.wire.ask(method, path, headers, body);
        let ended = shared.now();
        let reply = match answer {
            Ok(reply) if reply.status < 500 => Some(reply),
            Ok(reply) if reply.status == 503 && reply.shown().contains("too many others") => {
                shared.count("refused as busy", 1);
                Some(reply)
            }
            failed => {
                let excused = shared.excused.load(Ordering::SeqCst) || shared.server().1 != at;
                let longest = shared.lifetimes.second_delay.as_nanos() as Time;
                if excused {
                    shared.wait_for_another(at);
                    shared.count("without an answer", 1);
                } else if method == "GET" && ended - invoked > longest {
                    shared.count("reads cut off after the longest read", 1);
                } else {
                    let how = match failed {
                        Ok(reply) => format!("answered {}", reply.shown()),
                        Err(error) => format!("did not answer ({error})"),
                    };
                    let took = (ended - invoked) / 1_000_000;
                    shared.broken(format!("a living server {how}: {method} {path}, after {took} ms"));
                }
                None
            }
        };
        Asked {
            invoked,
            ended: shared.now().max(ended),
            reply,
        }
    }

    /// Remembers a request and what was made of its answer.
    pub fn note(
        &self,
        at: usize,
        asked: &'static str,
        subject: Subject,
        request: &Asked,
        answer: impl AsRef<str>,
    ) {
        self.shared.ledger().remember(Event {
            invoked: request.invoked,
            ended: request.ended,
            client: self.number,
            repository: at,
            asked,
            subject,
            answer: answer.as_ref().into(),
        });
    }

    /// A promise about this was broken.
    pub fn broken(&self, at: usize, subject: Subject, what: &str) {
        let ledger = self.shared.ledger();
        let history = ledger.history(at, subject);
        drop(ledger);
        let name = repository(at);
        self.shared.broken(format!(
            "client {}, {name}, {subject:?}: {what}\nwhat was asked about it, in the order of sending:\n{history}",
            self.number
        ));
    }
}
