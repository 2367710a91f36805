//! `incubate data`: what the pictures of an experiment are, and how training sees them.

use anyhow::Result;
use serde_json::{Value, json};

use super::arguments::{DataCommand, ExperimentOptions, ShowOptions};
use super::number::thousands;
use super::{print, print_json, shown, table};
use crate::data::{Cell, Crop, Draws, Mixing, Pictures, Region, Sheet, SheetOptions, SheetRow};
use crate::experiment::{self, Resolved};
use crate::output;
use crate::phase::Phase;
use crate::random::Seed;

/// Runs one of the commands about pictures.
pub(super) fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Show(options) => show(options),
        DataCommand::Inspect { experiment, json } => inspect(experiment, *json),
    }
}

fn load(options: &ExperimentOptions) -> Result<Resolved> {
    let reference = options.experiment.as_deref();
    Ok(experiment::load(reference, &options.assignments)?)
}

/// A phase as it is written in experiments, or as a unit.
pub(super) fn parse_phase(text: &str) -> Result<Phase, String> {
    match text {
        "meta" => Ok(Phase::Meta),
        "module" => Ok(Phase::Module(0)),
        "fine-tune" => Ok(Phase::FineTune),
        "baseline" => Ok(Phase::Baseline),
        _ => text
            .strip_prefix("module.")
            .and_then(|index| index.parse().ok())
            .map(Phase::Module)
            .ok_or_else(|| "write meta, module.0 (or another), fine-tune, or baseline".to_owned()),
    }
}

/// Writes the sheet and tells what is on it.
fn show(options: &ShowOptions) -> Result<()> {
    let resolved = load(&options.experiment)?;
    let experiment = &resolved.experiment;
    let config = experiment.phase(options.phase);
    let modules = experiment.partition.modules;
    if let Phase::Module(index) = options.phase
        && index >= modules
    {
        return Err(experiment::ExperimentError::Range {
            key: "--phase".to_owned(),
            value: options.phase.to_string(),
            reason: format!("but there are {modules} modules, from module.0 on"),
        }
        .into());
    }
    let sheet = Sheet::new(
        &resolved.dataset,
        &config.augmentation,
        &SheetOptions {
            phase: options.phase,
            seed: Seed(experiment.seed),
            picture_size: experiment.model.input()[1],
            batch: config.batch,
            pictures: options.count,
            epochs: options.epochs,
        },
    )?;
    output::write(&options.out, &sheet.png()?)?;
    let (width, height) = sheet.size();
    if options.json {
        return print_json(&json!({
            "file": options.out,
            "width": width,
            "height": height,
            "phase": options.phase.to_string(),
            "seed": experiment.seed,
            "pictures": sheet.rows.iter().map(row_json).collect::<Vec<Value>>(),
        }));
    }
    print(&format!(
        "wrote {}: {width} x {height} pixels; a row for each picture, in it the picture and then epochs 0 to {} of {}",
        options.out.display(),
        options.epochs.saturating_sub(1),
        options.phase
    ))?;
    for row in &sheet.rows {
        print("")?;
        print(&shown(&format!("{} (class {})", row.name, row.class)))?;
        for (epoch, cell) in row.cells.iter().enumerate() {
            print(&format!("  epoch {epoch}: {}", shown(&words(cell))))?;
        }
    }
    Ok(())
}

/// What became of a picture in an epoch.
fn words(cell: &Cell) -> String {
    let Some(seen) = &cell.seen else {
        return "left out of this epoch".to_owned();
    };
    let Draws {
        crop,
        mirrored,
        operations,
        erased,
    } = &seen.draws;
    let mut words = Vec::new();
    match crop {
        Crop::Whole | Crop::Padded { right: 0, down: 0 } => {}
        Crop::Padded { right, down } => words.push(format!("window moved by {right}, {down}")),
        Crop::Resized(region) => words.push(format!("region {}", shape(region))),
    }
    if *mirrored {
        words.push("mirrored".to_owned());
    }
    words.extend(operations.iter().map(ToString::to_string));
    words.extend(
        erased
            .iter()
            .map(|region| format!("erased {}", shape(region))),
    );
    if let (Some(mixing), Some((name, class))) = (&seen.mixing, &cell.partner) {
        match mixing {
            Mixing::Unmixed => {}
            Mixing::Mixup { weight } => words.push(format!(
                "mixup: {:.0} % of {name} (class {class})",
                100.0 * (1.0 - weight)
            )),
            Mixing::CutMix { weight, region } => words.push(format!(
                "cutmix: {:.0} % of {name} (class {class}) at {}",
                100.0 * (1.0 - weight),
                shape(region)
            )),
        }
    }
    if words.is_empty() {
        "unchanged".to_owned()
    } else {
        words.join(", ")
    }
}

/// `30 x 20 at 4, 0`: width and height, then columns and rows from the upper left corner.
fn shape(region: &Region) -> String {
    let Region {
        left,
        top,
        width,
        height,
    } = region;
    format!("{width} x {height} at {left}, {top}")
}

fn row_json(row: &SheetRow) -> Value {
    let cell = |cell: &Cell| {
        cell.seen.as_ref().map(|seen| {
            let partner = cell.partner.as_ref();
            json!({
                "draws": seen.draws,
                "mixing": seen.mixing,
                "partner": partner.map(|(name, class)| json!({ "name": name, "class": class })),
            })
        })
    };
    json!({
        "index": row.index,
        "name": row.name,
        "class": row.class,
        "epochs": row.cells.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// Tells what the data set of an experiment is.
fn inspect(options: &ExperimentOptions, as_json: bool) -> Result<()> {
    let resolved = load(options)?;
    let dataset = &resolved.dataset;
    let count = |pictures: &dyn Pictures| {
        let mut counts = vec![0_u64; dataset.classes.len()];
        for index in 0..pictures.len() {
            counts[pictures.label(index)] += 1;
        }
        counts
    };
    let train = count(&*dataset.train);
    let validation = count(&*dataset.validation);
    if as_json {
        let classes = dataset.classes.iter().zip(train.iter().zip(&validation));
        return print_json(&json!({
            "name": dataset.name,
            "sha256": dataset.digest,
            "channels": dataset.channels,
            "picture_size": dataset.picture_size,
            "resize": dataset.resize,
            "evaluation_crop": dataset.evaluation_crop,
            "normalisation": dataset.normalisation,
            "ignored_files": dataset.ignored_files,
            "left_out": dataset.left_out_names(),
            "train": dataset.train.len(),
            "validation": dataset.validation.len(),
            "classes": classes
                .map(|(class, (train, validation))| {
                    json!({ "name": class, "train": train, "validation": validation })
                })
                .collect::<Vec<Value>>(),
        }));
    }
    let size = dataset.picture_size.map_or_else(
        || "of any size".to_owned(),
        |(width, height)| format!("{width} x {height} pixels"),
    );
    let kind = if dataset.channels == 1 {
        "grey"
    } else {
        "colour"
    };
    print(&format!(
        "{}: {} training and {} validation pictures in {} classes; {kind}, {size}",
        dataset.name,
        thousands(dataset.train.len() as u64),
        thousands(dataset.validation.len() as u64),
        dataset.classes.len()
    ))?;
    print(&format!("  sha256: {}", dataset.digest))?;
    let decimals = |values: &[f32]| {
        let all: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        all.join(", ")
    };
    print(&format!(
        "  mean:   {}",
        decimals(&dataset.normalisation.mean)
    ))?;
    print(&format!(
        "  std:    {}",
        decimals(&dataset.normalisation.std)
    ))?;
    if dataset.ignored_files > 0 {
        print(&format!(
            "  files that are no pictures: {}",
            thousands(dataset.ignored_files as u64)
        ))?;
    }
    for name in dataset.left_out_names() {
        print(&format!("  left out: {name}"))?;
    }
    print("")?;
    let rows: Vec<Vec<String>> = dataset
        .classes
        .iter()
        .zip(train.iter().zip(&validation))
        .map(|(class, (train, validation))| {
            vec![class.clone(), thousands(*train), thousands(*validation)]
        })
        .collect();
    print(&table::table(&["class", "train", "validation"], &rows))
}
