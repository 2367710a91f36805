//! The optimal contiguous division, by dynamic programming (the linear partition problem).
//!
//! With `L(k, i, j)` the load of module `k` when it has the blocks `i..j`, the smallest possible
//! largest load of the modules `0..=k` on the blocks `0..j` is
//! `best(k, j) = min over i of max(best(k - 1, i), L(k, i, j))`. Prefix sums make this O(K n^2). Of
//! equally good cuts the earliest is taken, from the last cut to the first.

use std::fmt;
use std::ops::Range;

/// Load and memory of one block, of the entry, or of the exit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) load: f64,
    pub(crate) bytes: u64,
}

/// What trains one module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    /// Bytes available on it, if limited.
    pub(crate) cap: Option<u64>,
    /// Positive.
    pub(crate) speed: f64,
}

/// Blocks to divide, one module for each device; there are at least as many blocks as devices.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) entry: Item,
    pub(crate) blocks: Vec<Item>,
    pub(crate) exit: Item,
    pub(crate) devices: Vec<Device>,
}

/// No division fits: whatever the modules before it hold, this module is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooBig {
    pub(crate) module: usize,
    /// The fewest bytes that the module can have.
    pub(crate) bytes: u64,
    pub(crate) cap: u64,
}

impl fmt::Display for TooBig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "module {} needs at least {} bytes, and its device has {}",
            self.module, self.bytes, self.cap
        )
    }
}

/// The best division of some first blocks into some first modules.
#[derive(Clone, Copy, Debug)]
struct Best {
    largest: f64,
    /// Where the last of these modules begins.
    cut: usize,
}

impl Problem {
    /// The number of blocks of every module.
    pub(crate) fn solve(&self) -> Result<Vec<u32>, TooBig> {
        let sums = Sums::of(self);
        let (blocks, modules) = (self.blocks.len(), self.devices.len());
        // Before the first module there is one state: no block is taken.
        let mut reached = vec![None; blocks + 1];
        reached[0] = Some(0.0);
        let mut stages = Vec::with_capacity(modules);
        for module in 0..modules {
            let stage = sums.stage(module, &reached)?;
            reached = stage
                .iter()
                .map(|best| best.map(|best: Best| best.largest))
                .collect();
            stages.push(stage);
        }
        let mut depths = Vec::with_capacity(modules);
        let mut end = blocks;
        for stage in stages.iter().rev() {
            // Every reached state has a reached predecessor, down to the first module.
            let cut = stage[end].map_or(0, |best| best.cut);
            depths.push((end - cut) as u32);
            end = cut;
        }
        depths.reverse();
        Ok(depths)
    }
}

/// Prefix sums of loads and bytes.
struct Sums<'a> {
    problem: &'a Problem,
    loads: Vec<f64>,
    bytes: Vec<u128>,
}

impl<'a> Sums<'a> {
    fn of(problem: &'a Problem) -> Self {
        let (mut loads, mut bytes) = (vec![0.0], vec![0]);
        let (mut load, mut sum) = (0.0, 0);
        for block in &problem.blocks {
            load += block.load;
            sum += u128::from(block.bytes);
            loads.push(load);
            bytes.push(sum);
        }
        Self {
            problem,
            loads,
            bytes,
        }
    }

    /// Where `module` may end: every module after it needs a block, and the last takes the rest.
    fn ends(&self, module: usize) -> Range<usize> {
        let (blocks, modules) = (self.problem.blocks.len(), self.problem.devices.len());
        let last = blocks - (modules - 1 - module);
        let first = if module + 1 == modules {
            blocks
        } else {
            module + 1
        };
        first..last + 1
    }

    /// The best divisions of the modules up to `module`, for every end that fits.
    fn stage(&self, module: usize, reached: &[Option<f64>]) -> Result<Vec<Option<Best>>, TooBig> {
        let device = self.problem.devices[module];
        let mut stage: Vec<Option<Best>> = vec![None; reached.len()];
        let mut fewest = u128::MAX;
        for end in self.ends(module) {
            for (start, largest) in reached.iter().enumerate().take(end) {
                let Some(largest) = *largest else { continue };
                let bytes = self.bytes(module, start..end);
                fewest = fewest.min(bytes);
                if device.cap.is_some_and(|cap| bytes > u128::from(cap)) {
                    continue;
                }
                let largest = largest.max(self.load(module, start..end));
                if stage[end].is_none_or(|best| largest < best.largest) {
                    stage[end] = Some(Best {
                        largest,
                        cut: start,
                    });
                }
            }
        }
        match device.cap {
            Some(cap) if stage.iter().all(Option::is_none) => Err(TooBig {
                module,
                bytes: u64::try_from(fewest).unwrap_or(u64::MAX),
                cap,
            }),
            _ => Ok(stage),
        }
    }

    fn load(&self, module: usize, blocks: Range<usize>) -> f64 {
        let own = self.loads[blocks.end] - self.loads[blocks.start];
        let ends: f64 = self.owned_ends(module).map(|item| item.load).sum();
        (own + ends) / self.problem.devices[module].speed
    }

    fn bytes(&self, module: usize, blocks: Range<usize>) -> u128 {
        let own = self.bytes[blocks.end] - self.bytes[blocks.start];
        let ends: u128 = self
            .owned_ends(module)
            .map(|item| u128::from(item.bytes))
            .sum();
        own + ends
    }

    /// The entry for the first module, the exit for the last.
    fn owned_ends(&self, module: usize) -> impl Iterator<Item = Item> {
        let first = (module == 0).then_some(self.problem.entry);
        let last = (module + 1 == self.problem.devices.len()).then_some(self.problem.exit);
        first.into_iter().chain(last)
    }
}

#[cfg(test)]
mod tests;
