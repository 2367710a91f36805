//! Core modules become components.

use wit_component::ComponentEncoder;

use super::BuildError;
use super::metadata::Metadata;

/// Makes what a language built, a core module or a component, a component with its metadata
/// inside.
pub(super) fn finish(built: &[u8], metadata: &Metadata) -> Result<Vec<u8>, BuildError> {
    if is_component(built) {
        return metadata.embed(built);
    }
    metadata.embed(&from_core_module(&metadata.name, built)?)
}

/// Whether the bytes begin as those of a component do: the layer is 1, that of a module 0.
fn is_component(bytes: &[u8]) -> bool {
    bytes.get(..4) == Some(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

/// Wraps the core module of `package` into a component and validates it.
///
/// The module says in a custom section which world it was written for.
pub(super) fn from_core_module(package: &str, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Component {
            package: package.to_owned(),
            detail: format!("{error:#}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_world_is_refused_by_name() {
        let empty_module = b"\0asm\x01\0\0\0";
        // An empty module is a valid component without imports and exports.
        assert!(from_core_module("empty", empty_module).is_ok());
        let error = from_core_module("broken", b"not wasm").unwrap_err();
        assert!(
            error.to_string().starts_with("broken was compiled"),
            "{error}"
        );
    }
}
