//! Builds plugins from source into components, and checks that committed components are what
//! their source gives.
//!
//! Invariant: with the same compiler, linker, cargo and source the bytes are equal, in whatever
//! folder they are built; everything that would put a path into them is mapped away.

mod build;
mod cargo;
mod component;
mod error;
mod guests;
mod manifest;
mod toolchain;

pub use build::{Check, Event, build, check};
pub use error::BuildError;
pub use manifest::{BuiltComponent, Manifest, ToolchainVersions};
