//! Learning-rate schedule `constant`: the base rate, after a warm-up if one is asked for.

use incubate_plugin::timeline::Timeline;
use incubate_plugin::{Description, Fault, Interval, Moment, Schedule, Settings, export_schedule};

struct Constant {
    timeline: Timeline,
}

impl Schedule for Constant {
    fn describe() -> Description {
        Description::new("The base rate, after a warm-up if one is asked for")
            .parameters(Timeline::parameters())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::configure(settings)?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |_| Ok(moment.base_rate))
    }
}

export_schedule!(Constant);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing;

    use super::*;

    #[test]
    fn the_base_rate_follows_the_warm_up() {
        let given = [("warmup", 2.into()), ("warmup_rate", 0.into())];
        let settings = testing::settings(&Constant::describe(), &given).unwrap();
        let mut constant = Constant::configure(&settings).unwrap();
        let rates = testing::rates(&mut constant, 10, 4, 0.5).unwrap();
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.5]);
    }
}
