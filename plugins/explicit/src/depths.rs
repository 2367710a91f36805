//! Listed depths, and whether they fit a model.

use incubate_plugin::{Fault, ModuleDepth};

/// One target depth and one meta depth for every module.
#[derive(Debug)]
pub(crate) struct Depths {
    targets: Vec<u32>,
    metas: Vec<u32>,
}

impl Depths {
    /// Checks the lists against each other; without `metas` every meta module has one block.
    pub(crate) fn new(targets: Vec<u32>, metas: Option<Vec<u32>>) -> Result<Self, Fault> {
        let metas = metas.unwrap_or_else(|| vec![1; targets.len()]);
        if metas.len() != targets.len() {
            return Err(Fault::invalid(format!(
                "`meta_depths` has {} entries and `depths` has {}",
                metas.len(),
                targets.len()
            ))
            .with_hint("list one meta depth for every module"));
        }
        for (module, (target, meta)) in targets.iter().zip(&metas).enumerate() {
            if meta > target {
                return Err(Fault::invalid(format!(
                    "module {module} has {target} in `depths` and {meta} in `meta_depths`"
                ))
                .with_hint("a meta module has at most as many blocks as its target module"));
            }
        }
        Ok(Self { targets, metas })
    }

    /// Fails unless the lists divide `blocks` into `modules`.
    pub(crate) fn check(&self, blocks: usize, modules: u32) -> Result<(), Fault> {
        if self.targets.len() != modules as usize {
            return Err(Fault::invalid(format!(
                "`depths` has {} entries, and the experiment asks for {modules} modules",
                self.targets.len()
            ))
            .with_hint("list one depth for every module"));
        }
        let sum: u64 = self.targets.iter().map(|&target| u64::from(target)).sum();
        if sum != blocks as u64 {
            return Err(Fault::invalid(format!(
                "`depths` sum to {sum}, and the model has {blocks} blocks"
            ))
            .with_hint("change the depths or the depth of the model"));
        }
        Ok(())
    }

    /// Target and meta depth of every module.
    pub(crate) fn modules(&self) -> Vec<ModuleDepth> {
        let pairs = self.targets.iter().zip(&self.metas);
        pairs
            .map(|(&target, &meta)| ModuleDepth { target, meta })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(target: u32, meta: u32) -> ModuleDepth {
        ModuleDepth { target, meta }
    }

    #[test]
    fn meta_modules_have_one_block_unless_listed() {
        let depths = Depths::new(vec![2, 4], None).unwrap();
        assert!(depths.check(6, 2).is_ok());
        assert_eq!(depths.modules(), [module(2, 1), module(4, 1)]);
        let depths = Depths::new(vec![2, 4], Some(vec![1, 3])).unwrap();
        assert_eq!(depths.modules(), [module(2, 1), module(4, 3)]);
    }

    #[test]
    fn lists_that_do_not_fit_are_refused_with_the_numbers() {
        let message = |result: Result<(), Fault>| result.unwrap_err().message;
        let depths = Depths::new(vec![2, 4], None).unwrap();
        assert_eq!(
            message(depths.check(7, 2)),
            "`depths` sum to 6, and the model has 7 blocks"
        );
        assert_eq!(
            message(depths.check(6, 3)),
            "`depths` has 2 entries, and the experiment asks for 3 modules"
        );
        assert_eq!(
            message(Depths::new(vec![2, 4], Some(vec![1])).map(|_| ())),
            "`meta_depths` has 1 entries and `depths` has 2"
        );
        assert_eq!(
            message(Depths::new(vec![2, 4], Some(vec![3, 1])).map(|_| ())),
            "module 0 has 2 in `depths` and 3 in `meta_depths`"
        );
    }
}
