//! Builds plugins from source into components.
