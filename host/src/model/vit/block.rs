//! A pre-norm transformer block: x += attention(norm(x)), then x += perceptron(norm(x)).

use burn::backend::DispatchTensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Gradients, Tensor};

use super::config::VitConfig;
use crate::kernels::attention::attention;
use crate::kernels::block::{Form, block};
use crate::kernels::gelu::gelu;
use crate::kernels::products::computed_here;
use crate::kernels::recomputation::{Recompute, keep_inputs};
use crate::model::drop_path::Masks;
use crate::model::dropout::Dropout;
use crate::model::initial::Initial;
use crate::model::layers::{LayerNorm, Linear};
use crate::model::noise::BlockNoise;
use crate::model::numerics::{Precision, float32};

/// One block.
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Perceptron,
}

impl Block {
    /// Block `index` of its stage.
    pub(super) fn new(config: &VitConfig, index: usize, initial: &Initial<'_>) -> Self {
        let name = format!("blocks.{index}");
        Self {
            norm1: LayerNorm::new(config.width, config.layer_norm_eps, initial),
            attn: Attention::new(config, &name, initial),
            norm2: LayerNorm::new(config.width, config.layer_norm_eps, initial),
            mlp: Perceptron::new(config, &name, initial),
        }
    }

    /// `[batch, tokens, width]`, in and out in float32.
    pub(super) fn forward(
        &self,
        input: Tensor<3>,
        noise: &BlockNoise,
        precision: Precision,
    ) -> Tensor<3> {
        if let Some(output) = self.fused(&input, noise, precision) {
            return output;
        }
        let [attention_mask, perceptron_mask] = match &noise.paths {
            Some(masks) => masks
                .tensors(&input.device())
                .map(|mask| Some(mask.reshape([-1, 1, 1]))),
            None => [None, None],
        };
        let normalised = self.norm1.forward(input.clone());
        let branch = self.attn.forward(normalised, noise, precision);
        let middle = input + masked(float32(branch), attention_mask);
        let normalised = self.norm2.forward(middle.clone());
        let branch = self.mlp.forward(normalised, noise, precision);
        middle + masked(float32(branch), perceptron_mask)
    }

    /// The block as one operation, where there is a kernel for it.
    fn fused(
        &self,
        input: &Tensor<3>,
        noise: &BlockNoise,
        precision: Precision,
    ) -> Option<Tensor<3>> {
        if noise.values.is_some() || noise.attention.is_some() {
            return None;
        }
        let mut parameters = Parameters(Vec::new());
        self.visit(&mut parameters);
        let form = Form {
            heads: self.attn.heads,
            epsilon: self.norm1.epsilon(),
            products: precision.products(),
        };
        let factors = noise.paths.as_ref().map(Masks::factors);
        block(input, &parameters.0, form, factors)
    }

    /// As [`Block::forward`], keeping the input alone for the backward pass, which runs the block
    /// again.
    pub(super) fn forward_keeping_input(
        &self,
        input: Tensor<3>,
        noise: &BlockNoise,
        precision: Precision,
    ) -> Tensor<3> {
        if !input.is_autodiff() {
            return self.forward(input, noise, precision);
        }
        let plain = input.clone().inner();
        // The same operations as with a graph, so that the output has the same bits.
        let output = self
            .clone()
            .no_grad()
            .forward(plain.clone().autodiff(), noise, precision)
            .inner();
        let again = Again {
            block: self.valid(),
            input: plain,
            input_is_trained: input.is_tracked(),
            noise: noise.clone(),
            precision,
        };
        let mut parents = Parameters(vec![input.into_dispatch()]);
        self.visit(&mut parents);
        keep_inputs(parents.0, output, again)
    }
}

/// The parameters of a block as parents of its output, in their order.
struct Parameters(Vec<DispatchTensor>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_dispatch());
    }
}

/// A block that is run again in the backward pass.
#[derive(Clone, Debug)]
struct Again {
    /// Its weights without a graph.
    block: Block,
    input: Tensor<3>,
    input_is_trained: bool,
    noise: BlockNoise,
    precision: Precision,
}

impl Recompute<3> for Again {
    fn gradients(self, gradient: Tensor<3>) -> Vec<Option<DispatchTensor>> {
        struct Collector {
            source: Gradients,
            found: Vec<Option<DispatchTensor>>,
        }
        impl ModuleVisitor for Collector {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let gradient = param.val().grad_remove(&mut self.source);
                self.found.push(gradient.map(Tensor::into_dispatch));
            }
        }
        let block = self.block.train();
        let mut input = self.input.autodiff();
        if self.input_is_trained {
            input = input.require_grad();
        }
        let output = block.forward(input.clone(), &self.noise, self.precision);
        // The gradient of this sum with respect to the output is `gradient`, to the bit.
        let mut source = (output * gradient.autodiff()).sum().backward();
        let first = input.grad_remove(&mut source).map(Tensor::into_dispatch);
        let mut collector = Collector {
            source,
            found: vec![first],
        };
        block.visit(&mut collector);
        collector.found
    }
}

fn masked(branch: Tensor<3>, mask: Option<Tensor<3>>) -> Tensor<3> {
    match mask {
        Some(mask) => branch * mask,
        None => branch,
    }
}

/// Leaves out values at one site of the block.
fn dropped(tensor: Tensor<3>, noise: &BlockNoise, site: &str) -> Tensor<3> {
    match &noise.values {
        Some(dropout) => dropout.apply(tensor, site),
        None => tensor,
    }
}

/// Multi-head self-attention with one matrix for queries, keys and values.
#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    fn new(config: &VitConfig, block: &str, initial: &Initial<'_>) -> Self {
        let width = config.width;
        Self {
            qkv: Linear::new(
                width,
                3 * width,
                config.qkv_bias,
                &format!("{block}.attn.qkv"),
                initial,
            ),
            proj: Linear::new(width, width, true, &format!("{block}.attn.proj"), initial),
            heads: config.heads,
        }
    }

    fn forward(&self, input: Tensor<3>, noise: &BlockNoise, precision: Precision) -> Tensor<3> {
        let joint = self.qkv.forward(input, precision);
        let joined = match &noise.attention {
            None if precision == Precision::Float32 || computed_here(&joint) => {
                attention(joint, self.heads, precision.products())
            }
            dropout => self.composed(joint, dropout.as_ref(), precision),
        };
        dropped(self.proj.forward(joined, precision), noise, "projection")
    }

    /// What the fused attention cannot: shares that are dropped, and another type of tensors.
    fn composed(
        &self,
        joint: Tensor<3>,
        dropout: Option<&Dropout>,
        precision: Precision,
    ) -> Tensor<3> {
        let here = computed_here(&joint);
        let [batch, tokens, width] = joint.dims();
        let (width, head_width) = (width / 3, width / 3 / self.heads);
        let parts = operand(joint, precision, here)
            .reshape([batch, tokens, 3, self.heads, head_width])
            .permute([2, 0, 3, 1, 4]);
        let part = |index: usize| -> Tensor<4> {
            parts
                .clone()
                .narrow(0, index, 1)
                .reshape([batch, self.heads, tokens, head_width])
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let scale = (head_width as f64).powf(-0.5);
        let scores = query.mul_scalar(scale).matmul(key.swap_dims(2, 3));
        let mut shares = softmax(float32(scores), 3);
        if let Some(dropout) = dropout {
            shares = dropout.apply(shares, "attention");
        }
        let mixed = operand(shares, precision, here).matmul(value);
        mixed.swap_dims(1, 2).reshape([batch, tokens, width])
    }
}

/// What is multiplied: in the type of the precision, or on the CPU rounded to it, for the backend there
/// multiplies float32 faster than any other type, and its kernels go on with that.
fn operand<const D: usize>(tensor: Tensor<D>, precision: Precision, here: bool) -> Tensor<D> {
    let cast = precision.cast(tensor);
    if here { float32(cast) } else { cast }
}

/// Two linear maps with the exact Gaussian error linear unit between them.
#[derive(Module, Debug)]
struct Perceptron {
    fc1: Linear,
    fc2: Linear,
}

impl Perceptron {
    fn new(config: &VitConfig, block: &str, initial: &Initial<'_>) -> Self {
        let (width, hidden) = (config.width, config.width * config.mlp_ratio);
        Self {
            fc1: Linear::new(width, hidden, true, &format!("{block}.mlp.fc1"), initial),
            fc2: Linear::new(hidden, width, true, &format!("{block}.mlp.fc2"), initial),
        }
    }

    fn forward(&self, input: Tensor<3>, noise: &BlockNoise, precision: Precision) -> Tensor<3> {
        let hidden = gelu(self.fc1.forward(input, precision));
        let hidden = dropped(hidden, noise, "hidden");
        dropped(self.fc2.forward(hidden, precision), noise, "perceptron")
    }
}
