//! Teachers from files: what is learned from them must be decided before training begins.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::TrainError;
use crate::experiment::{Experiment, TeacherCheckpoint};
use crate::model::checkpoint::{self, Unseen};
use crate::model::{Architecture, Network};
use crate::phase::Phase;

/// A teacher that lies in a file, and that fits the pictures and classes of the experiment.
#[derive(Clone, Debug)]
pub struct TeacherFile {
    /// The path.
    path: String,
    /// Its network.
    architecture: Architecture,
    /// The digest of the file.
    sha256: String,
}

impl TeacherFile {
    /// Looks at the teacher of a phase.
    ///
    /// # Errors
    /// The file cannot be used, or its network answers to other pictures or with other classes.
    pub(super) fn look(
        experiment: &Experiment,
        phase: Phase,
        given: &TeacherCheckpoint,
    ) -> Result<Self, TrainError> {
        let refused = |reason: String| TrainError::Teacher {
            table: phase.kind().to_owned(),
            path: given.weights.clone(),
            reason,
        };
        let path = Path::new(&given.weights);
        let found = checkpoint::read(path)?;
        let Architecture::Vit(own) = &experiment.model;
        let unseen = given.heads.map(|heads| Unseen {
            heads,
            layer_norm_eps: own.layer_norm_eps,
        });
        if unseen.or(found.unseen()).is_none() {
            return Err(refused(format!(
                "it does not say how many attention heads its network of width {} has (give them: `teacher = {{ weights = \"{}\", heads = NUMBER }}`)",
                found.dimensions().width,
                given.weights
            )));
        }
        let architecture = found.architecture(unseen)?;
        let (wanted, input) = (experiment.architecture(phase).input(), architecture.input());
        if input != wanted {
            let shown = |[channels, height, width]: [usize; 3]| {
                format!("pictures of {height} x {width} with {channels} channels")
            };
            return Err(refused(format!(
                "it takes {}, and the experiment has {} (name a teacher for these)",
                shown(input),
                shown(wanted)
            )));
        }
        let (classes, wanted) = (architecture.classes(), experiment.model.classes());
        if classes != wanted {
            return Err(refused(format!(
                "it tells {classes} classes apart, and the experiment has {wanted} (name a teacher of the same classes, in the same order)"
            )));
        }
        Ok(Self {
            path: given.weights.clone(),
            architecture,
            sha256: found.sha256()?,
        })
    }

    /// The digest of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The network, recording no gradients.
    ///
    /// # Errors
    /// The file changed or cannot be read any more.
    pub(super) fn network(&self, device: &Device) -> Result<Network, TrainError> {
        let found = checkpoint::read(Path::new(&self.path))?;
        let depth = self.architecture.depth();
        Ok(found.network(&self.architecture, &[depth], device)?.valid())
    }

    /// Forward MACs of one picture.
    pub(super) fn forward_macs(&self) -> u64 {
        let depths = [self.architecture.depth()];
        let trained = crate::model::Trained::All;
        self.architecture.training_macs(&depths, trained).forward
    }
}
