//! Builds plugins from source into components, and checks that committed components are what
//! their source gives.
//!
//! Invariant: with the same compiler, linker, cargo and source the bytes are equal, in whatever
//! folder they are built; everything that would put a path into them is mapped away.

mod build;
mod c;
mod cargo;
mod component;
mod contract;
mod error;
mod guests;
mod installation;
mod javascript;
mod language;
mod manifest;
mod metadata;
mod programs;
mod project;
mod python;
mod rust;
mod rust_sdk;
mod template;
mod toolchain;
mod watch;
mod world;
mod zig;

pub use build::{Check, Event, build, check};
pub use error::BuildError;
pub use language::{Lack, Language, Tool, Versions};
pub use manifest::{BuiltComponent, Manifest, ToolchainVersions};
pub use project::{PluginManifest, Project};
pub use template::{NewError, create, parse_kind, parse_language};
pub use watch::Watch;
