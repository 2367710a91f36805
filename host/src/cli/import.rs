//! `incubate import` and `incubate inspect`: checkpoints from elsewhere.

use std::io;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::arguments::{ImportOptions, InspectOptions};
use super::number::{loss, percent, thousands};
use super::{print, print_json, shown, sources};
use crate::event::{Event, Observer};
use crate::model::checkpoint::{Checkpoint, Element, read_key};
use crate::training::{Changed, Runner};
use crate::{device, experiment};

/// Letters of a value of the metadata that are shown.
const MOST_SHOWN: usize = 200;

/// Tells nobody: the answer says everything.
struct Silence;

impl Observer for Silence {
    fn observe(&mut self, _event: &Event) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a finished unit of a checkpoint.
pub(super) fn import(options: &ImportOptions) -> Result<()> {
    // The file is what is most likely wrong, so it is read before anything else happens.
    let checkpoint = read_key(&options.file, options.weights.as_deref())?;
    let reference = sources::experiment_of(&options.experiment, Some(&options.out));
    let resolved = experiment::load(reference.as_deref(), &options.experiment.assignments)?;
    let name = options.experiment.experiment.as_deref();
    let prepared = sources::prepared(resolved, name, &options.sources)?;
    let device = device::choose(options.device.device, options.device.allow_software_gpu)?;
    let runner = Runner::open(prepared, &options.out, device, Changed::Refused)?;
    let unit = runner.unit(&options.unit)?;
    let outcome = runner.import(unit, &checkpoint, !options.no_eval, &mut Silence)?;
    let result = &outcome.result;
    if options.json {
        return print_json(&json!({ "result": result, "believed": outcome.believed }));
    }
    for believed in &outcome.believed {
        super::warn(believed);
    }
    print(&format!(
        "{unit} is finished in `{}`: {} parameters from `{}`",
        options.out.display(),
        thousands(result.parameters),
        options.file.display()
    ))?;
    print(&format!(
        "  weights sha256 {}, validation accuracy {}, loss {}",
        result.weights_sha256,
        percent(result.accuracy),
        loss(result.loss)
    ))
}

/// Shows what a checkpoint holds.
pub(super) fn inspect(options: &InspectOptions) -> Result<()> {
    let checkpoint = read_key(&options.file, options.weights.as_deref())?;
    if options.json {
        return print_json(&as_json(&checkpoint)?);
    }
    show(&checkpoint, &options.file)
}

/// Everything that is known of a checkpoint.
fn as_json(checkpoint: &Checkpoint) -> Result<Value> {
    let unseen = checkpoint.unseen();
    let tensors: Vec<Value> = checkpoint
        .names()
        .map(|name| json!({ "name": name, "shape": checkpoint.shape(name) }))
        .collect();
    let not_read: Vec<Value> = checkpoint
        .not_read()
        .iter()
        .map(|(key, what)| json!({ "key": key, "holds": what }))
        .collect();
    Ok(json!({
        "file": checkpoint.path().display().to_string(),
        "sha256": checkpoint.sha256()?,
        "format": checkpoint.format().name(),
        "layout": checkpoint.layout().name(),
        "weights": checkpoint.key(),
        "other_weights": checkpoint.other_weights(),
        "not_read": not_read,
        "skipped": checkpoint.skipped(),
        "parameters": checkpoint.parameter_count(),
        "types": types(checkpoint),
        "dimensions": checkpoint.dimensions(),
        "heads": unseen.map(|unseen| unseen.heads),
        "layer_norm_eps": unseen.map(|unseen| unseen.layer_norm_eps),
        "metadata": checkpoint.metadata(),
        "tensors": tensors,
    }))
}

/// The types of the values.
fn types(checkpoint: &Checkpoint) -> Vec<&'static str> {
    checkpoint
        .elements()
        .into_iter()
        .map(Element::name)
        .collect()
}

/// A few lines for a person.
fn show(checkpoint: &Checkpoint, file: &Path) -> Result<()> {
    let dimensions = checkpoint.dimensions();
    print(&format!(
        "{}: Vision Transformer, {} parameters in {} tensors of type {}",
        file.display(),
        thousands(checkpoint.parameter_count()),
        checkpoint.names().count(),
        types(checkpoint).join(", ")
    ))?;
    let line =
        |name: &str, text: String| print(&format!("  {:<12}{}", format!("{name}:"), shown(&text)));
    line(
        "file",
        format!(
            "{}, {}",
            checkpoint.format().name(),
            match checkpoint.key() {
                "" => "nothing but the weights".to_owned(),
                key => format!("weights under `{key}`"),
            }
        ),
    )?;
    line("sha256", checkpoint.sha256()?)?;
    let stages: Vec<String> = dimensions.stages.iter().map(ToString::to_string).collect();
    line(
        "blocks",
        if stages.len() == 1 {
            stages.concat()
        } else {
            format!("{} in stages of {}", dimensions.depth(), stages.join("+"))
        },
    )?;
    line(
        "width",
        format!(
            "{}, perceptrons {} times as wide, queries, keys and values {} bias",
            dimensions.width,
            dimensions.mlp_ratio,
            if dimensions.qkv_bias {
                "with"
            } else {
                "without"
            }
        ),
    )?;
    line(
        "heads",
        checkpoint.unseen().map_or_else(
            || "not in the file".to_owned(),
            |unseen| unseen.heads.to_string(),
        ),
    )?;
    line(
        "pictures",
        dimensions.entry.map_or_else(
            || "none: a part of a network that takes tokens".to_owned(),
            |entry| {
                format!(
                    "{0} × {0}, {1} channels, patches of {2} × {2}",
                    entry.image_size, entry.channels, entry.patch_size
                )
            },
        ),
    )?;
    line(
        "classes",
        dimensions
            .classes
            .map_or_else(|| "no classifier".to_owned(), |classes| classes.to_string()),
    )?;
    if !checkpoint.other_weights().is_empty() {
        let keys = checkpoint.other_weights().join(", ");
        line("also", format!("{keys} (take them with `--weights`)"))?;
    }
    if !checkpoint.not_read().is_empty() {
        let others: Vec<String> = checkpoint
            .not_read()
            .iter()
            .map(|(key, what)| format!("{key} ({what})"))
            .collect();
        line("not read", others.join(", "))?;
    }
    if !checkpoint.skipped().is_empty() {
        line("skipped", checkpoint.skipped().join(", "))?;
    }
    for (key, value) in checkpoint.metadata() {
        if !key.starts_with("incubate.plugin.") {
            line(
                "says",
                format!("{key} = {}", crate::plugin::plain(value, MOST_SHOWN)),
            )?;
        }
    }
    Ok(())
}
