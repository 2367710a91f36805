//! What the partition schemes share: one meta depth for every module.

use crate::{Fault, Parameter, SettingKind, SettingValue};

/// The parameter `meta_depth`.
pub fn meta_depth_parameter() -> Parameter {
    Parameter::new(
        "meta_depth",
        SettingKind::Integer,
        "Blocks of every meta module; at most as many as the smallest target module has",
    )
    .with_default(SettingValue::Integer(1))
    .at_least(1.0)
}

/// Fails when a target module has fewer blocks than the meta module that stands for it.
pub fn check_meta_depth(targets: &[u32], meta_depth: u32) -> Result<(), Fault> {
    let small = targets.iter().position(|&target| target < meta_depth);
    match small {
        None => Ok(()),
        Some(module) => Err(Fault::invalid(format!(
            "`meta_depth` is {meta_depth}, and module {module} has {} of the blocks",
            targets[module]
        ))
        .with_hint("lower `meta_depth`, or use fewer modules")),
    }
}

/// Fails unless K is from 1 to the number of blocks.
pub fn check_modules(blocks: usize, modules: u32) -> Result<(), Fault> {
    if modules == 0 || modules as usize > blocks {
        return Err(Fault::invalid(format!(
            "{blocks} blocks cannot be divided into {modules} modules"
        ))
        .with_hint("every module needs at least one block"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_module_has_at_most_the_blocks_of_its_target() {
        assert!(check_meta_depth(&[2, 3], 2).is_ok());
        let fault = check_meta_depth(&[3, 2], 3).unwrap_err();
        assert_eq!(
            fault.message,
            "`meta_depth` is 3, and module 1 has 2 of the blocks"
        );
    }

    #[test]
    fn every_module_needs_a_block() {
        assert!(check_modules(4, 4).is_ok());
        assert!(check_modules(4, 5).is_err());
        assert!(check_modules(4, 0).is_err());
    }
}
