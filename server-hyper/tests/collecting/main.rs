//! What a collection must never do to clients, over HTTP: each test is named after what it is about or after where it
//! went wrong once. Time and the collector go on only when a test says so.

mod house;
mod images;
mod races;
mod stages;
#[path = "../support/mod.rs"]
mod support;

/// A test on memory and on the embedded store, with a blob that is kept in the records and with one that is not.
macro_rules! on_every_store {
    ($(#[$attribute:meta])* $name:ident, $body:expr) => {
        $(#[$attribute])*
        #[tokio::test]
        async fn $name() {
            for size in [100, 100 << 10] {
                for store in [crate::house::Store::Memory, crate::house::Store::Embedded] {
                    $body(crate::house::House::new(store, size).await).await;
                }
            }
        }
    };
}
pub(crate) use on_every_store;
