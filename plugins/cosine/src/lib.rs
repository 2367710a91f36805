//! Learning-rate schedule `cosine`: half a cosine with warm-up and restarts, with the semantics of
//! timm's `CosineLRScheduler`.

mod curve;

use curve::Cosine;
use incubate_plugin::{Description, Fault, Interval, Moment, Schedule, Settings, export_schedule};

impl Schedule for Cosine {
    fn describe() -> Description {
        Description::new(
            "Half a cosine from the base rate to the smallest rate, with warm-up and restarts",
        )
        .parameters(Self::parameters())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Self::from_settings(settings)
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.at(moment)
    }
}

export_schedule!(Cosine);
