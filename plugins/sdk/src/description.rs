//! What a plugin says about itself.

use crate::Parameter;

/// What a plugin does and what can be set. Its name and version are those of its package, which the
/// export macros fill in.
///
/// ```
/// use incubate_plugin::{Description, Parameter};
///
/// let description = Description::new("Cross-entropy that dwells on hard pictures").parameter(
///     Parameter::number("gamma", "Exponent of the weight of easy pictures")
///         .default(2.0)
///         .at_least(0.0),
/// );
/// assert_eq!(description.parameters[0].name, "gamma");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// One sentence.
    pub summary: String,
    /// What a person may set, in the order in which it is shown.
    pub parameters: Vec<Parameter>,
}

impl Description {
    /// A plugin without parameters; `summary` is one sentence.
    pub fn new(summary: &str) -> Self {
        Self {
            summary: summary.to_owned(),
            parameters: Vec::new(),
        }
    }

    /// One more parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// More parameters.
    #[must_use]
    pub fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }
}
