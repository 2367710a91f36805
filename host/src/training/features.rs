//! What frozen stages make of the training pictures, before a trained module: whether it is computed once
//! and kept, or at every update, and why.
//!
//! It can be kept where pictures come back as they were, and is the same to the bit either way, since what
//! a network makes of a picture depends neither on the other pictures of its batch nor on its place there.

use serde::Serialize;

use super::cost::PhaseCost;
use super::fallback::Standby;
use super::{Prepared, TrainError};
use crate::experiment::{Defect, Experiment, FeatureCache};
use crate::model::NoiseRates;
use crate::phase::Phase;
use crate::plugin::{Context, LossHook};
use crate::random::Seed;

/// Features of a module's frozen stages that are computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeptFeatures {
    /// How often a picture goes through the frozen stages: once for every way in which each is seen.
    pub pictures: u64,
    /// Bytes on disk while the module is trained.
    pub bytes: u64,
    /// Sets of changes that pictures come back with; 1 where they are not changed.
    pub views: u64,
    /// Tokens of a picture, and the width of each.
    #[serde(skip)]
    pub tokens: [usize; 2],
}

/// Where the features of a module's frozen stages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrozenFeatures {
    /// There are no frozen stages before what is trained.
    None,
    /// They are computed once.
    Kept(KeptFeatures),
    /// They are computed at every update, as somebody wanted.
    Off,
    /// They are computed at every update, since pictures do not come back, or not as the loss needs them.
    NotKept(String),
    /// They are computed at every update, since they would take more than the bound.
    TooLarge(String),
}

/// Bytes of the digest that stands behind each picture's features.
const DIGEST_BYTES: u64 = 32;

impl KeptFeatures {
    /// Numbers of a picture's features.
    pub(super) const fn values(&self) -> usize {
        self.tokens[0] * self.tokens[1]
    }

    /// The place of a picture's features: `sample` is the number of its draws in `epoch`, and `index` its
    /// own number, of `pictures`.
    pub(super) fn place(&self, epoch: u64, sample: u64, index: usize, drawn: bool) -> u64 {
        let of_one_view = self.pictures / self.views;
        let within = if drawn { sample } else { index as u64 };
        epoch % self.views * of_one_view + within
    }
}

impl FrozenFeatures {
    /// Decides for one phase, whose length is that of `cost`.
    ///
    /// # Errors
    /// When a loss hook cannot be started, which is asked what it needs.
    pub(super) fn plan(
        prepared: &Prepared,
        phase: Phase,
        cost: &PhaseCost,
    ) -> Result<Self, TrainError> {
        let experiment = prepared.experiment();
        let Some(module) = phase.module().filter(|module| *module > 0) else {
            return Ok(Self::None);
        };
        if experiment.features.cache == FeatureCache::Off {
            return Ok(Self::Off);
        }
        // A loss that looks at the features of all modules needs more than what enters the trained one.
        if module > 1 && looks_at_features(prepared, phase)? {
            return Ok(Self::NotKept(
                "the loss looks at what leaves every frozen stage".to_owned(),
            ));
        }
        let pictures = prepared.resolved.dataset.train.len() as u64;
        Ok(Self::for_pictures(experiment, phase, pictures, cost))
    }

    /// The decision that needs no plugin.
    fn for_pictures(
        experiment: &Experiment,
        phase: Phase,
        pictures: u64,
        cost: &PhaseCost,
    ) -> Self {
        let config = experiment.phase(phase);
        let augmentation = &config.augmentation;
        if augmentation.mixes() {
            return Self::NotKept(
                "batches are mixed (`mixup`, `cutmix`), so that no input of the frozen stages comes back"
                    .to_owned(),
            );
        }
        if experiment.reference.has(Defect::TrainModeMeta)
            && config.noise_rates() != NoiseRates::default()
        {
            return Self::NotKept(
                "`reference` drops something in frozen stages, too, anew at every update"
                    .to_owned(),
            );
        }
        let drawn = augmentation.draws();
        if drawn && augmentation.views == 0 {
            return Self::NotKept(
                "pictures are changed anew in every epoch (with `augmentation.views` they come back)"
                    .to_owned(),
            );
        }
        let (views, copies) = if drawn {
            (augmentation.views as u64, augmentation.repeats as u64)
        } else {
            (1, 1)
        };
        let records = pictures.saturating_mul(views).saturating_mul(copies);
        if records >= cost.pictures() {
            let what = if drawn {
                format!("{} views of every picture", views * copies)
            } else {
                "a picture".to_owned()
            };
            return Self::NotKept(format!("the phase is too short for {what} to come back"));
        }
        let tokens = experiment.architecture(phase).tokens();
        let values = (tokens[0] * tokens[1]) as u64;
        let bytes = records.saturating_mul(values * size_of::<f32>() as u64 + DIGEST_BYTES);
        let most = experiment.features.bytes();
        if bytes > most {
            let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
            return Self::TooLarge(format!(
                "they would take {:.2} GiB, and `features.cache_gib` allows {:.2}",
                gib(bytes),
                gib(most)
            ));
        }
        Self::Kept(KeptFeatures {
            pictures: records,
            bytes,
            views,
            tokens,
        })
    }

    /// What is kept, if something is.
    pub fn kept(&self) -> Option<KeptFeatures> {
        match self {
            Self::Kept(kept) => Some(*kept),
            _ => None,
        }
    }

    /// Why nothing is kept that could be, for `incubate plan`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::NotKept(reason) | Self::TooLarge(reason) => Some(reason),
            Self::Off => Some("`features.cache` is \"off\""),
            Self::None | Self::Kept(_) => None,
        }
    }

    /// What a person is told when the unit begins: that there is a file, or that there is none although
    /// pictures come back.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Kept(kept) => Some(format!(
                "its frozen stages run once for each of {} pictures{}, and what they make of them is kept on disk while it is trained ({} MiB)",
                kept.pictures,
                if kept.views > 1 {
                    " (their views counted)"
                } else {
                    ""
                },
                kept.bytes.div_ceil(1 << 20)
            )),
            Self::TooLarge(reason) => Some(format!(
                "what its frozen stages make of the pictures is computed at every update: {reason}"
            )),
            Self::None | Self::Off | Self::NotKept(_) => None,
        }
    }
}

/// Whether a hook of the phase wants the features of the network that is trained.
fn looks_at_features(prepared: &Prepared, phase: Phase) -> Result<bool, TrainError> {
    let context = Context {
        seed: Seed(prepared.experiment().seed),
        phase,
    };
    for part in &prepared.phase(phase).loss {
        let hook = Standby::<LossHook>::start(&part.configured, context, &part.name);
        let hook = hook.map_err(|source| TrainError::PluginRefused {
            role: format!("{}.{}", phase.kind(), part.name),
            source,
        })?;
        if hook.hook().needs().network_features {
            return Ok(true);
        }
    }
    Ok(false)
}
