//! From layers to an experiment: reading, merging, checking, and saying where values came from.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::built_in::{self, built_in};
use super::check::check;
use super::layers::{Layers, Source, leaves, merge};
use super::schema::{Experiment, PhaseConfig};
use super::{ExperimentError, Start, teacher};
use crate::data::{self, DataConfig, DataError, Dataset, Loader, Part};
use crate::file;
use crate::model::Architecture;
use crate::phase::Phase;
use crate::plugin::Reference;
use crate::random::Seed;
use crate::spelling::{did_you_mean, nearest};

/// The host's defaults.
const DEFAULTS: &str = include_str!("defaults.toml");

/// The tables of the phases, as they are written in experiments.
const PHASES: [&str; 4] = ["meta", "module", "fine-tune", "baseline"];

/// The tables that every phase inherits.
const SHARED: [&str; 2] = ["schedule", "loss"];

/// A checked experiment with its pictures.
#[derive(Debug)]
pub struct Resolved {
    /// Every value in force.
    pub experiment: Experiment,
    /// The pictures that it names.
    pub dataset: Dataset,
    /// The folder that should hold the pictures and is missing; then there are only their numbers.
    pub missing: Option<PathBuf>,
    /// Where the values came from.
    layers: Layers,
}

/// One setting in force, for a person.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The dotted key.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl Resolved {
    /// The experiment of a run folder with its pictures.
    ///
    /// # Errors
    /// When the pictures cannot be used any more.
    pub fn recorded(experiment: Experiment) -> Result<Self, ExperimentError> {
        Ok(Self {
            dataset: data::open(&experiment.data)?,
            missing: None,
            experiment,
            layers: Layers::default(),
        })
    }

    /// Every setting in force with its source, in the order of the experiment's tables.
    pub fn settings(&self) -> Vec<Setting> {
        let table = Table::try_from(&self.experiment).unwrap_or_default();
        let mut settings = Vec::new();
        for key in leaves(&table) {
            let mut keys = inherited(&key);
            if names_its_own_plugin(self.layers.table(), &key) {
                keys.truncate(1);
            }
            let source = self.layers.source(&keys);
            match found(&table, &key) {
                Some(Value::Array(terms)) if key.ends_with(".loss.terms") => {
                    let written = keys.iter().find_map(|key| found(self.layers.table(), key));
                    settings.extend(term_settings(&key, &terms, written.as_ref(), &source));
                }
                value => settings.push(Setting {
                    key,
                    value: value.map_or_else(String::new, |value| value.to_string()),
                    source,
                }),
            }
        }
        settings
    }
}

/// The value at a dotted key.
fn found(table: &Table, key: &str) -> Option<Value> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = table.get(first)?;
    if rest.is_empty() {
        return Some(value.clone());
    }
    found(value.as_table()?, rest)
}

/// The settings of each term of a sum: those that stand in `written` come from `source`.
fn term_settings(
    key: &str,
    terms: &[Value],
    written: Option<&Value>,
    source: &Source,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let Some(term) = term.as_table() else {
            continue;
        };
        let written = written.and_then(|terms| terms.get(index)?.as_table());
        for leaf in leaves(term) {
            let stands = written.is_some_and(|written| found(written, &leaf).is_some());
            settings.push(Setting {
                value: found(term, &leaf).map_or_else(String::new, |value| value.to_string()),
                key: format!("{key}.{index}.{leaf}"),
                source: if stands {
                    source.clone()
                } else {
                    Source::Default
                },
            });
        }
    }
    settings
}

/// Whether `key` belongs to a plugin that a phase names in place of the shared one, of which it
/// then inherits nothing.
fn names_its_own_plugin(table: &Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let (Some(phase), Some(shared)) = (parts.next(), parts.next()) else {
        return false;
    };
    let named = |table: Option<&Value>| {
        ["plugin", "terms"].map(|name| table.and_then(|table| table.get(name)).cloned())
    };
    let own = named(table.get(phase).and_then(|phase| phase.get(shared)));
    PHASES.contains(&phase)
        && SHARED.contains(&shared)
        && own.iter().any(Option::is_some)
        && own != named(table.get(shared))
}

/// The keys that can have set `key`, nearest first.
fn inherited(key: &str) -> Vec<String> {
    let mut keys = vec![key.to_owned()];
    if let Some((phase, rest)) = key.split_once('.')
        && PHASES.contains(&phase)
    {
        let shared = SHARED
            .iter()
            .any(|name| rest.starts_with(&format!("{name}.")));
        keys.push(if shared {
            rest.to_owned()
        } else {
            format!("training.{rest}")
        });
    }
    keys
}

/// Reads an experiment (a file, the name of a built-in one, or `digits` when nothing is
/// given), puts the assignments of the command line above it, and checks everything that can be
/// checked without running a plugin.
///
/// # Errors
/// Everything that a person can have written wrongly; see [`ExperimentError`].
pub fn load(reference: Option<&str>, assignments: &[String]) -> Result<Resolved, ExperimentError> {
    resolve(layers(reference, assignments)?, |config| {
        Ok((data::open(config)?, None))
    })
}

/// As [`load`], but where the folder of the pictures is missing, the numbers in `data.expected` are
/// enough: the experiment can be planned, and not run.
///
/// # Errors
/// As [`load`].
pub fn load_to_plan(
    reference: Option<&str>,
    assignments: &[String],
) -> Result<Resolved, ExperimentError> {
    resolve(layers(reference, assignments)?, data::open_or_expect)
}

/// Defaults, the experiment, and the command line, one above the other.
fn layers(reference: Option<&str>, assignments: &[String]) -> Result<Layers, ExperimentError> {
    let mut layers = Layers::default();
    let (table, source) = read(reference.unwrap_or("digits"))?;
    layers.apply(
        &parse(DEFAULTS, Path::new("defaults.toml"))?,
        &Source::Default,
    );
    layers.apply(&table, &source);
    layers.set(assignments)?;
    Ok(layers)
}

/// The table of an experiment and what to call it.
fn read(reference: &str) -> Result<(Table, Source), ExperimentError> {
    let path = PathBuf::from(reference);
    if let Some(found) = built_in().iter().find(|one| one.name == reference)
        && !path.is_file()
    {
        let table = parse(found.text, Path::new(found.name))?;
        return Ok((
            table,
            Source::Experiment(format!("experiment {}", found.name)),
        ));
    }
    let text = file::read_text(&path).map_err(|error| ExperimentError::Read {
        path: reference.to_owned(),
        reason: error.to_string(),
        built_in: built_in::names(),
    })?;
    let mut table = parse(&text, &path)?;
    // The record of a run keeps references as they were given, from wherever that was.
    if !path.with_file_name("run.json").is_file() {
        let folder = std::path::absolute(&path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_path_buf))
            .unwrap_or_default();
        anchor(&mut table, &folder);
    }
    Ok((table, Source::Experiment(reference.to_owned())))
}

/// Parses TOML and names the file when that fails.
fn parse(text: &str, path: &Path) -> Result<Table, ExperimentError> {
    text.parse()
        .map_err(|error: toml::de::Error| ExperimentError::Syntax {
            path: path.to_path_buf(),
            reason: error.to_string().trim_end().to_owned(),
        })
}

/// Makes paths in a file absolute: they are meant relative to the file's folder.
fn anchor(table: &mut Table, folder: &Path) {
    for (key, value) in table {
        match value {
            Value::Table(inner) if key == "teacher" => {
                if let Some(Value::String(path)) = inner.get_mut("weights") {
                    *path = folder.join(&*path).display().to_string();
                }
            }
            Value::Table(inner) if key != "parameters" => anchor(inner, folder),
            Value::Array(terms) if key == "terms" => {
                let tables = terms.iter_mut().filter_map(Value::as_table_mut);
                tables.for_each(|term| anchor(term, folder));
            }
            Value::String(text)
                if key == "path"
                    || key == "plugin" && Reference::is_file(text)
                    || key == "start" && Start::is_file(text)
                    || key == "teacher" && text != teacher::META =>
            {
                *text = folder.join(&*text).display().to_string();
            }
            _ => {}
        }
    }
}

/// Checks the merged layers and builds the experiment.
fn resolve(
    mut layers: Layers,
    open: impl FnOnce(&DataConfig) -> Result<(Dataset, Option<PathBuf>), DataError>,
) -> Result<Resolved, ExperimentError> {
    let preset = layers
        .table()
        .get("model")
        .and_then(|model| model.get("preset"))
        .and_then(Value::as_str)
        .map(ToOwned::to_owned);
    let mut table = layers.table().clone();
    let data: DataConfig = section(&table, "data", &layers)?;
    let (dataset, missing) = open(&data)?;

    // From below: defaults, the preset, what the data set says, what the person wrote.
    let mut model = Table::new();
    let mut written = Table::new();
    if let Some(Value::Table(merged)) = layers.table().get("model") {
        for (key, value) in merged {
            let person = layers.source(&[format!("model.{key}")]) != Source::Default;
            let table = if person { &mut written } else { &mut model };
            table.insert(key.clone(), value.clone());
        }
    }
    written.remove("preset");
    if let Some(name) = &preset {
        let values = preset_table(name)?;
        for key in leaves(&values) {
            note(
                &mut layers,
                &format!("model.{key}"),
                Source::Preset(name.clone()),
            );
        }
        merge(&mut model, &values);
    }
    let has = |key: &str| written.contains_key(key);
    let mut from_data = Table::new();
    if !has("classes") {
        from_data.insert(
            "classes".into(),
            Value::Integer(dataset.classes.len() as i64),
        );
    }
    if !has("channels") {
        from_data.insert("channels".into(), Value::Integer(dataset.channels as i64));
    }
    if let Some((width, _)) = dataset.picture_size
        && !has("image_size")
    {
        from_data.insert("image_size".into(), Value::Integer(width as i64));
    }
    for key in leaves(&from_data) {
        note(&mut layers, &format!("model.{key}"), Source::Data);
    }
    merge(&mut model, &from_data);
    merge(&mut model, &written);
    table.insert("model".into(), Value::Table(model));

    let mut known: Vec<String> = [
        "name",
        "seed",
        "reference",
        "data",
        "model",
        "partition",
        "assembly",
        "checkpoint",
        "features",
        "training",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    known.extend(PHASES.into_iter().chain(SHARED).map(ToOwned::to_owned));
    if let Some(key) = table.keys().find(|key| !known.contains(key)) {
        return Err(unknown(key, "", &known, &layers));
    }

    let architecture: Architecture = section(&table, "model", &layers)?;
    architecture.validate()?;
    let experiment = Experiment {
        name: value(&table, "name")?,
        seed: value(&table, "seed")?,
        reference: value(&table, "reference")?,
        data,
        model: architecture,
        partition: section(&table, "partition", &layers)?,
        assembly: section(&table, "assembly", &layers)?,
        checkpoint: section(&table, "checkpoint", &layers)?,
        features: section(&table, "features", &layers)?,
        meta: phase(&table, "meta", &layers)?,
        module: phase(&table, "module", &layers)?,
        fine_tune: phase(&table, "fine-tune", &layers)?,
        baseline: phase(&table, "baseline", &layers)?,
    };
    check(&experiment, &dataset)?;
    for phase in [Phase::Meta, Phase::FineTune, Phase::Baseline] {
        let architecture = experiment.architecture(phase);
        architecture.validate()?;
        // The loader refuses pictures of a size that the model does not take.
        let size = architecture.input()[1];
        let part = Part::Validation;
        Loader::new(&dataset, part, size, 1, None, Seed(0), phase)?;
    }
    Ok(Resolved {
        experiment,
        dataset,
        missing,
        layers,
    })
}

/// Records a source for a key that no layer wrote; a key that a person wrote keeps its source.
fn note(layers: &mut Layers, key: &str, source: Source) {
    if layers.source(&[key.to_owned()]) == Source::Default {
        layers.name_source(key, source);
    }
}

/// The values of a model preset.
fn preset_table(name: &str) -> Result<Table, ExperimentError> {
    let architecture = Architecture::preset(name).ok_or_else(|| ExperimentError::Range {
        key: "model.preset".into(),
        value: format!("`{name}`"),
        reason: format!(
            "which is no preset{} (known: {})",
            suggestion(name, Architecture::PRESETS.iter().copied()),
            Architecture::PRESETS.join(", ")
        ),
    })?;
    Table::try_from(architecture).map_err(|error| ExperimentError::Value {
        reason: error.to_string(),
        source_name: format!("preset {name}"),
    })
}

/// The settings of one phase: what all phases share, below what its own table says.
fn phase(table: &Table, name: &str, layers: &Layers) -> Result<PhaseConfig, ExperimentError> {
    let shared = |key: &str| {
        table
            .get(key)
            .and_then(Value::as_table)
            .cloned()
            .unwrap_or_default()
    };
    let mut merged = shared("training");
    for key in SHARED {
        merged.insert(key.to_owned(), Value::Table(shared(key)));
    }
    merge(&mut merged, &shared(name));
    let mut whole = Table::new();
    whole.insert(name.to_owned(), Value::Table(merged));
    section(&whole, name, layers)
}

/// One table of the experiment as a value of its type.
fn section<T: DeserializeOwned>(
    table: &Table,
    name: &str,
    layers: &Layers,
) -> Result<T, ExperimentError> {
    let inner = table
        .get(name)
        .cloned()
        .unwrap_or_else(|| Value::Table(Table::new()));
    inner
        .try_into()
        .map_err(|error: toml::de::Error| explain(name, &error, layers))
}

/// A value at the top of the experiment.
fn value<T: DeserializeOwned>(table: &Table, key: &str) -> Result<T, ExperimentError> {
    let found = table
        .get(key)
        .cloned()
        .unwrap_or_else(|| Value::String(String::new()));
    let shown = found.to_string();
    found
        .try_into()
        .map_err(|error: toml::de::Error| ExperimentError::Range {
            key: key.to_owned(),
            value: shown,
            reason: format!("but {}", error.message()),
        })
}

/// Turns the parser's words into an error that names key, layer, and nearest known key.
fn explain(section: &str, error: &toml::de::Error, layers: &Layers) -> ExperimentError {
    let message = error.message().to_owned();
    let within = error
        .to_string()
        .lines()
        .find_map(|line| {
            line.strip_prefix("in `")
                .and_then(|rest| rest.strip_suffix('`'))
        })
        .map_or_else(|| section.to_owned(), |inner| format!("{section}.{inner}"));
    let mut quoted = message.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        // The parser names the unknown field itself when the error lies at its value.
        let within = within
            .strip_suffix(&format!(".{key}"))
            .unwrap_or(&within)
            .to_owned();
        let known: Vec<String> = quoted.collect();
        return unknown(&key, &within, &known, layers);
    }
    // The key as a person wrote it, which can be the one that every phase inherits.
    let mut keys = inherited(&within);
    let place = keys
        .iter()
        .find(|key| layers.knows(key) || !layers.keys_under(key).is_empty())
        .cloned()
        .unwrap_or(within);
    let missing = message.strip_prefix("missing field `");
    if let Some(field) = missing.and_then(|rest| rest.strip_suffix('`')) {
        return ExperimentError::Missing {
            key: format!("{place}.{field}"),
        };
    }
    keys.extend(layers.keys_under(&place));
    ExperimentError::Value {
        reason: format!("`{place}`: {message}"),
        source_name: layers.source(&keys).to_string(),
    }
}

/// The error for a key that nothing declares.
fn unknown(key: &str, within: &str, known: &[String], layers: &Layers) -> ExperimentError {
    let full = if within.is_empty() {
        key.to_owned()
    } else {
        format!("{within}.{key}")
    };
    let mut written = inherited(&full);
    written.extend(layers.keys_under(&full));
    // The tables of a list are known by the list alone.
    let mut sources = written.clone();
    sources.extend(inherited(within));
    let source = layers.source(&sources);
    let place = written
        .iter()
        .find(|key| layers.knows(key))
        .cloned()
        .unwrap_or(full);
    ExperimentError::UnknownKey {
        key: place,
        source_name: source.to_string(),
        suggestion: suggestion(key, known.iter().map(String::as_str)),
    }
}

/// `; did you mean …?`, if a known name is near.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    did_you_mean(nearest(name, known).as_deref())
}
