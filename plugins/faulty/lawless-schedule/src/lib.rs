//! A schedule that keeps every law, or breaks the one that the parameter `fault` names, for the
//! tests of `incubate plugin check`: the rate is halved when the loss has not improved `patience`
//! times.

use incubate_plugin::{
    Description, Fault, Interval, Metric, Moment, Parameter, Schedule, Settings, export_schedule,
    log,
};

/// Everything that `fault` may be. No choices stand in the description, since a check tries them.
const FAULTS: &[&str] = &[
    "none",
    "nan-late",
    "negative",
    "infinite-base-zero",
    "forgets-state",
    "refuses-own-state",
    "restores-more",
    "impure",
    "traps-at-last",
    "traps-at-second",
    "faults-at-last",
    "traps-on-lost-loss",
    "restore-traps",
    "traps-at-bound",
    "hungry",
    "chatty",
];

struct LawlessSchedule {
    fault: String,
    patience: u32,
    per_update: bool,
    memory: Memory,
    calls: u32,
}

/// What the schedule remembers.
#[derive(Clone, Copy)]
struct Memory {
    best: f64,
    waited: u32,
    halvings: u32,
}

impl LawlessSchedule {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }
}

impl Schedule for LawlessSchedule {
    fn describe() -> Description {
        Description::new("Halves the rate when the loss stays, or breaks a law")
            .parameter(Parameter::text("fault", "The law to break").default("none"))
            .parameter(
                Parameter::integer("patience", "Evaluations to wait for")
                    .default(2)
                    .at_least(1.0)
                    .at_most(9.0),
            )
            .parameter(
                Parameter::text("per", "How often the rate changes")
                    .default("update")
                    .one_of(&["update", "epoch"]),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let fault: String = settings.get("fault")?;
        if !FAULTS.contains(&fault.as_str()) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let patience = settings.get("patience")?;
        assert!(fault != "traps-at-bound" || patience > 1, "at the bound");
        Ok(Self {
            fault,
            patience,
            per_update: settings.get::<&str>("per")? == "update",
            memory: Memory {
                best: f64::INFINITY,
                waited: 0,
                halvings: 0,
            },
            calls: 0,
        })
    }

    fn stepping(&self) -> Interval {
        if self.per_update {
            Interval::PerUpdate
        } else {
            Interval::PerEpoch
        }
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let last = moment.update + 1 >= moment.updates;
        let late = moment.updates > 50 && moment.update * 4 >= moment.updates * 3;
        let rate = moment.base_rate * 0.5_f64.powi(self.memory.halvings as i32);
        match self.fault.as_str() {
            "nan-late" if late => Ok(f64::NAN),
            "negative" if late => Ok(-rate),
            "infinite-base-zero" if moment.base_rate == 0.0 => Ok(1.0 / moment.base_rate),
            "traps-at-last" if last && moment.updates > 1 => panic!("at the last update"),
            "traps-at-second" if moment.update == 1 => panic!("at the second update"),
            "faults-at-last" if last && moment.updates > 1 => Err(Fault::invalid("too late")),
            "impure" => {
                self.calls += 1;
                Ok(rate
                    * if self.calls.is_multiple_of(2) {
                        1.0
                    } else {
                        0.5
                    })
            }
            "hungry" if last && moment.updates == 7 => {
                for step in 0..2_500_000_u32 {
                    std::hint::black_box(step);
                }
                Ok(rate)
            }
            "chatty" => {
                log::info(&"much ".repeat(600));
                Ok(rate)
            }
            _ => Ok(rate),
        }
    }

    fn observe(&mut self, _: &Moment, metrics: &[Metric]) -> Result<(), Fault> {
        let loss = metrics.iter().find(|metric| metric.name == "loss");
        let loss = loss.map_or(f64::INFINITY, |metric| metric.value);
        assert!(
            !self.is("traps-on-lost-loss") || !loss.is_nan(),
            "a lost loss"
        );
        let memory = &mut self.memory;
        if loss < memory.best {
            memory.best = loss;
            memory.waited = 0;
            return Ok(());
        }
        memory.waited += 1;
        if memory.waited >= self.patience {
            memory.waited = 0;
            memory.halvings += 1;
        }
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        let memory = self.memory;
        let mut state = memory.best.to_le_bytes().to_vec();
        if !self.is("forgets-state") {
            state.extend(memory.waited.to_le_bytes());
        }
        state.extend(memory.halvings.to_le_bytes());
        state
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        let words = if self.is("forgets-state") { 1 } else { 2 };
        if self.is("restore-traps") {
            assert_eq!(state.len(), 8 + 4 * words, "another state");
        }
        if state.len() != 8 + 4 * words || self.is("refuses-own-state") {
            return Err(Fault::invalid(format!("a state of {} bytes", state.len())));
        }
        let word = |index: usize| {
            let bytes = &state[8 + 4 * index..12 + 4 * index];
            u32::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
        let best = state[..8].try_into().unwrap_or_default();
        self.memory = Memory {
            best: f64::from_le_bytes(best),
            waited: if words == 2 { word(0) } else { 0 },
            halvings: word(words - 1) + u32::from(self.is("restores-more")),
        };
        Ok(())
    }
}

export_schedule!(LawlessSchedule);
