//! Integration tests.

mod builder;
mod plugin;
