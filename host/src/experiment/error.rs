//! What can be wrong with an experiment.

use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;
use crate::model::ModelError;

/// An experiment that cannot be used.
#[derive(Debug, Error)]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error(
        "cannot read experiment `{path}`: {reason} (give the path of a TOML file, or one of the built-in experiments: {built_in})"
    )]
    Read {
        /// What the person gave.
        path: String,
        /// The system's reason.
        reason: String,
        /// Names of the built-in experiments.
        built_in: String,
    },
    /// No built-in experiment has this name.
    #[error("`{name}` is no experiment of this program{suggestion} (there are: {built_in})")]
    NotBuiltIn {
        /// What the person gave.
        name: String,
        /// The nearest name, in words.
        suggestion: String,
        /// Names of the built-in experiments.
        built_in: String,
    },
    /// The file is not TOML.
    #[error("`{}` is not valid TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason with the line.
        reason: String,
    },
    /// `--set` without a key or a value.
    #[error(
        "`--set {assignment}` is not of the form `key=value` (for example `--set meta.epochs=5`)"
    )]
    Assignment {
        /// What the person gave.
        assignment: String,
    },
    /// A key that no part of an experiment has.
    #[error("unknown key `{key}` from {source_name}{suggestion}")]
    UnknownKey {
        /// The dotted key.
        key: String,
        /// The layer that has it.
        source_name: String,
        /// The nearest key, in words.
        suggestion: String,
    },
    /// A key that every experiment must have.
    #[error("`{key}` is missing (write it into the experiment, or give `--set {key}=VALUE`)")]
    Missing {
        /// The dotted key.
        key: String,
    },
    /// A value of the wrong type.
    #[error("{reason} (from {source_name})")]
    Value {
        /// The parser's reason with the key.
        reason: String,
        /// The layers in force.
        source_name: String,
    },
    /// A value out of its range.
    #[error("`{key}` is {value}, {reason}")]
    Range {
        /// The dotted key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The pictures cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
}
