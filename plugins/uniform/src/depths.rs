//! The division itself.

/// `blocks` into `modules` parts that differ by at most one, the larger ones first.
pub(crate) fn uniform(blocks: u32, modules: u32) -> Vec<u32> {
    let (depth, remainder) = (blocks / modules, blocks % modules);
    (0..modules)
        .map(|module| depth + u32::from(module < remainder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::uniform;

    #[test]
    fn the_remainder_goes_to_the_first_modules() {
        assert_eq!(uniform(12, 4), [3, 3, 3, 3]);
        assert_eq!(uniform(11, 4), [3, 3, 3, 2]);
        assert_eq!(uniform(5, 4), [2, 1, 1, 1]);
        assert_eq!(uniform(3, 1), [3]);
    }

    #[test]
    fn the_parts_sum_to_the_blocks() {
        for blocks in 1..40 {
            for modules in 1..=blocks {
                assert_eq!(uniform(blocks, modules).iter().sum::<u32>(), blocks);
            }
        }
    }
}
