//! The bodies of responses.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

#[cfg(target_os = "linux")]
use crate::sendfile::{FileFrames, Outgoing};

/// Any response's body.
pub(crate) enum AnyBody {
    /// The registry's own.
    Registry(registry_core::http::Body),
    /// The same as a file that is not read here.
    #[cfg(target_os = "linux")]
    File(FileFrames),
    /// That of another service.
    Other(UnsyncBoxBody<Bytes, io::Error>),
}

impl AnyBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = Some(body);
        let own = (&mut body as &mut dyn Any).downcast_mut::<Option<registry_core::http::Body>>();
        if let Some(own) = own.and_then(Option::take) {
            return AnyBody::Registry(own);
        }
        let other = body.expect("only the registry's own was taken");
        AnyBody::Other(other.map_err(io::Error::other).boxed_unsync())
    }

    /// The same for a connection that sends files without reading them.
    #[cfg(target_os = "linux")]
    pub(crate) fn for_connection(self, outgoing: &Outgoing) -> Self {
        let file = match &self {
            AnyBody::Registry(body) => body.as_file(),
            _ => None,
        };
        match file.and_then(|(file, part)| FileFrames::new(file, part, outgoing)) {
            Some(frames) => AnyBody::File(frames),
            None => self,
        }
    }
}

impl Body for AnyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            AnyBody::Registry(body) => Pin::new(body).poll_frame(cx),
            #[cfg(target_os = "linux")]
            AnyBody::File(frames) => Pin::new(frames).poll_frame(cx),
            AnyBody::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnyBody::Registry(body) => body.is_end_stream(),
            #[cfg(target_os = "linux")]
            AnyBody::File(frames) => frames.is_end_stream(),
            AnyBody::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnyBody::Registry(body) => body.size_hint(),
            #[cfg(target_os = "linux")]
            AnyBody::File(frames) => frames.size_hint(),
            AnyBody::Other(body) => body.size_hint(),
        }
    }
}
