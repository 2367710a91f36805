//! Partition scheme `front-light`: `n / K` blocks for every module; the remainder, one block each,
//! goes to the last modules.

use incubate_plugin::{
    Description, Fault, ModuleDepth, Partition, Request, Settings, division, export_partition,
};

struct FrontLight {
    meta_depth: u32,
}

impl Partition for FrontLight {
    fn describe() -> Description {
        Description::new(
            "The same number of blocks for every module, the remainder to the last ones",
        )
        .parameter(division::meta_depth_parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            meta_depth: settings.get("meta_depth")?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        division::check_modules(request)?;
        let (blocks, modules) = (request.blocks.len() as u32, request.modules);
        let (depth, remainder) = (blocks / modules, blocks % modules);
        let targets = (0..modules).map(|module| depth + u32::from(module >= modules - remainder));
        division::with_meta_depth(targets, self.meta_depth)
    }
}

export_partition!(FrontLight);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::{divide, request};

    use super::*;

    #[test]
    fn the_remainder_goes_to_the_last_modules() {
        let depths = |blocks, modules| {
            let (targets, metas) =
                divide(&FrontLight { meta_depth: 1 }, &request(blocks, modules))?;
            assert!(metas.iter().all(|&meta| meta == 1));
            Ok::<_, Fault>(targets)
        };
        assert_eq!(depths(12, 4).unwrap(), [3, 3, 3, 3]);
        assert_eq!(depths(11, 4).unwrap(), [2, 3, 3, 3]);
        assert_eq!(depths(5, 4).unwrap(), [1, 1, 1, 2]);
        assert!(depths(3, 4).is_err());
        assert!(depths(3, 0).is_err());
    }

    #[test]
    fn a_meta_module_is_no_deeper_than_its_target() {
        let scheme = FrontLight { meta_depth: 3 };
        assert!(divide(&scheme, &request(12, 4)).is_ok());
        assert!(divide(&scheme, &request(11, 4)).is_err());
    }
}
