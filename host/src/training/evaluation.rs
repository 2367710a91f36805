//! Cross-entropy and accuracy over the validation pictures, the same for every phase and plugin.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::TrainError;
use crate::data::{Dataset, Loader, Part};
use crate::model::{Network, Noise};
use crate::phase::Phase;
use crate::random::Seed;

/// How well a network does on the validation pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Cross-entropy, natural logarithm, mean over pictures.
    pub loss: f64,
    /// The share classified rightly.
    pub accuracy: f64,
}

/// Classifies every validation picture once. The network may be one that records gradients: the
/// evaluation does not.
///
/// # Errors
/// When a picture cannot be read.
pub fn evaluate(
    network: &Network,
    dataset: &Dataset,
    picture_size: usize,
    batch: usize,
    device: &Device,
) -> Result<Score, TrainError> {
    let network = network.valid();
    let device = device.clone().inner();
    let phase = Phase::Baseline;
    let loader = Loader::new(
        dataset,
        Part::Validation,
        picture_size,
        batch,
        None,
        Seed(0),
        phase,
    )?;
    let mut losses = Vec::new();
    let mut rights = Vec::new();
    let mut pictures = 0;
    for batch in loader.epoch(0) {
        let batch = batch?;
        let count = batch.shape[0];
        let images = Tensor::<4>::from_data(TensorData::new(batch.images, batch.shape), &device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(batch.labels, [count]), &device);
        let logits = network.forward(images, &Noise::off()).logits;
        let chosen = log_softmax(logits.clone(), 1).gather(1, labels.clone().unsqueeze_dim(1));
        losses.push(chosen.sum().neg());
        let predicted: Tensor<1, Int> = logits.argmax(1).squeeze_dim(1);
        rights.push(predicted.equal(labels).int().sum());
        pictures += count;
    }
    // One wait for the device, at the end.
    let loss: f64 = Tensor::cat(losses, 0).into_data().iter::<f64>().sum();
    let right: i64 = Tensor::cat(rights, 0).into_data().iter::<i64>().sum();
    Ok(Score {
        loss: loss / pictures as f64,
        accuracy: right as f64 / pictures as f64,
    })
}
