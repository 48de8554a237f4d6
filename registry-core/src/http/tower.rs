//! What answers requests, as a service of tower.

/// Makes a type a `tower_service::Service`. It is cheap to clone, and has a method
/// `async fn handle(&self, Request<B>) -> Response<Body>` that answers every request.
///
/// No trait could say this once for all of them: a type may implement tower's for every `B` only where it is defined.
#[macro_export]
macro_rules! tower_service {
    ($type:ty) => {
        impl<B> $crate::http::support::Service<$crate::http::support::Request<B>> for $type
        where
            B: $crate::http::support::HttpBody<Data = $crate::http::support::Bytes> + Send + 'static,
            B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        {
            type Response = $crate::http::support::Response<$crate::http::Body>;
            type Error = std::convert::Infallible;
            type Future = $crate::http::support::BoxFuture<
                'static,
                std::result::Result<Self::Response, std::convert::Infallible>,
            >;

            fn poll_ready(
                &mut self,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::result::Result<(), std::convert::Infallible>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: $crate::http::support::Request<B>) -> Self::Future {
                let service = self.clone();
                Box::pin(async move { Ok(service.handle(request).await) })
            }
        }
    };
}

/// What the macro names, whatever its caller depends on.
#[doc(hidden)]
pub mod support {
    pub use bytes::Bytes;
    pub use futures_util::future::BoxFuture;
    pub use http::{Request, Response};
    pub use http_body::Body as HttpBody;
    pub use tower_service::Service;
}
