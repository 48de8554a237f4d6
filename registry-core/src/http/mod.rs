//! The OCI protocol over HTTP, for any registry and under any web framework.
