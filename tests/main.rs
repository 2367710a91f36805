//! Integration tests.

mod builder;
