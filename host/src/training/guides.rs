//! Frozen networks that a loss compares with: the meta model for its features, and a teacher for its
//! logits. They see the same pictures, record nothing, drop nothing, and are asked only when a hook of
//! the update wants them.

use burn::tensor::Tensor;

use crate::model::{Network, Noise};

/// The frozen networks of a phase.
#[derive(Debug, Default)]
pub(super) struct Guides {
    /// The whole meta model, when a loss compares with its features or it is the teacher.
    pub(super) meta: Option<Network>,
    /// Another teacher than the meta model.
    pub(super) teacher: Option<Network>,
    /// Whether the meta model is the teacher.
    pub(super) meta_teaches: bool,
}

/// What the hooks of an update want of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The activations between the modules of the meta model.
    pub(super) meta_features: bool,
    /// The logits of the teacher.
    pub(super) teacher: bool,
}

/// What they say to some pictures.
#[derive(Debug, Default)]
pub(super) struct Guidance {
    /// The activations that leave each module of the meta model but the last; empty unless wanted.
    pub(super) meta_features: Vec<Tensor<3>>,
    /// Shape [pictures, classes].
    pub(super) teacher: Option<Tensor<2>>,
}

/// Pictures that each frozen network saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// By the meta model.
    pub(super) meta: u64,
    /// By another teacher.
    pub(super) teacher: u64,
    /// By the frozen stages before the trained module, to keep what they make of them.
    pub(super) kept: u64,
    /// Of the pictures that were trained on: those that did not go through these stages again.
    pub(super) spared: u64,
}

impl Guides {
    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.meta.is_none() && self.teacher.is_none()
    }

    /// Shows `images`, [pictures, channels, height, width], to those that are wanted, each once, and
    /// counts the pictures. They may be missing where there are no frozen networks.
    pub(super) fn ask(
        &self,
        images: Option<&Tensor<4>>,
        wanted: Wanted,
        seen: &mut Seen,
    ) -> Guidance {
        let mut guidance = Guidance::default();
        let Some(images) = images.filter(|_| !self.is_empty()) else {
            return guidance;
        };
        let [pictures, ..] = images.dims();
        let forward = |network: &Network, seen: &mut u64| {
            *seen += pictures as u64;
            network.forward(images.clone(), &Noise::off())
        };
        let asks_meta = wanted.meta_features || wanted.teacher && self.meta_teaches;
        if let Some(meta) = self.meta.as_ref().filter(|_| asks_meta) {
            let answer = forward(meta, &mut seen.meta);
            if wanted.meta_features {
                guidance.meta_features = answer.boundaries;
            }
            if self.meta_teaches && wanted.teacher {
                guidance.teacher = Some(answer.logits);
            }
        }
        if let Some(teacher) = self.teacher.as_ref().filter(|_| wanted.teacher) {
            guidance.teacher = Some(forward(teacher, &mut seen.teacher).logits);
        }
        guidance
    }
}
