//! Initial values of parameters: every draw is a function of seed, phase and the parameter's name.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, Normal, Uniform};

use crate::device::upload;
use crate::phase::Phase;
use crate::random::{Key, Seed, Stream};

/// Standard deviation of the weights of a Vision Transformer.
const STANDARD_DEVIATION: f32 = 0.02;

/// Where a truncated normal draw is cut, as an absolute value: far outside for this deviation, and
/// kept because the reference implementations cut there.
const CUT: f32 = 2.0;

/// Makes the parameters of one stage.
#[derive(Debug)]
pub(super) struct Initial<'a> {
    seed: Seed,
    phase: Phase,
    prefix: String,
    device: &'a Device,
}

impl<'a> Initial<'a> {
    /// For the stage whose parameters' names start with `prefix`.
    pub(super) const fn new(seed: Seed, phase: Phase, prefix: String, device: &'a Device) -> Self {
        Self {
            seed,
            phase,
            prefix,
            device,
        }
    }

    /// Every value is 0.
    pub(super) fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::zeros(shape, self.device))
    }

    /// Every value is 1.
    pub(super) fn ones<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::ones(shape, self.device))
    }

    /// Normal with deviation 0.02, cut at an absolute value of 2.
    pub(super) fn truncated_normal<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        let normal = Normal::new(0.0, STANDARD_DEVIATION).expect("the deviation is positive");
        self.drawn(name, shape, |stream| {
            loop {
                let value = normal.sample(stream);
                if value.abs() <= CUT {
                    return value;
                }
            }
        })
    }

    /// Uniform in ±1/√`inputs`, the default of PyTorch's convolutions for weight and bias.
    pub(super) fn uniform<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        inputs: usize,
    ) -> Param<Tensor<D>> {
        let bound = 1.0 / (inputs as f32).sqrt();
        let uniform = Uniform::new_inclusive(-bound, bound).expect("the bound is finite");
        self.drawn(name, shape, |stream| uniform.sample(stream))
    }

    fn drawn<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        mut draw: impl FnMut(&mut Stream) -> f32,
    ) -> Param<Tensor<D>> {
        let purpose = format!("initial.{}{name}", self.prefix);
        let mut stream = self.seed.stream(&Key {
            phase: self.phase,
            epoch: 0,
            sample: 0,
            purpose: &purpose,
        });
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| draw(&mut stream))
            .collect();
        Param::from_tensor(upload(TensorData::new(values, shape), self.device))
    }
}
