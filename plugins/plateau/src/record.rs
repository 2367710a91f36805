//! What is remembered from one evaluation to the next, and its bytes.

use incubate_plugin::Fault;

/// When a value is better than another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// Whether larger is better.
    pub(crate) higher: bool,
    pub(crate) threshold: f64,
    /// Whether the threshold is a difference rather than a part of the best value.
    pub(crate) absolute: bool,
}

impl Comparison {
    /// A value that is not a number is not better than anything.
    fn better(self, value: f64, best: f64) -> bool {
        match (self.higher, self.absolute) {
            (false, false) => value < best * (1.0 - self.threshold),
            (false, true) => value < best - self.threshold,
            (true, false) => value > best * (self.threshold + 1.0),
            (true, true) => value > best + self.threshold,
        }
    }
}

/// The evaluations so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The best value; infinitely bad before the first.
    best: f64,
    /// Evaluations since the best one, those of a cooldown excepted.
    bad: u32,
    /// Evaluations that are left of the cooldown.
    cooldown: u32,
    /// The rate as a part of the base rate.
    pub(crate) reduction: f64,
}

impl Record {
    const BYTES: usize = 24;

    pub(crate) const fn new(comparison: Comparison) -> Self {
        Self {
            best: if comparison.higher {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            },
            bad: 0,
            cooldown: 0,
            reduction: 1.0,
        }
    }

    /// Takes in the value of an evaluation; whether the rate is to be reduced after it.
    pub(crate) fn note(
        &mut self,
        value: f64,
        comparison: Comparison,
        patience: u32,
        cooldown: u32,
    ) -> bool {
        if comparison.better(value, self.best) {
            self.best = value;
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        let reduce = self.bad > patience;
        if reduce {
            self.cooldown = cooldown;
            self.bad = 0;
        }
        reduce
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(self.best.to_le_bytes());
        bytes.extend(self.reduction.to_le_bytes());
        bytes.extend(self.bad.to_le_bytes());
        bytes.extend(self.cooldown.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let foreign = || {
            Fault::invalid(format!(
                "a state of {} bytes was not saved by `plateau`",
                bytes.len()
            ))
            .with_hint("the state belongs to another plugin, or is damaged")
        };
        let (eights, rest) = bytes.as_chunks::<8>();
        let &[best, reduction, counts] = eights else {
            return Err(foreign());
        };
        let (best, reduction) = (f64::from_le_bytes(best), f64::from_le_bytes(reduction));
        let counts = u64::from_le_bytes(counts);
        if !rest.is_empty() || best.is_nan() || !(0.0..=1.0).contains(&reduction) {
            return Err(foreign());
        }
        Ok(Self {
            best,
            reduction,
            bad: counts as u32,
            cooldown: (counts >> 32) as u32,
        })
    }
}
