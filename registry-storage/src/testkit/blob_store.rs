//! What `BlobStore` promises.
