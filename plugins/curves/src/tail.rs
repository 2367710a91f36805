//! The end of a phase, in which the rate falls to the smallest rate.

use incubate_plugin::timeline::Axis;
use incubate_plugin::{Duration, Fault};

use crate::{Descent, Floor};

/// The last part of a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Its length.
    pub length: Duration,
    /// The way down.
    pub descent: Descent,
    /// Where it leads.
    pub floor: Floor,
}

impl Tail {
    /// The rate where it would be `rate` without this end of the phase. It is never below the
    /// smallest rate.
    pub fn rate(&self, axis: &Axis, rate: f64, base_rate: f64) -> f64 {
        let (floor, length) = (self.floor.of(base_rate), axis.of(self.length));
        let rate = rate.max(floor);
        let time = axis.time - (axis.length - length);
        if time <= 0.0 || length == 0.0 {
            return rate;
        }
        floor + (rate - floor) * self.descent.left((time / length).min(1.0))
    }

    /// Refuses a phase that is too short for a warm-up and this end; `name` is the parameter with
    /// the length of the end.
    ///
    /// # Errors
    ///
    /// Both together are longer than the phase.
    pub fn fits(&self, axis: &Axis, warmup: Duration, name: &str) -> Result<(), Fault> {
        // Shares that add up to the whole phase may be a rounding above it.
        let whole = axis.length * (1.0 + 1e-9);
        if axis.of(warmup) + axis.of(self.length) <= whole {
            return Ok(());
        }
        Err(Fault::invalid(format!(
            "`warmup` and `{name}` are longer than the phase together"
        ))
        .with_hint("shorten one of them, or give the phase more epochs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis {
        time: 0.0,
        length: 100.0,
        epoch: 10.0,
        update: 1.0,
    };

    const TAIL: Tail = Tail {
        length: Duration::Percent(20.0),
        descent: Descent::Linear,
        floor: Floor {
            rate: 0.2,
            ratio: None,
        },
    };

    #[test]
    fn the_rate_falls_at_the_end_and_not_below_the_floor() {
        let rate = |time, rate| TAIL.rate(&Axis { time, ..AXIS }, rate, 1.0);
        assert_eq!((rate(0.0, 1.0), rate(80.0, 1.0)), (1.0, 1.0));
        assert!((rate(90.0, 1.0) - 0.6).abs() < 1e-15);
        assert!((rate(100.0, 1.0) - 0.2).abs() < 1e-15);
        assert!((rate(120.0, 1.0) - 0.2).abs() < 1e-15);
        assert_eq!(rate(50.0, 0.1), 0.2);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fits = |warmup| TAIL.fits(&AXIS, warmup, "decay");
        assert_eq!(fits(Duration::Percent(80.0)), Ok(()));
        assert_eq!(fits(Duration::Epochs(8.0)), Ok(()));
        let fault = fits(Duration::Updates(81.0)).unwrap_err();
        assert!(fault.message.contains("`decay`"), "{fault:?}");
    }
}
