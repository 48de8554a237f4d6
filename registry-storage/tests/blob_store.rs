//! The contract of finished bytes, over each implementation.

mod bytes;

registry_storage::blob_store_suite!(memory, crate::bytes::in_memory);
registry_storage::blob_store_suite!(files, durable, crate::bytes::in_files);
