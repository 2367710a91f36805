//! Plugins and trained modules from elsewhere: registries that speak the OCI
//! distribution protocol, https, and signatures.
//!
//! Nothing that comes over the network is believed: sizes are bounded, digests are compared, and what
//! is inside a component is checked by the sandbox as for any file. Only the store writes files,
//! and it writes them under the digest of their bytes.

mod client;
mod component;
mod credentials;
mod error;
mod publish;
mod session;
mod signature;
mod store;
mod transport;
mod unit;

pub use client::{Artefact, At, Blob, Layer, RegistryClient};
pub use component::{
    COMPONENT_CONFIG, COMPONENT_LAYER, SIGNATURE_ANNOTATION, artefact, component_of,
};
pub use error::{Problem, RegistryError};
pub use publish::{PublishError, Published, publish};

pub(crate) use signature::check as check_signature;
pub use signature::{Signed, Trust, TrustError};
pub use store::Store;
pub(crate) use store::write_whole;
pub use transport::{Access, MOST_BYTES, download};
pub use unit::{MOST_UNIT_BYTES, UnitPlace, UnitPlaceError, unit_artefact, unit_of};
