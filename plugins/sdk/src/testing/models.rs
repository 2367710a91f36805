//! Models for a partition scheme, and the check of its division.

use crate::{Cost, Fault, ModuleDepth, Partition, Request};

/// A model of `blocks` equal blocks that is to be cut into `modules`: every cost has 1000
/// parameters, 2000 multiply-accumulate operations, 3000 bytes of activations, and no measured
/// time; devices are not limited.
pub fn request(blocks: u32, modules: u32) -> Request {
    let cost = |name: String| Cost {
        name,
        parameters: 1000,
        forward_macs: 2000,
        activation_bytes: 3000,
        milliseconds: None,
    };
    Request {
        entry: cost("entry".to_owned()),
        blocks: (0..blocks)
            .map(|block| cost(format!("blocks.{block}")))
            .collect(),
        exit: cost("exit".to_owned()),
        modules,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    }
}

/// The target depths and the meta depths of a division.
///
/// # Errors
///
/// The scheme fails, or its answer breaks a rule of the contract, which the host would not take.
pub fn divide<T: Partition>(scheme: &T, request: &Request) -> Result<(Vec<u32>, Vec<u32>), Fault> {
    let modules = scheme.divide(request)?;
    let (targets, metas): (Vec<u32>, Vec<u32>) = modules
        .iter()
        .map(|module| (module.target, module.meta))
        .unzip();
    let sum: u64 = targets.iter().copied().map(u64::from).sum();
    let blocks = request.blocks.len();
    if modules.len() != request.modules as usize {
        let found = modules.len();
        return Err(Fault::internal(format!(
            "the partition has {found} modules instead of {}",
            request.modules
        )));
    }
    if sum != blocks as u64 {
        return Err(Fault::internal(format!(
            "the partition {targets:?} has {sum} blocks, and the model has {blocks}"
        )));
    }
    let wrong = |module: &ModuleDepth| module.meta == 0 || module.meta > module.target;
    if let Some(index) = modules.iter().position(wrong) {
        let ModuleDepth { target, meta } = modules[index];
        return Err(Fault::internal(format!(
            "the meta module of module {index} has {meta} blocks, and its target module has {target}"
        )));
    }
    Ok((targets, metas))
}
