//! What partition schemes share: one meta depth for every module, or a listed one for each.

use crate::{Fault, ModuleDepth, Parameter, Request};

/// The parameter `meta_depth`, an integer.
pub fn meta_depth_parameter() -> Parameter {
    Parameter::integer(
        "meta_depth",
        "Blocks of every meta module; at most as many as the smallest target module has",
    )
    .default(1)
    .at_least(1.0)
}

/// Target modules of `targets` blocks, each with a meta module of `meta_depth` blocks.
///
/// # Errors
///
/// A target module has fewer blocks than the meta module that stands for it.
pub fn with_meta_depth(
    targets: impl IntoIterator<Item = u32>,
    meta_depth: u32,
) -> Result<Vec<ModuleDepth>, Fault> {
    targets
        .into_iter()
        .enumerate()
        .map(|(module, target)| {
            if target < meta_depth {
                return Err(Fault::invalid(format!(
                    "`meta_depth` is {meta_depth}, and module {module} has {target} of the blocks"
                ))
                .with_hint("lower `meta_depth`, or use fewer modules"));
            }
            Ok(ModuleDepth {
                target,
                meta: meta_depth,
            })
        })
        .collect()
}

/// The parameter `meta_depths`, integers: one for each module, in place of `meta_depth`.
pub fn meta_depths_parameter() -> Parameter {
    Parameter::integers(
        "meta_depths",
        "Blocks of each meta module, in order, in place of `meta_depth`",
    )
    .optional()
    .at_least(1.0)
}

/// Target modules of `targets` blocks, each with a meta module of the blocks that `listed` has for
/// it, or all of `meta_depth` when nothing is listed.
///
/// # Errors
///
/// The list has not one entry for each module, or a target module has fewer blocks than the meta
/// module that stands for it.
pub fn with_meta_depths(
    targets: Vec<u32>,
    listed: Option<&[u32]>,
    meta_depth: u32,
) -> Result<Vec<ModuleDepth>, Fault> {
    let Some(listed) = listed else {
        return with_meta_depth(targets, meta_depth);
    };
    if listed.len() != targets.len() {
        return Err(Fault::invalid(format!(
            "`meta_depths` has {} entries, and there are {} modules",
            listed.len(),
            targets.len()
        ))
        .with_hint("list one meta depth for every module"));
    }
    let pairs = targets.into_iter().zip(listed).enumerate();
    pairs
        .map(|(module, (target, &meta))| {
            if target < meta {
                return Err(Fault::invalid(format!(
                    "`meta_depths` has {meta} for module {module}, which has {target} of the blocks"
                ))
                .with_hint("a meta module has at most as many blocks as its target module"));
            }
            Ok(ModuleDepth { target, meta })
        })
        .collect()
}

/// Fails unless K is from 1 to the number of blocks.
///
/// # Errors
///
/// K is 0, or above the number of blocks.
pub fn check_modules(request: &Request) -> Result<(), Fault> {
    let (blocks, modules) = (request.blocks.len(), request.modules);
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
    use crate::testing::request;

    #[test]
    fn a_meta_module_has_at_most_the_blocks_of_its_target() {
        let modules = with_meta_depth([2, 3], 2).unwrap();
        assert_eq!(modules[1], ModuleDepth { target: 3, meta: 2 });
        let fault = with_meta_depth([3, 2], 3).unwrap_err();
        assert_eq!(
            fault.message,
            "`meta_depth` is 3, and module 1 has 2 of the blocks"
        );
    }

    #[test]
    fn listed_meta_depths_take_the_place_of_one_for_all() {
        let metas = |listed: Option<&[u32]>| {
            with_meta_depths(vec![2, 3, 1], listed, 1)
                .map(|modules| modules.iter().map(|module| module.meta).collect::<Vec<_>>())
                .map_err(|fault| fault.message)
        };
        assert_eq!(metas(None).unwrap(), [1, 1, 1]);
        assert_eq!(metas(Some(&[2, 1, 1])).unwrap(), [2, 1, 1]);
        assert_eq!(
            metas(Some(&[2, 1])).unwrap_err(),
            "`meta_depths` has 2 entries, and there are 3 modules"
        );
        assert_eq!(
            metas(Some(&[2, 1, 2])).unwrap_err(),
            "`meta_depths` has 2 for module 2, which has 1 of the blocks"
        );
    }

    #[test]
    fn every_module_needs_a_block() {
        assert!(check_modules(&request(4, 4)).is_ok());
        assert!(check_modules(&request(4, 5)).is_err());
        assert!(check_modules(&request(4, 0)).is_err());
    }
}
