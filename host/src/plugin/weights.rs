//! Weights that a loss hook may see: those that the experiment grants by name and that the phase
//! trains. They are lent for one call, and only to a hook that imports the interface.

use serde::{Deserialize, Serialize};
use wasmtime::component::Resource;

use crate::spelling::nearest;
use crate::tensor::AnyTensor;

use super::contract::v0_1::incubate::plugin::types::{Fault, FaultCode};
use super::contract::v0_1::incubate::plugin::weights;
use super::state::State;
use super::tensors::Handle;
use super::trace::shown_list;

/// Names of weights; a `*` in a name stands for any text, dots included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct WeightNames(Vec<String>);

/// A list that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no names in {given:?} (name weights, such as `stages.*.head.weight`)")]
pub struct NoNames {
    /// The list.
    given: Vec<String>,
}

impl TryFrom<Vec<String>> for WeightNames {
    type Error = NoNames;

    fn try_from(given: Vec<String>) -> Result<Self, NoNames> {
        if given.is_empty() || given.iter().any(String::is_empty) {
            Err(NoNames { given })
        } else {
            Ok(Self(given))
        }
    }
}

impl From<WeightNames> for Vec<String> {
    fn from(names: WeightNames) -> Self {
        names.0
    }
}

impl WeightNames {
    /// Every weight.
    pub(super) fn every() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether one of the names is this one, or stands for it.
    pub fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }

    /// The names as they were written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The first name that stands for none of `known`, with up to three of those that are most like it.
    pub fn unmatched<'a>(
        &self,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<(&str, Vec<String>)> {
        let pattern = self
            .patterns()
            .find(|pattern| !known.clone().any(|name| matches(pattern, name)))?;
        let mut ranked: Vec<(usize, &str)> = known
            .map(|name| (strsim::damerau_levenshtein(pattern, name), name))
            .collect();
        ranked.sort_unstable();
        ranked.dedup();
        let near = ranked.into_iter().take(3);
        Some((pattern, near.map(|(_, name)| name.to_owned()).collect()))
    }
}

/// Whether `name` is `pattern` with a text in place of every `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    // There is always a first part, and the last one is the same when there is no `*`.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The leftmost place of each part leaves the most room for those after it.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What an instance may see of the weights.
#[derive(Debug, Default)]
pub(super) struct Weights {
    granted: Option<WeightNames>,
    /// The weights of the call that is running, in the order of the network.
    lent: Option<Vec<(String, AnyTensor)>>,
}

impl Weights {
    /// Before `compute`.
    pub(super) fn lend(&mut self, granted: &WeightNames, lent: Vec<(String, AnyTensor)>) {
        self.granted = Some(granted.clone());
        self.lent = Some(lent);
    }

    /// After any call.
    pub(super) fn take_back(&mut self) {
        self.lent = None;
    }

    fn get(&self, name: &str) -> Result<&AnyTensor, Fault> {
        let fault = |code, message: String, hint: String| Fault {
            code,
            message,
            hint: Some(hint),
        };
        let Some(lent) = &self.lent else {
            return Err(fault(
                FaultCode::Unsupported,
                format!("the weight `{name}` was asked for outside of `compute`"),
                "weights can be seen in `compute` alone".to_owned(),
            ));
        };
        if let Some((_, tensor)) = lent.iter().find(|(known, _)| known == name) {
            return Ok(tensor);
        }
        let granted = self.granted.as_ref();
        if !granted.is_some_and(|granted| granted.allow(name)) {
            let granted: Vec<String> = granted
                .into_iter()
                .flat_map(WeightNames::patterns)
                .map(|pattern| format!("`{pattern}`"))
                .collect();
            return Err(fault(
                FaultCode::InvalidInput,
                format!("the weight `{name}` is not granted"),
                format!(
                    "granted: {}; add the name to `weights` in the `grants` table of this plugin",
                    granted.join(", ")
                ),
            ));
        }
        let near = nearest(name, lent.iter().map(|(known, _)| known.as_str()))
            .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        Err(fault(
            FaultCode::InvalidInput,
            format!("this phase trains no weight `{name}`"),
            format!("{near}`weights.names` lists those that can be seen; frozen ones cannot"),
        ))
    }
}

impl weights::Host for State {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        let asked = self.asked("names", &[], String::new);
        let lent = self.weights.lent.iter().flatten();
        let names: Vec<String> = lent.map(|(name, _)| name.clone()).collect();
        self.answered(asked, |_| shown_list(&names));
        Ok(names)
    }

    fn get(&mut self, name: String) -> wasmtime::Result<Result<Resource<Handle>, Fault>> {
        let asked = self.asked("get", &[], || format!("{name:?}"));
        let tensor = self.weights.get(&name).cloned();
        let answer = Ok(tensor.and_then(|tensor| Ok(self.arena.insert(tensor)?)));
        self.answered_tensor(asked, &answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use weights::Host as _;

    use super::*;
    use crate::plugin::Limits;
    use crate::plugin::kind::Hook;
    use crate::plugin::randomness::Randomness;

    #[test]
    fn weights_are_lent_for_one_call() {
        let limits = Limits {
            live_tensors: 1,
            ..Limits::default()
        };
        let mut state = State::new(&limits, Randomness::new(None, ""));
        let code = |state: &mut State| {
            let got = weights::Host::get(state, "a".to_owned()).unwrap();
            got.map_err(|fault| (fault.code, fault.hint))
        };
        let (unsupported, _) = code(&mut state).unwrap_err();
        assert_eq!(unsupported, FaultCode::Unsupported);

        let tensor = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex());
        let tensor = AnyTensor::from_tensor(tensor).unwrap();
        state.begin(Hook::Compute, Some(0));
        let lent = vec![("a".to_owned(), tensor)];
        state.weights.lend(&WeightNames::every(), lent);
        assert_eq!(state.names().unwrap(), ["a"]);
        assert!(code(&mut state).is_ok());
        let (budget, _) = code(&mut state).unwrap_err();
        assert_eq!(budget, FaultCode::Budget);
        state.end();

        assert!(state.names().unwrap().is_empty());
        let (unsupported, hint) = code(&mut state).unwrap_err();
        assert_eq!(unsupported, FaultCode::Unsupported);
        assert!(hint.unwrap().contains("in `compute` alone"));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.b", "xa.b", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("stages.*.head.weight", "stages.3.head.weight", true),
            ("stages.*.weight", "stages.3.blocks.0.norm1.weight", true),
            ("stages.*.weight", "stages.3.blocks.0.norm1.bias", false),
            ("stages.*.weight", "stages.weight", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("*.norm*.w*t", "s.0.norm1.weight", true),
            ("a**b", "ab", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_that_stands_for_nothing_has_near_ones() {
        let known = [
            "stages.0.head.weight",
            "stages.0.head.bias",
            "stages.0.norm.weight",
            "x",
        ];
        let names = |given: &[&str]| {
            WeightNames::try_from(
                given
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let granted = names(&["*.head.weight", "stages.*.haed.weight"]).unwrap();
        let (pattern, near) = granted.unmatched(known.into_iter()).unwrap();
        assert_eq!(pattern, "stages.*.haed.weight");
        assert_eq!(near.len(), 3);
        assert_eq!(near[0], "stages.0.head.weight");
        assert!(
            names(&["*"])
                .unwrap()
                .unmatched(known.into_iter())
                .is_none()
        );
        assert!(names(&[]).is_err() && names(&["a", ""]).is_err());
    }
}
