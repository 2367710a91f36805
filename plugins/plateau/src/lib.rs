//! Learning-rate schedule `plateau`: a factor whenever a metric has not improved for some evaluations,
//! with the semantics of torch's `ReduceLROnPlateau`, behind the warm-up of timm's
//! `PlateauLRScheduler`. Unlike timm's, it goes on after an interruption as if there had been none.
//!
//! Evaluations up to the end of the warm-up are not looked at.

mod record;

use curves::Floor;
use incubate_plugin::timeline::Timeline;
use incubate_plugin::{
    Description, Fault, Interval, Metric, Moment, Parameter, Schedule, Settings, export_schedule,
};
use record::{Comparison, Record};

struct Plateau {
    timeline: Timeline,
    floor: Floor,
    metric: String,
    comparison: Comparison,
    factor: f64,
    patience: u32,
    cooldown: u32,
    /// Reductions by less than this are not made.
    min_change: f64,
    record: Record,
}

impl Schedule for Plateau {
    fn describe() -> Description {
        let count = |name: &str, summary: &str, usual: i64| {
            Parameter::integer(name, summary)
                .default(usual)
                .at_least(0.0)
                .at_most(1e6)
        };
        Description::new(
            "Falls by a factor whenever a metric has not improved for a while (ReduceLROnPlateau)",
        )
        .parameter(
            Parameter::text("metric", "What is looked at after every evaluation").default("loss"),
        )
        .parameter(
            Parameter::text(
                "mode",
                "Whether smaller or larger is better; `min`, and for `accuracy` `max`, when not given",
            )
            .optional()
            .one_of(&["min", "max"]),
        )
        .parameter(
            Parameter::number("factor", "Factor of every reduction; less than 1")
                .default(0.1)
                .at_least(0.0)
                .at_most(1.0),
        )
        .parameter(count(
            "patience",
            "Evaluations without improvement that are put up with",
            10,
        ))
        .parameter(
            Parameter::number("threshold", "What counts as an improvement")
                .default(1e-4)
                .at_least(0.0),
        )
        .parameter(
            Parameter::text(
                "threshold_mode",
                "Whether the threshold is a part of the best value or a difference from it",
            )
            .default("relative")
            .one_of(&["relative", "absolute"]),
        )
        .parameter(count(
            "cooldown",
            "Evaluations after a reduction that are not counted",
            0,
        ))
        .parameter(
            Parameter::number("min_change", "Reductions by less than this are not made")
                .default(1e-8)
                .at_least(0.0),
        )
        .parameters(Floor::parameters(0.0))
        .parameters(Timeline::parameters())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let metric: String = settings.get("metric")?;
        let mode: Option<&str> = settings.get("mode")?;
        let comparison = Comparison {
            higher: mode.map_or(metric == "accuracy", |mode| mode == "max"),
            threshold: settings.get("threshold")?,
            absolute: settings.get::<&str>("threshold_mode")? == "absolute",
        };
        let plateau = Self {
            timeline: Timeline::configure(settings)?,
            floor: Floor::configure(settings)?,
            metric,
            comparison,
            factor: settings.get("factor")?,
            patience: settings.get("patience")?,
            cooldown: settings.get("cooldown")?,
            min_change: settings.get("min_change")?,
            record: Record::new(comparison),
        };
        if plateau.factor >= 1.0 {
            return Err(Fault::invalid("`factor` is 1, which reduces nothing")
                .with_hint("give less than 1"));
        }
        Ok(plateau)
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline
            .rate(moment, |_| Ok(moment.base_rate * self.record.reduction))
    }

    fn observe(&mut self, moment: &Moment, metrics: &[Metric]) -> Result<(), Fault> {
        let Some(metric) = metrics.iter().find(|metric| metric.name == self.metric) else {
            let known: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
            return Err(Fault::invalid(format!(
                "the evaluation gave no `{}`",
                self.metric.chars().take(40).collect::<String>()
            ))
            .with_hint(format!("it gave {}", known.join(", "))));
        };
        let axis = self.timeline.axis(moment);
        if axis.time <= axis.of(self.timeline.warmup) {
            return Ok(());
        }
        let record = &mut self.record;
        if record.note(metric.value, self.comparison, self.patience, self.cooldown) {
            let old = moment.base_rate * record.reduction;
            let new = (old * self.factor).max(self.floor.of(moment.base_rate));
            if old - new > self.min_change {
                record.reduction = new / moment.base_rate;
            }
        }
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        self.record.to_bytes()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        self.record = Record::from_bytes(state)?;
        Ok(())
    }
}

export_schedule!(Plateau);

#[cfg(test)]
mod tests;
