//! The method: preparing a run, training one phase, assembling, evaluating, and counting.

mod assembly;
mod bench;
mod confusion;
mod cost;
mod difference;
mod division;
mod error;
mod evaluation;
mod exchange;
mod export;
mod fallback;
mod measurement;
mod metrics;
mod phase;
mod plan;
mod precision;
mod prepare;
mod ratio;
mod report;
mod runner;
mod start;
mod weights;

pub use bench::{Bench, BenchCall, BenchError, Native, bench};
pub use confusion::{ClassScore, Confusion, Mistake};
pub use cost::{EqualCompute, PhaseCost};
pub use error::{Listed, Place, TrainError};
pub use evaluation::{Answer, Answers, FIRST, Score, Validation};
pub use exchange::{ExchangeError, Received, check_weights, receive};
pub use export::{ExportLayout, Exported, export};
pub use plan::{Plan, PlannedNetwork, PlannedUnit};
pub use prepare::{Configured, PhasePlugins, Prepared, prepare};
pub use ratio::{Ratio, Ratios, UnitRatio};
pub use report::{Report, Row, Spent};
pub use runner::{ImportError, ImportOutcome, Runner};
