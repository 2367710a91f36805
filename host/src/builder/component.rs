//! Core modules become components.

use wit_component::ComponentEncoder;

use super::BuildError;

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
