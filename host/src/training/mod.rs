//! The method: preparing a run, training one phase, assembling, evaluating, and counting.

mod assembly;
mod bench;
mod cost;
mod division;
mod error;
mod evaluation;
mod exchange;
mod fallback;
mod measurement;
mod metrics;
mod phase;
mod plan;
mod prepare;
mod rates;
mod report;
mod runner;
mod weights;

pub use bench::{Bench, BenchCall, BenchError, Native, bench};
pub use cost::{EqualCompute, PhaseCost};
pub use error::{Place, TrainError};
pub use evaluation::{Score, evaluate};
pub use exchange::{ExchangeError, Received, check_weights, receive};
pub use plan::{Plan, PlannedUnit};
pub use prepare::{Configured, PhasePlugins, Prepared, prepare};
pub use rates::{PlannedRate, PlannedRates, planned_rates};
pub use report::{Report, Row, Spent};
pub use runner::Runner;
