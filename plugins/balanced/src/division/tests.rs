//! The division against brute force on generated problems.

use super::*;

/// Small whole numbers from a linear congruential generator (Knuth's constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn item(&mut self) -> Item {
        Item {
            load: self.below(20) as f64,
            bytes: self.below(20),
        }
    }

    fn problem(&mut self) -> Problem {
        let blocks = 1 + self.below(9);
        let modules = 1 + self.below(blocks.min(5));
        Problem {
            entry: self.item(),
            blocks: (0..blocks).map(|_| self.item()).collect(),
            exit: self.item(),
            devices: (0..modules)
                .map(|_| Device {
                    cap: (self.below(2) == 0).then(|| 10 + self.below(80)),
                    speed: [0.5, 1.0, 2.0][self.below(3) as usize],
                })
                .collect(),
        }
    }
}

/// Every way to write `blocks` as a sum of `modules` positive depths.
fn divisions(blocks: usize, modules: usize) -> Vec<Vec<u32>> {
    if modules == 1 {
        return vec![vec![blocks as u32]];
    }
    let mut all = Vec::new();
    for last in 1..=blocks - (modules - 1) {
        for mut rest in divisions(blocks - last, modules - 1) {
            rest.push(last as u32);
            all.push(rest);
        }
    }
    all
}

/// The largest load of a division, or nothing when a module exceeds its cap.
fn largest_load(problem: &Problem, depths: &[u32]) -> Option<f64> {
    let mut start = 0;
    let mut largest = 0.0_f64;
    for (module, depth) in depths.iter().enumerate() {
        let end = start + *depth as usize;
        let mut items = problem.blocks[start..end].to_vec();
        if module == 0 {
            items.push(problem.entry);
        }
        if module + 1 == depths.len() {
            items.push(problem.exit);
        }
        let device = problem.devices[module];
        let bytes: u64 = items.iter().map(|item| item.bytes).sum();
        if device.cap.is_some_and(|cap| bytes > cap) {
            return None;
        }
        let load: f64 = items.iter().map(|item| item.load).sum();
        largest = largest.max(load / device.speed);
        start = end;
    }
    Some(largest)
}

#[test]
fn the_division_is_as_good_as_brute_force() {
    let mut numbers = Numbers(7);
    let (mut solved, mut refused) = (0, 0);
    for case in 0..600 {
        let problem = numbers.problem();
        let best = divisions(problem.blocks.len(), problem.devices.len())
            .iter()
            .filter_map(|depths| largest_load(&problem, depths))
            .reduce(f64::min);
        match (problem.solve(), best) {
            (Ok(depths), Some(best)) => {
                assert_eq!(
                    largest_load(&problem, &depths),
                    Some(best),
                    "case {case}: {depths:?} of {problem:?}"
                );
                solved += 1;
            }
            (Err(_), None) => refused += 1,
            (found, expected) => panic!("case {case}: {found:?}, not {expected:?}: {problem:?}"),
        }
    }
    assert!(
        solved > 200 && refused > 50,
        "{solved} solved, {refused} refused"
    );
}

fn problem(loads: &[f64], modules: usize) -> Problem {
    let nothing = Item {
        load: 0.0,
        bytes: 0,
    };
    Problem {
        entry: nothing,
        blocks: loads
            .iter()
            .map(|&load| Item {
                load,
                bytes: load as u64,
            })
            .collect(),
        exit: nothing,
        devices: vec![
            Device {
                cap: None,
                speed: 1.0
            };
            modules
        ],
    }
}

#[test]
fn equal_blocks_are_divided_evenly_and_ties_cut_early() {
    assert_eq!(problem(&[1.0; 12], 4).solve().unwrap(), [3, 3, 3, 3]);
    assert_eq!(problem(&[1.0; 13], 4).solve().unwrap(), [3, 3, 3, 4]);
    assert_eq!(problem(&[1.0; 3], 1).solve().unwrap(), [3]);
}

#[test]
fn the_entry_burdens_the_first_module_and_the_exit_the_last() {
    let mut problem = problem(&[1.0; 6], 2);
    problem.entry.load = 2.0;
    assert_eq!(problem.solve().unwrap(), [2, 4]);
    problem.entry.load = 0.0;
    problem.exit.load = 2.0;
    assert_eq!(problem.solve().unwrap(), [4, 2]);
}

#[test]
fn a_fast_device_gets_more_blocks() {
    let mut problem = problem(&[1.0; 6], 2);
    problem.devices[0].speed = 2.0;
    assert_eq!(problem.solve().unwrap(), [4, 2]);
}

#[test]
fn a_cap_moves_the_cut_and_an_impossible_one_is_named() {
    let mut problem = problem(&[3.0; 6], 2);
    problem.devices[0].cap = Some(6);
    assert_eq!(problem.solve().unwrap(), [2, 4]);
    problem.devices[1].cap = Some(9);
    let too_big = problem.solve().unwrap_err();
    assert_eq!(
        too_big.to_string(),
        "module 1 needs at least 12 bytes, and its device has 9"
    );
    problem.devices[0].cap = Some(2);
    assert_eq!(problem.solve().unwrap_err().module, 0);
}
