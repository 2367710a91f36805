//! What the experiment allows a plugin beyond the interfaces that every plugin of its kind gets, and
//! why. Nothing is granted without a reason, and what is granted belongs to one plugin in one place.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::weights::WeightNames;

/// Something that a plugin may do only when the experiment says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// See the numbers of tensors, which waits for the device.
    ReadBack,
    /// Draw random numbers from a seeded stream.
    Random,
    /// Use weights that are trained, by name, in the loss.
    Weights,
}

impl Grant {
    /// Every grant.
    pub const ALL: [Self; 3] = [Self::ReadBack, Self::Random, Self::Weights];

    /// The names of every grant.
    const NAMES: [&'static str; 3] = ["read-back", "random", "weights"];

    /// The name in experiment files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadBack => "read-back",
            Self::Random => "random",
            Self::Weights => "weights",
        }
    }

    /// What a plugin may do with it, as the end of a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ReadBack => {
                "read numbers back from the device, which makes every step wait for it"
            }
            Self::Random => "draw random numbers from its seeded stream",
            Self::Weights => "see the trained weights of these names and add to their gradients",
        }
    }

    /// A line of a `grants` table that gives it.
    pub const fn example(self) -> &'static str {
        match self {
            Self::ReadBack => "read-back = \"why the plugin needs it\"",
            Self::Random => "random = \"why the plugin needs it\"",
            Self::Weights => {
                "weights = { names = [\"stages.*.head.weight\"], reason = \"why the plugin needs them\" }"
            }
        }
    }

    /// The grant that an interface of the contract needs, by its name without package and version.
    pub const fn for_interface(interface: &str) -> Option<Self> {
        match interface.as_bytes() {
            b"readback" => Some(Self::ReadBack),
            b"random" => Some(Self::Random),
            b"weights" => Some(Self::Weights),
            _ => None,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The grants of one plugin, each with its reason; none by default.
///
/// In an experiment this is a table from grant to reason; `false` takes back what a table below
/// grants to the same plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Grants {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_back: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<WeightsGrant>,
}

/// The grant of some weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsGrant {
    /// Which weights.
    pub names: WeightNames,
    /// Why.
    pub reason: Reason,
}

impl Grants {
    /// No grants.
    pub const fn none() -> Self {
        Self {
            read_back: None,
            random: None,
            weights: None,
        }
    }

    /// These grants, for a plugin that no experiment names; `weights` is all of them.
    pub fn of(grants: &[Grant]) -> Self {
        let reason = |grant| grants.contains(&grant).then(Reason::by_the_program);
        Self {
            read_back: reason(Grant::ReadBack),
            random: reason(Grant::Random),
            weights: reason(Grant::Weights).map(|reason| WeightsGrant {
                names: WeightNames::every(),
                reason,
            }),
        }
    }

    /// Whether this grant was given.
    pub const fn contains(&self, grant: Grant) -> bool {
        self.reason(grant).is_some()
    }

    /// Why this grant was given, if it was.
    pub const fn reason(&self, grant: Grant) -> Option<&Reason> {
        match grant {
            Grant::ReadBack => self.read_back.as_ref(),
            Grant::Random => self.random.as_ref(),
            Grant::Weights => match &self.weights {
                Some(weights) => Some(&weights.reason),
                None => None,
            },
        }
    }

    /// What was granted.
    pub fn iter(&self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(|grant| self.contains(*grant))
    }

    /// The weights that were granted.
    pub fn weights(&self) -> Option<&WeightNames> {
        self.weights.as_ref().map(|weights| &weights.names)
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Table)
    }
}

/// Reads a `grants` table.
struct Table;

impl<'de> de::Visitor<'de> for Table {
    type Value = Grants;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a table with a line such as `{}` for each grant",
            Grant::ReadBack.example()
        )
    }

    /// Grants were a list before each needed a reason.
    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Grants, A::Error> {
        let mut lines = Vec::new();
        while let Some(name) = names.next_element::<toml::Value>()? {
            let known = |grant: &Grant| name.as_str() == Some(grant.name());
            if let Some(grant) = Grant::ALL.into_iter().find(known) {
                lines.push(format!("`{}`", grant.example()));
            }
        }
        if lines.is_empty() {
            lines.push(format!("`{}`", Grant::ReadBack.example()));
        }
        Err(de::Error::custom(format!(
            "grants are no list but a table with a reason for each (write {} below a heading such as `[loss.grants]`; nothing is granted without the table)",
            lines.join(" and ")
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Grants, A::Error> {
        let mut grants = Grants::none();
        while let Some(key) = table.next_key::<String>()? {
            let Some(grant) = Grant::ALL.into_iter().find(|grant| grant.name() == key) else {
                return Err(de::Error::unknown_field(&key, &Grant::NAMES));
            };
            let value: toml::Value = table.next_value()?;
            if value.as_bool() == Some(false) {
                continue;
            }
            let refuse = |reason: String| {
                de::Error::custom(format!("the grant `{grant}` cannot be given: {reason}"))
            };
            match grant {
                Grant::ReadBack => grants.read_back = Some(reason(grant, value).map_err(refuse)?),
                Grant::Random => grants.random = Some(reason(grant, value).map_err(refuse)?),
                Grant::Weights => grants.weights = Some(weights(value).map_err(refuse)?),
            }
        }
        Ok(grants)
    }
}

/// The reason of a grant that is nothing else.
fn reason(grant: Grant, value: toml::Value) -> Result<Reason, String> {
    match value {
        toml::Value::String(text) => Reason::try_from(text).map_err(|error| error.to_string()),
        other => Err(format!(
            "its value is {other} (write `{}`, or `false` for no)",
            grant.example()
        )),
    }
}

/// Names and reason of the grant `weights`.
fn weights(value: toml::Value) -> Result<WeightsGrant, String> {
    let shown = value.to_string();
    value.try_into().map_err(|error: toml::de::Error| {
        format!(
            "{} in {shown} (write `{}`, or `false` for no)",
            error.message(),
            Grant::Weights.example()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Grants, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_table_gives_each_grant_its_reason() {
        let text = "read-back = \"prints the loss\"\nrandom = false\n\n[weights]\nnames = [\"a.*\"]\nreason = \"a penalty\"\n";
        let grants = parse(text).unwrap();
        assert_eq!(
            grants.iter().collect::<Vec<_>>(),
            [Grant::ReadBack, Grant::Weights]
        );
        assert_eq!(
            grants.reason(Grant::ReadBack).unwrap().as_str(),
            "prints the loss"
        );
        assert!(grants.weights().unwrap().allow("a.b"));
        let written = toml::to_string(&grants).unwrap();
        assert_eq!(parse(&written).unwrap(), grants);
        assert_eq!(parse("").unwrap(), Grants::none());
        let json = serde_json::to_string(&grants).unwrap();
        assert_eq!(serde_json::from_str::<Grants>(&json).unwrap(), grants);
    }

    #[test]
    fn what_gives_no_reason_gives_no_grant() {
        let cases: [(&str, &[&str]); 8] = [
            ("read-back = \"\"", &["`read-back`", "\"\" is no reason"]),
            (
                "random = true",
                &["`random`", "its value is true", "or `false`"],
            ),
            ("weights = \"all\"", &["`weights`", "names = ["]),
            ("weights = { names = [\"*\"] }", &["missing field `reason`"]),
            (
                "weights = { reason = \"a penalty\" }",
                &["missing field `names`"],
            ),
            (
                "weights = { names = [], reason = \"a penalty\" }",
                &["no names"],
            ),
            (
                "weights = { names = [\"*\"], reason = \" \" }",
                &["is no reason"],
            ),
            ("readback = \"a reason\"", &["unknown field `readback`"]),
        ];
        for (text, phrases) in cases {
            let error = parse(text).unwrap_err();
            for phrase in phrases {
                assert!(error.contains(phrase), "{text}: {error}");
            }
        }
    }

    #[test]
    fn names_of_interfaces_and_grants_agree() {
        assert_eq!(Grant::ALL.map(Grant::name), Grant::NAMES);
        for grant in Grant::ALL {
            let example = parse(grant.example()).unwrap();
            assert_eq!(example.iter().collect::<Vec<_>>(), [grant]);
        }
    }
}
