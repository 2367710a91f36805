//! The curve: `base_rate`, behind the warm-up of [`Timeline`].

use guest::timeline::{Moment, Timeline};
use guest::{Fault, Parameter, Settings};

/// A constant rate.
#[derive(Debug)]
pub(crate) struct Constant {
    pub(crate) timeline: Timeline,
}

impl Constant {
    pub(crate) fn parameters() -> Vec<Parameter> {
        Timeline::parameters()
    }

    pub(crate) fn from_settings(settings: Settings<'_>) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::from_settings(settings)?,
        })
    }

    pub(crate) fn rate(&self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |_| Ok(moment.base_rate))
    }
}

#[cfg(test)]
mod tests {
    use guest::timeline::Per;

    use super::*;

    #[test]
    fn the_base_rate_follows_the_warm_up() {
        let constant = Constant {
            timeline: Timeline {
                per: Per::Epoch,
                warmup: 2.0,
                warmup_rate: 0.0,
                warmup_prefix: false,
            },
        };
        let rates = [0.0, 1.0, 2.0, 9.0].map(|epoch| {
            let moment = Moment {
                update: 0,
                updates: 100,
                epoch,
                epochs: 10,
                base_rate: 0.5,
            };
            constant.rate(&moment).unwrap()
        });
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.5]);
    }
}
