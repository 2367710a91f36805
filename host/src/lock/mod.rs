//! `incubate.lock`: which bytes the references of an experiment stand for.
//!
//! The file lies beside the experiment, or in the working directory for an experiment that is built
//! in. A plugin that is pinned in it is used with these bytes or not at all: nothing but
//! `plugin add`, `plugin update`, and `plugin remove` changes a pin. A run adds pins for plugins
//! from registries and addresses that have none yet, and says so.

mod error;
mod file;
mod pin;
mod project;

pub use error::LockError;
pub use file::{LOCK, LockFile};
pub use pin::{Change, Pin, PinnedParameter};
pub use project::{Project, Update, Usage, write_pulled};
