//! The curve of timm's `CosineLRScheduler` (SGDR, Loshchilov and Hutter 2017, equation 5), behind the
//! warm-up of [`Timeline`].
//!
//! In cycle `i` of length `T_i = T_0 cycle_mul^i`, at time `t` since the start of the cycle, and
//! with `d = cycle_decay^i`, the rate is
//! `d (min_rate + (base_rate - min_rate) (1 + cos(pi t^k / T_i^k)) / 2)`; after the last cycle it is
//! `min_rate`. That both ends of a cycle decay is how timm 0.3.2 does it, the version that Deep
//! Incubation was trained with; later versions let only the base rate decay. The exponent `k` is
//! from later versions.

use std::f64::consts::PI;

use incubate_plugin::timeline::{Point, Timeline};
use incubate_plugin::{Fault, Moment, Parameter, Settings};

/// A cosine with restarts.
#[derive(Debug)]
pub(crate) struct Cosine {
    pub(crate) timeline: Timeline,
    min_rate: f64,
    cycles: u32,
    /// `T_0` in epochs; without it the cycles fill the phase.
    cycle_epochs: Option<f64>,
    cycle_mul: f64,
    cycle_decay: f64,
    k_decay: f64,
}

impl Cosine {
    pub(crate) fn parameters() -> Vec<Parameter> {
        let number = |name: &str, default: f64, summary: &str| {
            Parameter::number(name, summary)
                .default(default)
                .at_least(0.0)
        };
        let mut parameters = vec![number(
            "min_rate",
            1e-5,
            "Rate at the end of every cycle, not scaled with the batch",
        )];
        parameters.extend(Timeline::parameters());
        parameters.extend([
            Timeline::prefix_parameter(),
            Parameter::integer("cycles", "Number of cycles")
                .default(1)
                .at_least(1.0)
                .at_most(1000.0),
            Parameter::number(
                "cycle_epochs",
                "Length of the first cycle in epochs; without it the cycles fill the phase",
            )
            .optional()
            .at_least(0.0),
            number(
                "cycle_mul",
                1.0,
                "Length of a cycle relative to the one before; more than 0",
            ),
            number(
                "cycle_decay",
                1.0,
                "Rates of a cycle relative to those of the one before",
            ),
            number(
                "k_decay",
                1.0,
                "Exponent of the time within a cycle; more than 0, larger falls later",
            ),
        ]);
        parameters
    }

    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, Fault> {
        let cosine = Self {
            timeline: Timeline::configure(settings)?,
            min_rate: settings.get("min_rate")?,
            cycles: settings.get("cycles")?,
            cycle_epochs: settings.get("cycle_epochs")?,
            cycle_mul: settings.get("cycle_mul")?,
            cycle_decay: settings.get("cycle_decay")?,
            k_decay: settings.get("k_decay")?,
        };
        let positive = [
            ("cycle_epochs", cosine.cycle_epochs.unwrap_or(1.0)),
            ("cycle_mul", cosine.cycle_mul),
            ("k_decay", cosine.k_decay),
        ];
        for (name, value) in positive {
            if value <= 0.0 {
                return Err(Fault::invalid(format!("`{name}` is {value}"))
                    .with_hint("give a number that is more than 0"));
            }
        }
        Ok(cosine)
    }

    pub(crate) fn at(&self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            let first = self.first_cycle(point)?;
            Ok(match self.cycle(point.time, first) {
                Some(cycle) => self.within(cycle, moment.base_rate),
                None => self.min_rate,
            })
        })
    }

    /// `T_0` in the unit of the timeline.
    fn first_cycle(&self, point: Point) -> Result<f64, Fault> {
        if let Some(epochs) = self.cycle_epochs {
            return Ok(epochs * point.epoch);
        }
        if point.length <= 0.0 {
            return Err(Fault::invalid(format!(
                "the warm-up of {} epochs leaves nothing of the phase to the cosine",
                self.timeline.warmup
            ))
            .with_hint("shorten `warmup`, or set `warmup_prefix` to false"));
        }
        // The sum of a geometric series; for equal cycles its formula would divide by zero.
        let cycles = f64::from(self.cycles);
        let sum = if self.cycle_mul == 1.0 {
            cycles
        } else {
            (self.cycle_mul.powf(cycles) - 1.0) / (self.cycle_mul - 1.0)
        };
        Ok(point.length / sum)
    }

    /// The cycle that `time` falls into, if it is not behind the last one.
    ///
    /// Boundaries are summed up rather than found by a logarithm, which can miss by one cycle.
    fn cycle(&self, time: f64, first: f64) -> Option<Cycle> {
        if self.cycle_mul == 1.0 {
            let index = (time / first).floor();
            return (index < f64::from(self.cycles)).then_some(Cycle {
                index,
                time: time - first * index,
                length: first,
            });
        }
        let (mut start, mut length) = (0.0, first);
        for index in 0..self.cycles {
            if time < start + length {
                return Some(Cycle {
                    index: f64::from(index),
                    time: time - start,
                    length,
                });
            }
            start += length;
            length *= self.cycle_mul;
        }
        None
    }

    fn within(&self, cycle: Cycle, base_rate: f64) -> f64 {
        let decay = self.cycle_decay.powf(cycle.index);
        let (base, minimum) = (base_rate * decay, self.min_rate * decay);
        let angle = PI * cycle.time.powf(self.k_decay) / cycle.length.powf(self.k_decay);
        minimum + 0.5 * (base - minimum) * (1.0 + angle.cos())
    }
}

/// A position within a cycle, in the unit of the timeline.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    index: f64,
    time: f64,
    length: f64,
}

#[cfg(test)]
mod tests;
