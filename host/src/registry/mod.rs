//! Plugins and trained modules from elsewhere: references, registries that speak the OCI
//! distribution protocol, https, and signatures.
//!
//! Nothing that comes over the network is believed: sizes are bounded, digests are compared, and what
//! is inside a component is checked by the sandbox as for any file. Only the store writes files,
//! and it writes them under the digest of their bytes.

mod client;
mod credentials;
mod error;
mod reference;
mod transport;
mod unit;

pub use client::{Artefact, At, Blob, Layer, RegistryClient};
pub use error::{Problem, RegistryError};
pub use reference::{Reference, ReferenceError, RegistryReference, Repository, Wanted};
pub use transport::{Access, MOST_BYTES, download};
pub use unit::{MOST_UNIT_BYTES, UnitPlace, UnitPlaceError, unit_artefact, unit_of};
