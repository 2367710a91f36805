//! The training loss of a phase: one hook, or a weighted sum of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OnFailure;
use super::schema::PluginConfig;
use crate::plugin::{Grants, LimitsConfig, SettingValue};

/// What a phase minimises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
#[expect(
    clippy::large_enum_variant,
    reason = "an experiment has one for each phase"
)]
pub enum LossConfig {
    /// The loss of one hook.
    One(PluginConfig),
    /// The sum of the losses of several hooks, each times its weight.
    Sum(Vec<LossTerm>),
}

/// One hook of a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossTerm {
    /// A built-in plugin by name, or a path.
    pub plugin: String,
    /// Its factor in the sum.
    #[serde(default = "one")]
    pub weight: f64,
    /// The factor at the end of the term's time, reached along a line; without one the weight stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_weight: Option<f64>,
    /// Where in the phase the term begins to count, as a share of its updates.
    #[serde(default)]
    pub from: f64,
    /// Where in the phase the term ceases to count, as a share of its updates.
    #[serde(default = "one")]
    pub until: f64,
    /// What the plugin may do beyond what every plugin of its kind may, and why.
    #[serde(default)]
    pub grants: Grants,
    /// The plugin's own parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, SettingValue>,
    /// How much the plugin may use; what is left out has the default.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What happens when the plugin fails while a run is going on.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// The weight where nothing is written, and the end of a phase.
const fn one() -> f64 {
    1.0
}

/// The table as it stands in a file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Grants>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<BTreeMap<String, SettingValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<OnFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Vec<LossTerm>>,
}

/// A table that names no loss, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unclear {
    #[error(
        "it names neither a `plugin` nor `terms` (name one plugin, or a list of terms with one each)"
    )]
    Nothing,
    #[error(
        "it names a `plugin` and `terms` (take one of them out; a term has its plugin in its own table)"
    )]
    Both,
    #[error(
        "`{0}` stands beside `terms` (move it into the table of the term whose plugin it belongs to)"
    )]
    Beside(&'static str),
    #[error("the list `terms` is empty (name a plugin)")]
    Empty,
}

impl TryFrom<Written> for LossConfig {
    type Error = Unclear;

    fn try_from(written: Written) -> Result<Self, Unclear> {
        let Some(terms) = written.terms else {
            return Ok(Self::One(PluginConfig {
                plugin: written.plugin.ok_or(Unclear::Nothing)?,
                grants: written.grants.unwrap_or_default(),
                parameters: written.parameters.unwrap_or_default(),
                limits: written.limits.unwrap_or_default(),
                on_failure: written.on_failure.unwrap_or_default(),
            }));
        };
        if written.plugin.is_some() {
            return Err(Unclear::Both);
        }
        for (name, stands) in [
            ("grants", written.grants.is_some()),
            ("parameters", written.parameters.is_some()),
            ("limits", written.limits.is_some()),
            ("on_failure", written.on_failure.is_some()),
        ] {
            if stands {
                return Err(Unclear::Beside(name));
            }
        }
        if terms.is_empty() {
            return Err(Unclear::Empty);
        }
        Ok(Self::Sum(terms))
    }
}

impl From<LossConfig> for Written {
    fn from(loss: LossConfig) -> Self {
        let (one, terms) = match loss {
            LossConfig::One(plugin) => (Some(plugin), None),
            LossConfig::Sum(terms) => (None, Some(terms)),
        };
        let terms_alone = Self {
            plugin: None,
            grants: None,
            parameters: None,
            limits: None,
            on_failure: None,
            terms,
        };
        match one {
            None => terms_alone,
            Some(one) => Self {
                plugin: Some(one.plugin),
                grants: Some(one.grants),
                parameters: Some(one.parameters),
                limits: Some(one.limits),
                on_failure: Some(one.on_failure),
                ..terms_alone
            },
        }
    }
}

impl LossConfig {
    /// The terms of the loss with the name of each within the phase: `loss` for the only one, `loss.0`
    /// and so on in a sum.
    pub fn terms(&self) -> Vec<(String, LossTerm)> {
        match self {
            Self::One(one) => vec![("loss".to_owned(), LossTerm::of(one))],
            Self::Sum(terms) => {
                let numbered = terms.iter().cloned().enumerate();
                numbered
                    .map(|(index, term)| (format!("loss.{index}"), term))
                    .collect()
            }
        }
    }

    /// The plugins with the name of each within the phase, as [`Self::terms`].
    pub fn plugins(&self) -> Vec<(String, &str)> {
        match self {
            Self::One(one) => vec![("loss".to_owned(), one.plugin.as_str())],
            Self::Sum(terms) => {
                let numbered = terms.iter().enumerate();
                numbered
                    .map(|(index, term)| (format!("loss.{index}"), term.plugin.as_str()))
                    .collect()
            }
        }
    }
}

impl LossTerm {
    /// The only term of a loss.
    fn of(one: &PluginConfig) -> Self {
        Self {
            plugin: one.plugin.clone(),
            weight: 1.0,
            final_weight: None,
            from: 0.0,
            until: 1.0,
            grants: one.grants.clone(),
            parameters: one.parameters.clone(),
            limits: one.limits.clone(),
            on_failure: one.on_failure.clone(),
        }
    }

    /// The plugin with what belongs to it.
    pub fn config(&self) -> PluginConfig {
        PluginConfig {
            plugin: self.plugin.clone(),
            grants: self.grants.clone(),
            parameters: self.parameters.clone(),
            limits: self.limits.clone(),
            on_failure: self.on_failure.clone(),
        }
    }

    /// The factor at one of `updates` updates, from 0; 0 outside of the term's time. The line begins at
    /// the first update of that time and ends at the last.
    pub fn weight_at(&self, update: u64, updates: u64) -> f64 {
        let edge = |share: f64| (share * updates as f64).ceil() as u64;
        let (first, end) = (edge(self.from), edge(self.until));
        if !(first..end).contains(&update) {
            return 0.0;
        }
        let steps = (end - first).saturating_sub(1).max(1);
        let done = (update - first) as f64 / steps as f64;
        let last = self.final_weight.unwrap_or(self.weight);
        self.weight + (last - self.weight) * done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LossConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_read_back_as_they_were_written() {
        for text in [
            "plugin = \"a\"\nparameters = { x = 1 }\non_failure = { fallback = \"b\" }",
            "[[terms]]\nplugin = \"a\"\n[[terms]]\nplugin = \"b\"\nweight = 0.5\nfinal_weight = 0\nuntil = 0.25\nparameters = { x = 1 }",
        ] {
            let loss = read(text).unwrap();
            let again = read(&toml::to_string(&loss).unwrap()).unwrap();
            assert_eq!(loss, again);
        }
    }

    #[test]
    fn the_terms_of_a_sum_have_numbers() {
        let names = |text: &str| -> Vec<String> {
            let loss = read(text).unwrap();
            loss.terms().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("plugin = \"a\""), ["loss"]);
        assert_eq!(names("terms = [{ plugin = \"a\" }]"), ["loss.0"]);
        assert_eq!(
            names("terms = [{ plugin = \"a\" }, { plugin = \"a\" }]"),
            ["loss.0", "loss.1"]
        );
    }

    #[test]
    fn a_table_that_names_no_loss_or_two_is_refused() {
        for (text, phrase) in [
            ("", "neither a `plugin` nor `terms`"),
            (
                "plugin = \"a\"\nterms = [{ plugin = \"b\" }]",
                "take one of them out",
            ),
            (
                "terms = [{ plugin = \"b\" }]\n[parameters]\nx = 1",
                "`parameters` stands beside `terms`",
            ),
            ("terms = []", "the list `terms` is empty"),
            (
                "terms = [{ plugin = \"b\", wieght = 1 }]",
                "unknown field `wieght`",
            ),
            ("terms = [{ weight = 1 }]", "missing field `plugin`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(phrase), "{error}");
        }
    }

    #[test]
    fn a_weight_moves_along_a_line_within_its_time() {
        let term = |rest: &str| {
            let text = format!("terms = [{{ plugin = \"a\", {rest} }}]");
            read(&text).unwrap().terms().remove(0).1
        };
        let weights = |term: &LossTerm, updates: u64| -> Vec<f64> {
            (0..updates)
                .map(|update| term.weight_at(update, updates))
                .collect()
        };
        assert_eq!(weights(&term("weight = 2"), 3), [2.0, 2.0, 2.0]);
        let line = term("weight = 1, final_weight = 0");
        assert_eq!(weights(&line, 5), [1.0, 0.75, 0.5, 0.25, 0.0]);
        assert_eq!(weights(&line, 1), [1.0]);
        let (first, then) = (term("until = 0.5"), term("from = 0.5, weight = 3"));
        assert_eq!(weights(&first, 5), [1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(weights(&then, 5), [0.0, 0.0, 0.0, 3.0, 3.0]);
        let ramp = term("from = 0.4, weight = 0, final_weight = 4");
        assert_eq!(weights(&ramp, 5), [0.0, 0.0, 0.0, 2.0, 4.0]);
    }
}
