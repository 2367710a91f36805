//! Python: not built by this version.

use super::language::{Lack, Language, Versions};
use super::project::Project;
use super::{BuildError, Event};

/// Says that there is no way to build it yet.
pub(super) fn find() -> Result<Versions, Lack> {
    Err(Lack {
        missing: "this version of the builder has no support for Python".to_owned(),
        install: Vec::new(),
    })
}

/// Refuses.
pub(super) fn build(
    _project: &Project,
    _report: &mut dyn FnMut(Event),
) -> Result<Vec<u8>, BuildError> {
    find()
        .map(|_| Vec::new())
        .map_err(|lack| BuildError::Lacks {
            language: Language::Python,
            lack,
        })
}
