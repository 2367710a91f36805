//! Learning-rate schedules.

use crate::{Description, Fault, Settings, restore_nothing};

pub use crate::bindings::schedule::exports::incubate::plugin::schedule::{
    Group, Interval, Metric, Moment,
};

/// Answers the learning rate. [`export_schedule!`](crate::export_schedule) makes a component of it.
///
/// ```
/// use incubate_plugin::{Description, Fault, Moment, Schedule, Settings, export_schedule};
///
/// /// Falls to zero in a straight line.
/// pub struct Linear;
///
/// impl Schedule for Linear {
///     fn describe() -> Description {
///         Description::new("From the base rate to zero in a straight line")
///     }
///
///     fn configure(_: &Settings) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
///         Ok(moment.base_rate * (1.0 - moment.epoch / f64::from(moment.epochs)))
///     }
/// }
///
/// export_schedule!(Linear);
/// # fn main() {}
/// ```
///
/// [`Timeline`](crate::timeline::Timeline) adds a warm-up and the choice between epochs and updates.
pub trait Schedule: Sized + 'static {
    /// What the schedule does and what can be set. Must give the same answer at every call.
    fn describe() -> Description;

    /// The schedule with the settings that are in force.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, beyond what the description excludes already.
    fn configure(settings: &Settings) -> Result<Self, Fault>;

    /// How often the host asks for a rate: once an epoch, unless said otherwise.
    fn stepping(&self) -> Interval {
        Interval::PerEpoch
    }

    /// A finite rate, not negative.
    ///
    /// # Errors
    ///
    /// The schedule has no rate for this moment.
    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault>;

    /// Called after every evaluation with `loss` and `accuracy` of the validation pictures, which
    /// are ignored here.
    ///
    /// # Errors
    ///
    /// The schedule cannot go on.
    fn observe(&mut self, _moment: &Moment, _metrics: &[Metric]) -> Result<(), Fault> {
        Ok(())
    }

    /// Everything that [`rate`](Self::rate) and [`observe`](Self::observe) remember; empty when they
    /// remember nothing, as here.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The counterpart of [`save`](Self::save), called after [`configure`](Self::configure) in a
    /// new instance; here it refuses every state that is not empty.
    ///
    /// # Errors
    ///
    /// A state that was saved by something else.
    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        restore_nothing(state)
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) mod component {
    use std::marker::PhantomData;

    use crate::bindings::description::exports::incubate::plugin::description::{self, PluginInfo};
    use crate::bindings::schedule::exports::incubate::plugin::schedule as contract;
    use crate::export::{Hosted, plugin_info};
    use crate::{Fault, Interval, Metric, Moment, Schedule, Setting, Settings, report_panics};

    /// The exports of a schedule.
    #[derive(Debug)]
    pub struct ScheduleComponent<T>(PhantomData<T>);

    impl<T: Schedule + Hosted> description::Guest for ScheduleComponent<T> {
        fn describe() -> PluginInfo {
            plugin_info::<T>(T::describe())
        }
    }

    impl<T: Schedule + Hosted> contract::Guest for ScheduleComponent<T> {
        fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
            report_panics();
            T::place(|| T::configure(&Settings::new(settings)))
        }

        fn stepping() -> Interval {
            T::ask(|schedule| schedule.stepping())
        }

        fn rate(moment: Moment) -> Result<f64, Fault> {
            T::call(|schedule| schedule.rate(&moment))
        }

        fn observe(moment: Moment, metrics: Vec<Metric>) -> Result<(), Fault> {
            T::call(|schedule| schedule.observe(&moment, &metrics))
        }

        fn save() -> Vec<u8> {
            T::ask(|schedule| schedule.save())
        }

        fn restore(state: Vec<u8>) -> Result<(), Fault> {
            T::call(|schedule| schedule.restore(&state))
        }
    }
}
