//! An answer: lines of JSON, made while the work goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Failure, Request, perform};
use crate::stores::Stores;

/// Lines that wait for a client to take them. Work that has more to say waits too; progress is left out instead.
const WAITING: usize = 64;

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(100);

/// One line of an answer. As JSON an object with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far the work is. May be missing, and stands for all earlier ones.
    Progress(Value),
    /// Something that was found, and is not said again.
    Found(Value),
    /// The last line: the result.
    Done(Value),
    /// The last line: why there is no result, for people.
    Error(String),
}

impl Line {
    /// Whether nothing comes behind it.
    pub fn is_last(&self) -> bool {
        matches!(self, Line::Done(_) | Line::Error(_))
    }

    /// As it is sent, with its line feed.
    pub(super) fn text(&self) -> String {
        // Values hold nothing that JSON cannot say.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Where work says what it does. Nothing here fails: if the client has left, the work itself is dropped.
#[derive(Clone, Debug)]
pub struct Lines {
    to: mpsc::Sender<Line>,
    /// When progress may be told again.
    again: Arc<Mutex<Instant>>,
}

impl Lines {
    fn new(to: mpsc::Sender<Line>) -> Self {
        let again = Arc::new(Mutex::new(Instant::now()));
        Lines { to, again }
    }

    /// Says how far the work is. Never waits, and may be called as often as there is progress: ten times a second it is
    /// told.
    pub fn progress(&self, how_far: impl Serialize) {
        {
            let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
            if Instant::now() < *again {
                return;
            }
            *again = Instant::now() + EVERY;
        }
        if let Ok(value) = serde_json::to_value(how_far) {
            // Full or closed: the next one says more.
            let _missed = self.to.try_send(Line::Progress(value));
        }
    }

    /// Says what was found; waits for the client to take it.
    ///
    /// # Errors
    /// If it cannot be said in JSON.
    pub async fn found(&self, what: impl Serialize) -> Result<(), serde_json::Error> {
        self.say(Line::Found(serde_json::to_value(what)?)).await;
        Ok(())
    }

    /// The same from within a callback, for work that has a thread of its own: blocks it.
    pub fn found_blocking(&self, what: impl Serialize) {
        match serde_json::to_value(what) {
            Ok(value) => futures_executor::block_on(self.say(Line::Found(value))),
            Err(error) => tracing::error!(%error, "something that was found cannot be said in JSON"),
        }
    }

    async fn say(&self, line: Line) {
        // Closed: nobody listens, and what says this is about to be dropped.
        let _left = self.to.send(line).await;
    }
}

/// The answer to a request. The work is done while the stream is polled, and cancelled where it is when the stream is
/// dropped; that is a point at which a crash could stop it too. The last line is a [`Line::Done`] or a
/// [`Line::Error`].
pub fn answer(stores: Stores, request: Request) -> impl Stream<Item = Line> + Send + Unpin + 'static {
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = async move {
        let lines = Lines::new(sender);
        let last = match perform(request, &stores, &lines).await {
            Ok(result) => Line::Done(result),
            Err(why) => Line::Error(sentence(&*why)),
        };
        lines.say(last).await;
    };
    let told = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line| (line, receiver))
    });
    // The work yields no line itself: all go through the channel, and stay in order.
    let work = stream::once(work).filter_map(|()| std::future::ready(None));
    Box::pin(stream::select(told, work))
}

/// A result as the last line has it.
pub(super) fn result(value: impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(value)?)
}

/// An error with all its causes.
fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
