//! Policies: registries around a registry.
