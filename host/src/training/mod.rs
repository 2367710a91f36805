//! The method: preparing a run, training one phase, assembling, evaluating, and counting.

mod assembly;
mod bench;
mod cost;
mod division;
mod error;
mod evaluation;
mod exchange;
mod fallback;
mod guides;
mod measurement;
mod metrics;
mod phase;
mod plan;
mod prepare;
mod report;
mod runner;
mod teacher;
mod weights;

pub use bench::{Bench, BenchCall, BenchError, Native, bench};
pub use cost::{EqualCompute, PhaseCost};
pub use error::{Place, TrainError};
pub use evaluation::{Score, evaluate};
pub use exchange::{ExchangeError, Received, check_weights, receive};
pub use plan::{Plan, PlannedUnit};
pub use prepare::{Configured, LossPart, PhasePlugins, Prepared, prepare};
pub use report::{Report, Row, Spent};
pub use runner::Runner;
pub use teacher::TeacherFile;
