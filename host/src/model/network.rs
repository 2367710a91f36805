//! A network as a sequence of stages, whatever its family, and the passes through it.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;

use super::drop_path::{DropPath, Masks};
use super::growth::{Growth, Origin, origin};
use super::parameters::parameters;
use super::vit::VitStage;

/// A network: stages in the order in which a picture passes them.
#[derive(Module, Debug)]
pub struct Network {
    stages: Vec<Stage>,
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

    fn forward(&self, input: Activation, masks: &[Option<Masks>]) -> Activation {
        match self {
            Self::Vit(stage) => stage.forward(input, masks),
        }
    }
}

impl Network {
    /// Puts stages together, in order: hybrids and assembled networks.
    ///
    /// # Panics
    ///
    /// Without a stage.
    pub fn from_stages(stages: Vec<Stage>) -> Self {
        assert!(!stages.is_empty(), "a network needs a stage");
        Self { stages }
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
    pub fn freeze_all_but(self, index: usize) -> Self {
        assert!(index < self.stages.len(), "there is no stage {index}");
        let stages = self
            .stages
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
        Self { stages }
    }

    /// Passes `[batch, channels, height, width]` through every stage.
    ///
    /// After burn's `valid()` no graph is recorded; evaluation must do that.
    pub fn forward(&self, images: Tensor<4>, drop_path: &DropPath) -> Forward {
        let mut pass = Pass::new(images, self.stages.len());
        let autodiff = self.records();
        let masks = self.masks(drop_path);
        for (stage, masks) in self.stages.iter().zip(&masks) {
            pass.through(stage, masks, autodiff);
        }
        pass.finish(autodiff)
    }

    /// The pass of module incubation, where stage `trained` alone has a trainable parameter
    /// ([`Network::freeze_all_but`]): no graph for the stages before it, input gradients without
    /// weight gradients for the stages after it, and dropped paths in its own blocks only.
    ///
    /// The rates of dropping follow the blocks' positions in the whole hybrid.
    ///
    /// # Panics
    ///
    /// When there is no such stage.
    pub fn forward_hybrid(
        &self,
        images: Tensor<4>,
        trained: usize,
        drop_path: &DropPath,
    ) -> Forward {
        assert!(trained < self.stages.len(), "there is no stage {trained}");
        let mut pass = Pass::new(images, self.stages.len());
        let autodiff = self.records();
        let masks = self.masks(drop_path);
        for (index, (stage, masks)) in self.stages.iter().zip(&masks).enumerate() {
            let off = vec![None; masks.len()];
            match index.cmp(&trained) {
                std::cmp::Ordering::Less => pass.through(&stage.valid(), &off, false),
                std::cmp::Ordering::Equal => pass.through(stage, masks, autodiff),
                std::cmp::Ordering::Greater => pass.through(stage, &off, autodiff),
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
        let off = |stage: &Stage| vec![None; stage.depth()];
        let mut input = Activation::Image(images);
        for stage in &self.stages[..index] {
            input = stage.valid().forward(input, &off(stage));
        }
        let stage = &self.stages[index];
        let input = input.with_autodiff(true).require_grad();
        device.sync().expect("the device works");
        let begun = Instant::now();
        let gradients = stage.forward(input, &off(stage)).sum().backward();
        device.sync().expect("the device works");
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

    /// The masks of every stage.
    fn masks(&self, drop_path: &DropPath) -> Vec<Vec<Option<Masks>>> {
        let depths = self.depths();
        let mut masks = drop_path.masks(depths.iter().sum()).into_iter();
        depths
            .into_iter()
            .map(|depth| masks.by_ref().take(depth).collect())
            .collect()
    }
}

/// A pass on its way through the stages.
struct Pass {
    current: Activation,
    boundaries: Vec<Activation>,
    stages: usize,
}

impl Pass {
    fn new(images: Tensor<4>, stages: usize) -> Self {
        Self {
            current: Activation::Image(images),
            boundaries: Vec::with_capacity(stages),
            stages,
        }
    }

    fn through(&mut self, stage: &Stage, masks: &[Option<Masks>], autodiff: bool) {
        let input = self.current.clone().with_autodiff(autodiff);
        self.current = stage.forward(input, masks);
        self.boundaries.push(self.current.clone());
    }

    /// Logits and boundaries, all of them on one kind of device.
    fn finish(mut self, autodiff: bool) -> Forward {
        self.boundaries.truncate(self.stages - 1);
        let boundaries = self
            .boundaries
            .into_iter()
            .map(|boundary| match boundary.with_autodiff(autodiff) {
                Activation::Tokens(tokens) => tokens,
                other => panic!("a stage before the last gave {}", other.name()),
            })
            .collect();
        match self.current {
            Activation::Logits(logits) => Forward { logits, boundaries },
            other => panic!("the last stage gave {}", other.name()),
        }
    }
}
