//! A network as a sequence of stages, whatever its family, and the passes through it.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;

use super::growth::{Growth, Origin, origin};
use super::noise::{Noise, StageNoise};
use super::numerics::Numerics;
use super::parameters::parameters;
use super::vit::VitStage;
use crate::device::wait_for;

/// A network: stages in the order in which a picture passes them.
#[derive(Module, Debug)]
pub struct Network {
    stages: Vec<Stage>,
    #[module(skip)]
    numerics: Numerics,
}

/// One stage of a network.
#[derive(Module, Debug)]
pub enum Stage {
    /// Of a Vision Transformer.
    Vit(VitStage),
}

/// What passes from stage to stage.
#[derive(Clone, Debug)]
pub enum Activation {
    /// Pictures, `[batch, channels, height, width]`.
    Image(Tensor<4>),
    /// Tokens, `[batch, tokens, width]`.
    Tokens(Tensor<3>),
    /// Logits, `[batch, classes]`.
    Logits(Tensor<2>),
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[batch, classes]`.
    pub logits: Tensor<2>,
    /// The output of each stage but the last.
    pub boundaries: Vec<Tensor<3>>,
    /// The stage whose output is the first of them: 0, unless the pass began with features.
    pub first: usize,
}

impl Activation {
    /// What it is, for messages.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Image(_) => "pictures",
            Self::Tokens(_) => "tokens",
            Self::Logits(_) => "logits",
        }
    }

    /// The same values, as a constant that takes part in a graph or as one that cannot.
    fn with_autodiff(self, autodiff: bool) -> Self {
        fn convert<const D: usize>(tensor: Tensor<D>, autodiff: bool) -> Tensor<D> {
            if autodiff {
                tensor.autodiff()
            } else {
                tensor.inner()
            }
        }
        match self {
            Self::Image(tensor) => Self::Image(convert(tensor, autodiff)),
            Self::Tokens(tensor) => Self::Tokens(convert(tensor, autodiff)),
            Self::Logits(tensor) => Self::Logits(convert(tensor, autodiff)),
        }
    }
}

impl Activation {
    /// The same values, whose gradient is wanted.
    fn require_grad(self) -> Self {
        match self {
            Self::Image(tensor) => Self::Image(tensor.require_grad()),
            Self::Tokens(tensor) => Self::Tokens(tensor.require_grad()),
            Self::Logits(tensor) => Self::Logits(tensor.require_grad()),
        }
    }

    /// The sum of all values, one element.
    fn sum(self) -> Tensor<1> {
        match self {
            Self::Image(tensor) => tensor.sum(),
            Self::Tokens(tensor) => tensor.sum(),
            Self::Logits(tensor) => tensor.sum(),
        }
    }
}

impl Stage {
    /// Blocks in the stage.
    pub const fn depth(&self) -> usize {
        match self {
            Self::Vit(stage) => stage.depth(),
        }
    }

    /// Where parameter `name` comes from when this stage grows from one of `shallow` blocks.
    pub(super) fn origin(&self, name: &str, shallow: usize, growth: Growth) -> Origin {
        let ends_branch = match self {
            Self::Vit(_) => VitStage::ends_branch,
        };
        origin(name, shallow, self.depth(), growth, ends_branch)
    }

    fn forward(&self, input: Activation, noise: &StageNoise, numerics: Numerics) -> Activation {
        match self {
            Self::Vit(stage) => stage.forward(input, noise, numerics),
        }
    }
}

impl Network {
    /// Puts stages together, in order: hybrids and assembled networks. They compute in float32 and
    /// keep their activations.
    ///
    /// # Panics
    ///
    /// Without a stage.
    pub fn from_stages(stages: Vec<Stage>) -> Self {
        assert!(!stages.is_empty(), "a network needs a stage");
        Self {
            stages,
            numerics: Numerics::default(),
        }
    }

    /// The same network, computing in another way.
    #[must_use]
    pub const fn computing(mut self, numerics: Numerics) -> Self {
        self.numerics = numerics;
        self
    }

    /// Takes the network apart.
    pub fn into_stages(self) -> Vec<Stage> {
        self.stages
    }

    /// The stages in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The same network with stage `index` replaced.
    ///
    /// # Panics
    ///
    /// When there is no such stage.
    #[must_use]
    pub fn replace_stage(mut self, index: usize, stage: Stage) -> Self {
        self.stages[index] = stage;
        self
    }

    /// The same network for square pictures of `size` pixels, which is a multiple of the patch
    /// size: a learned position embedding is interpolated, everything else stays. All of a new
    /// embedding is trained.
    #[must_use]
    pub fn for_pictures(self, size: usize) -> Self {
        let stages = self
            .stages
            .into_iter()
            .map(|stage| match stage {
                Stage::Vit(stage) => Stage::Vit(stage.for_pictures(size)),
            })
            .collect();
        Self {
            stages,
            numerics: self.numerics,
        }
    }

    /// Blocks of every stage.
    pub fn depths(&self) -> Vec<usize> {
        self.stages.iter().map(Stage::depth).collect()
    }

    /// Values in all parameters.
    pub fn parameter_count(&self) -> u64 {
        self.num_params() as u64
    }

    /// Values in the parameters that are trained.
    pub fn trained_parameter_count(&self) -> u64 {
        parameters(self)
            .iter()
            .filter(|parameter| parameter.trained)
            .map(|parameter| parameter.shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Only stage `index` is trained: gradients pass through the others and end in it.
    ///
    /// # Panics
    ///
    /// When there is no such stage.
    #[must_use]
    pub fn freeze_all_but(mut self, index: usize) -> Self {
        assert!(index < self.stages.len(), "there is no stage {index}");
        let stages = std::mem::take(&mut self.stages)
            .into_iter()
            .enumerate()
            .map(|(position, stage)| {
                if position == index {
                    stage.unfreeze()
                } else {
                    stage.freeze()
                }
            })
            .collect();
        Self { stages, ..self }
    }

    /// Passes `[batch, channels, height, width]` through every stage.
    ///
    /// After burn's `valid()` no graph is recorded; evaluation must do that.
    pub fn forward(&self, images: Tensor<4>, noise: &Noise) -> Forward {
        let mut pass = Pass::new(Activation::Image(images), 0, self);
        let autodiff = self.records();
        let noise = noise.stages(&self.depths());
        for (stage, noise) in self.stages.iter().zip(&noise) {
            pass.through(stage, noise, autodiff);
        }
        pass.finish(autodiff)
    }

    /// The pass of module incubation, where stage `trained` alone has a trainable parameter
    /// ([`Network::freeze_all_but`]): no graph for the stages before it, input gradients without
    /// weight gradients for the stages after it, and noise in the trained stage only, unless it is
    /// [`Noise::in_frozen_stages`].
    ///
    /// The rates of drop path follow the blocks' positions in the whole hybrid.
    ///
    /// # Panics
    ///
    /// When there is no such stage.
    pub fn forward_hybrid(&self, images: Tensor<4>, trained: usize, noise: &Noise) -> Forward {
        self.hybrid(
            Pass::new(Activation::Image(images), 0, self),
            trained,
            noise,
        )
    }

    /// What stage `trained` of a hybrid is given: pictures, `[batch, channels, height, width]`, as
    /// they leave the frozen stages before it, `[batch, tokens, width]`. No graph is recorded, and
    /// nothing is left out.
    ///
    /// # Panics
    ///
    /// When no stage comes before `trained`.
    pub fn frozen_features(&self, images: Tensor<4>, trained: usize) -> Tensor<3> {
        assert!(trained > 0, "no stage comes before the first");
        let mut current = Activation::Image(images).with_autodiff(false);
        for stage in &self.stages[..trained] {
            let off = StageNoise::off(stage.depth());
            current = stage.valid().forward(current, &off, self.numerics);
        }
        match current {
            Activation::Tokens(tokens) => tokens,
            other => panic!("a stage before the last gave {}", other.name()),
        }
    }

    /// The pass of [`Network::forward_hybrid`] from the [`Network::frozen_features`] of its pictures
    /// on, which gives the same; the boundaries before them are missing.
    ///
    /// # Panics
    ///
    /// When there is no such stage, none before it, or noise in the stages before it.
    pub fn forward_hybrid_from(
        &self,
        features: Tensor<3>,
        trained: usize,
        noise: &Noise,
    ) -> Forward {
        assert!(trained > 0, "no stage comes before the first");
        assert!(
            !noise.reaches_frozen_stages(),
            "with noise in frozen stages, no pass is like another"
        );
        let pass = Pass::new(Activation::Tokens(features), trained, self);
        self.hybrid(pass, trained, noise)
    }

    /// The stages of a hybrid that `pass` has not been through.
    fn hybrid(&self, mut pass: Pass, trained: usize, noise: &Noise) -> Forward {
        assert!(trained < self.stages.len(), "there is no stage {trained}");
        let autodiff = self.records();
        let everywhere = noise.reaches_frozen_stages();
        let noise = noise.stages(&self.depths());
        let stages = self.stages.iter().zip(&noise).enumerate();
        for (index, (stage, noise)) in stages.skip(pass.first_stage()) {
            let off = StageNoise::off(noise.blocks.len());
            let frozen = if everywhere { noise } else { &off };
            match index.cmp(&trained) {
                std::cmp::Ordering::Less => pass.through(&stage.valid(), frozen, false),
                std::cmp::Ordering::Equal => pass.through(stage, noise, autodiff),
                std::cmp::Ordering::Greater => pass.through(stage, frozen, autodiff),
            }
        }
        pass.finish(autodiff)
    }

    /// Milliseconds of one forward and backward pass through stage `index` alone, with gradients
    /// for its weights and its input, after the stages before it ran without a graph. Waits for the
    /// device before and after.
    ///
    /// `images` are `[batch, channels, height, width]` on a device that does not record gradients.
    ///
    /// # Panics
    ///
    /// When there is no such stage, or when the device fails.
    pub fn stage_milliseconds(&self, index: usize, images: Tensor<4>) -> f64 {
        let device = images.device();
        let through = |stage: &Stage, input: Activation| {
            stage.forward(input, &StageNoise::off(stage.depth()), self.numerics)
        };
        let mut input = Activation::Image(images);
        for stage in &self.stages[..index] {
            input = through(&stage.valid(), input);
        }
        let stage = &self.stages[index];
        let input = input.with_autodiff(true).require_grad();
        wait_for(&device);
        let begun = Instant::now();
        let gradients = through(stage, input).sum().backward();
        wait_for(&device);
        let taken = begun.elapsed();
        drop(gradients);
        taken.as_secs_f64() * 1000.0
    }

    /// Whether the parameters are on a device that records gradients.
    fn records(&self) -> bool {
        self.devices()
            .first()
            .is_some_and(burn::tensor::Device::is_autodiff)
    }
}

/// A pass on its way through the stages.
struct Pass {
    current: Activation,
    /// What it began with, where that left a stage, and what left the others since.
    boundaries: Vec<Activation>,
    /// The stage that the first boundary leaves.
    first: usize,
    stages: usize,
    numerics: Numerics,
}

impl Pass {
    /// A pass that begins before stage `before`.
    fn new(input: Activation, before: usize, network: &Network) -> Self {
        let stages = network.stages.len();
        let mut boundaries = Vec::with_capacity(stages);
        if before > 0 {
            boundaries.push(input.clone());
        }
        Self {
            current: input,
            boundaries,
            first: before.saturating_sub(1),
            stages,
            numerics: network.numerics,
        }
    }

    /// The stage that is next.
    fn first_stage(&self) -> usize {
        self.first + self.boundaries.len()
    }

    fn through(&mut self, stage: &Stage, noise: &StageNoise, autodiff: bool) {
        let input = self.current.clone().with_autodiff(autodiff);
        self.current = stage.forward(input, noise, self.numerics);
        self.boundaries.push(self.current.clone());
    }

    /// Logits and boundaries, all of them on one kind of device.
    fn finish(mut self, autodiff: bool) -> Forward {
        self.boundaries.truncate(self.stages - 1 - self.first);
        let boundaries = self
            .boundaries
            .into_iter()
            .map(|boundary| match boundary.with_autodiff(autodiff) {
                Activation::Tokens(tokens) => tokens,
                other => panic!("a stage before the last gave {}", other.name()),
            })
            .collect();
        match self.current {
            Activation::Logits(logits) => Forward {
                logits,
                boundaries,
                first: self.first,
            },
            other => panic!("the last stage gave {}", other.name()),
        }
    }
}
