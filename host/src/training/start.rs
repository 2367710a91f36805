//! Files of weights that phases begin with: whether their network is the one of the experiment, and
//! what is made to fit.
//!
//! Two things may differ. Another number of classes leaves the classifier at its random values; a
//! position embedding for pictures of another size is interpolated. All else is refused.

use std::fs::File;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::TrainError;
use super::cost::depths;
use crate::digest::hexadecimal;
use crate::experiment::Experiment;
use crate::model::checkpoint::{CheckpointError, Problem, Unseen, read};
use crate::model::{Architecture, Checkpoint, Network};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;

/// What stays at its random values when classes are others.
const CLASSIFIER: [&str; 2] = ["head.weight", "head.bias"];

/// A file whose weights a phase can begin with.
#[derive(Debug)]
pub(super) struct StartFile {
    role: String,
    path: PathBuf,
    checkpoint: Checkpoint,
    architecture: Architecture,
    /// Classes of the file, when they are others.
    other_classes: Option<usize>,
    /// The picture size of the file, when it is another.
    other_size: Option<usize>,
}

impl StartFile {
    /// The file that `phase` begins with, if it begins with one. No values are read.
    ///
    /// # Errors
    /// The file cannot be read, or its network is another.
    pub(super) fn of(
        experiment: &Experiment,
        division: &[ModuleDepth],
        phase: Phase,
    ) -> Result<Option<Self>, TrainError> {
        let Some(path) = experiment.phase(phase).start.file() else {
            return Ok(None);
        };
        let role = format!("{}.start", phase.kind());
        let checkpoint = read(path).map_err(|source| TrainError::Start {
            role: role.clone(),
            source,
        })?;
        let architecture = experiment.architecture(phase);
        let depth = depths(phase, division, experiment).iter().sum();
        let differences = differences(&checkpoint, &architecture, depth);
        if !differences.is_empty() {
            return Err(TrainError::OtherNetwork {
                role,
                path: path.clone(),
                differences,
            });
        }
        let [_, size, _] = architecture.input();
        let dimensions = checkpoint.dimensions();
        let classes = architecture.classes();
        Ok(Some(Self {
            role,
            path: path.clone(),
            other_classes: dimensions.classes.filter(|found| *found != classes),
            other_size: dimensions
                .entry
                .map(|entry| entry.image_size)
                .filter(|found| *found != size),
            checkpoint,
            architecture,
        }))
    }

    /// Refuses a file that a phase begins with and cannot.
    ///
    /// # Errors
    /// As [`StartFile::of`].
    pub(super) fn check_all(
        experiment: &Experiment,
        division: &[ModuleDepth],
    ) -> Result<(), TrainError> {
        for phase in [Phase::Meta, Phase::FineTune, Phase::Baseline] {
            Self::of(experiment, division, phase)?;
        }
        Ok(())
    }

    /// The architecture of the network that [`StartFile::fill`] takes.
    pub(super) fn architecture(&self) -> Architecture {
        match self.other_size {
            Some(size) => self.architecture.for_pictures(size),
            None => self.architecture.clone(),
        }
    }

    /// The weights in `random`, a network of [`StartFile::architecture`], and then for the pictures of
    /// the phase.
    ///
    /// # Errors
    /// Values cannot be read.
    pub(super) fn fill(&self, random: Network) -> Result<Network, TrainError> {
        let kept = match self.other_classes {
            Some(_) => &CLASSIFIER[..],
            None => &[],
        };
        let network = self
            .checkpoint
            .fill(random, kept)
            .map_err(|source| self.unusable(source))?;
        let [_, size, _] = self.architecture.input();
        Ok(network.for_pictures(size))
    }

    /// The digest of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn sha256(&self) -> Result<String, TrainError> {
        let digest = || {
            let mut digest = Sha256::new();
            std::io::copy(&mut File::open(&self.path)?, &mut digest)?;
            Ok(hexadecimal(digest))
        };
        digest().map_err(|error: std::io::Error| {
            self.unusable(CheckpointError {
                path: self.path.clone(),
                problem: Box::new(Problem::Read(error)),
            })
        })
    }

    /// What a person should know, one sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "begins with the weights of {}",
            self.path.display()
        )];
        if let Some(classes) = self.other_classes {
            notes.push(format!(
                "the classifier begins with random weights: it has {} classes here, and {classes} in the file",
                self.architecture.classes()
            ));
        }
        if let Some(size) = self.other_size {
            notes.push(resized(size, self.architecture.input()[1]));
        }
        notes
    }

    fn unusable(&self, source: CheckpointError) -> TrainError {
        TrainError::Start {
            role: self.role.clone(),
            source,
        }
    }
}

/// What a person should know about pictures of another size.
pub(super) fn resized(before: usize, size: usize) -> String {
    format!(
        "the position embedding for pictures of {before} pixels is interpolated for {size} pixels"
    )
}

/// In what the network of a file differs that nothing makes to fit, for a person.
fn differences(checkpoint: &Checkpoint, architecture: &Architecture, depth: usize) -> Vec<String> {
    let Architecture::Vit(config) = architecture;
    let found = checkpoint.dimensions();
    let mut numbers = vec![
        ("depth", found.depth(), depth),
        ("width", found.width, config.width),
        ("mlp_ratio", found.mlp_ratio, config.mlp_ratio),
    ];
    if let Some(entry) = found.entry {
        numbers.push(("channels", entry.channels, config.channels));
        numbers.push(("patch_size", entry.patch_size, config.patch_size));
    }
    // The weights are the same for any number of heads; files of our own say it.
    if let Some(Unseen { heads, .. }) = checkpoint.unseen() {
        numbers.push(("heads", heads, config.heads));
    }
    let mut differences: Vec<String> = numbers
        .into_iter()
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(name, found, wanted)| format!("{name} {found} in the file and {wanted} here"))
        .collect();
    let has = |there: bool| if there { "a bias" } else { "no bias" };
    if found.qkv_bias != config.qkv_bias {
        differences.push(format!(
            "queries, keys and values with {} in the file and {} here",
            has(found.qkv_bias),
            has(config.qkv_bias)
        ));
    }
    for (part, there) in [
        ("patch embedding", found.entry.is_some()),
        ("classifier", found.classes.is_some()),
    ] {
        if !there {
            differences.push(format!(
                "no {part} in the file, which is a part of a network"
            ));
        }
    }
    differences
}
