//! Cycles with restarts, as timm's cosine, polynomial, and tanh schedules have them (SGDR, Loshchilov
//! and Hutter 2017), and torch's `CosineAnnealingWarmRestarts` without an end.
//!
//! Cycle `i` has the length `T_i = T_0 cycle_mul^i`. With `t` the time since its start,
//! `x = t^k / T_i^k`, and `d = cycle_decay^i`, the rate is `m + (d base_rate - m) shape(x)`, where
//! `m` is the smallest rate, times `d` unless `cycle_decay_min` is false. After the last cycle it is
//! the smallest rate. That both ends of a cycle decay is how timm 0.3.2 does it, the version that
//! Deep Incubation was trained with; later versions let only the base rate decay. The exponent `k`
//! is from later versions.

use incubate_plugin::timeline::Point;
use incubate_plugin::{Duration, Fault, Parameter, Settings};

use crate::Floor;

/// More cycles than a phase has, where their number is open.
const MANY: u32 = 1000;

/// The cycles of a curve, and what it falls to in each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycles {
    /// The smallest rate.
    pub floor: Floor,
    /// Their number; 0 for as many as there is time for.
    pub cycles: u32,
    /// The length of the first; without it the cycles fill the phase.
    pub first: Option<Duration>,
    /// The length of a cycle relative to the one before.
    pub mul: f64,
    /// The rates of a cycle relative to those of the one before.
    pub decay: f64,
    /// Whether the smallest rate decays with the cycles.
    pub decay_min: bool,
    /// Exponent of the time within a cycle.
    pub k_decay: f64,
}

/// A position within a cycle, in the unit of the timeline.
#[derive(Clone, Copy, Debug)]
struct Position {
    index: f64,
    time: f64,
    length: f64,
}

impl Cycles {
    /// One cycle that fills the phase.
    pub const fn one(floor: Floor) -> Self {
        Self {
            floor,
            cycles: 1,
            first: None,
            mul: 1.0,
            decay: 1.0,
            decay_min: true,
            k_decay: 1.0,
        }
    }

    /// The parameters of [`Floor`] with the smallest rate `min_rate`.
    pub fn floor_parameters(min_rate: f64) -> [Parameter; 2] {
        Floor::parameters(min_rate)
    }

    /// The parameters `cycles`, `cycle_epochs`, `cycle_mul`, `cycle_decay`, `cycle_decay_min`, and
    /// `k_decay`.
    pub fn parameters() -> [Parameter; 6] {
        let number =
            |name: &str, summary: &str| Parameter::number(name, summary).default(1.0).at_least(0.0);
        [
            Parameter::integer(
                "cycles",
                "Number of cycles; 0 for as many as there is time for, which needs `cycle_epochs`",
            )
            .default(1)
            .at_least(0.0)
            .at_most(f64::from(MANY)),
            Parameter::duration(
                "cycle_epochs",
                "Length of the first cycle, without which the cycles fill the phase",
            )
            .optional(),
            number(
                "cycle_mul",
                "Length of a cycle relative to the one before; more than 0",
            ),
            number(
                "cycle_decay",
                "Rates of a cycle relative to those of the one before",
            ),
            Parameter::boolean(
                "cycle_decay_min",
                "Whether the smallest rate decays with the cycles, as in timm 0.3.2 and not in later ones",
            )
            .default(true),
            number(
                "k_decay",
                "Exponent of the time within a cycle; more than 0, larger falls later",
            ),
        ]
    }

    /// The values of [`Self::parameters`] and [`Self::floor_parameters`].
    ///
    /// # Errors
    ///
    /// A value is missing or 0 where that has no meaning.
    pub fn configure(settings: &Settings) -> Result<Self, Fault> {
        let first: Option<Duration> = settings.get("cycle_epochs")?;
        let cycles = Self {
            floor: Floor::configure(settings)?,
            cycles: settings.get("cycles")?,
            first: first
                .map(|first| first.positive("cycle_epochs"))
                .transpose()?,
            mul: settings.get("cycle_mul")?,
            decay: settings.get("cycle_decay")?,
            decay_min: settings.get("cycle_decay_min")?,
            k_decay: settings.get("k_decay")?,
        };
        for (name, value) in [("cycle_mul", cycles.mul), ("k_decay", cycles.k_decay)] {
            if value <= 0.0 {
                return Err(Fault::invalid(format!("`{name}` is 0"))
                    .with_hint("give a number that is more than 0"));
            }
        }
        if cycles.cycles == 0 && cycles.first.is_none() {
            return Err(
                Fault::invalid("`cycles` is 0, and `cycle_epochs` is not given")
                    .with_hint("give the length of the first cycle, or the number of cycles"),
            );
        }
        Ok(cycles)
    }

    /// The rate at a point. `shape` leads from 1 at the start of a cycle to 0 at its end.
    ///
    /// # Errors
    ///
    /// The warm-up leaves no time for cycles that fill the phase.
    pub fn rate(
        &self,
        point: Point,
        base_rate: f64,
        shape: impl FnOnce(f64) -> f64,
    ) -> Result<f64, Fault> {
        let first = self.first_cycle(point)?;
        let floor = self.floor.of(base_rate);
        let Some(position) = self.position(point.time, first) else {
            return Ok(floor);
        };
        let decay = self.decay.powf(position.index);
        let floor = if self.decay_min { floor * decay } else { floor };
        let share = position.time.powf(self.k_decay) / position.length.powf(self.k_decay);
        Ok(floor + (base_rate * decay - floor) * shape(share.min(1.0)))
    }

    /// `T_0` in the unit of the timeline.
    fn first_cycle(&self, point: Point) -> Result<f64, Fault> {
        if let Some(first) = self.first {
            return Ok(point.axis.of(first));
        }
        if point.length <= 0.0 {
            return Err(
                Fault::invalid("the warm-up leaves nothing of the phase to the curve")
                    .with_hint("shorten `warmup`, or set `warmup_prefix` to false"),
            );
        }
        // The sum of a geometric series; for equal cycles its formula would divide by zero.
        let cycles = f64::from(self.cycles);
        let sum = if self.mul == 1.0 {
            cycles
        } else {
            (self.mul.powf(cycles) - 1.0) / (self.mul - 1.0)
        };
        Ok(point.length / sum)
    }

    /// Where in which cycle `time` falls, if it is not behind the last one.
    ///
    /// Boundaries are summed up rather than found by a logarithm, which can miss by one cycle.
    fn position(&self, time: f64, first: f64) -> Option<Position> {
        let last = if self.cycles == 0 {
            f64::INFINITY
        } else {
            f64::from(self.cycles)
        };
        if self.mul == 1.0 {
            let index = (time / first).floor();
            return (index < last).then_some(Position {
                index,
                time: time - first * index,
                length: first,
            });
        }
        let (mut start, mut length) = (0.0, first);
        let most = if self.cycles == 0 { MANY } else { self.cycles };
        for index in 0..most {
            if time < start + length {
                return Some(Position {
                    index: f64::from(index),
                    time: time - start,
                    length,
                });
            }
            start += length;
            length *= self.mul;
        }
        None
    }
}

#[cfg(test)]
mod tests;
