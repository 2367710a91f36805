//! Losses and counts that wait on the device until somebody needs the numbers, so that training
//! does not stop for every one of them.

use burn::tensor::{Int, Tensor};

use crate::event::TermLoss;

/// The numbers of one part of an update, still on the device.
#[derive(Debug)]
struct Part {
    /// The mean loss, one element.
    loss: Tensor<1>,
    /// Pictures classified rightly, one element.
    correct: Tensor<1, Int>,
    /// The pictures, as indices into the training pictures.
    pictures: Vec<usize>,
    /// What each hook of a sum gave: its place and weight, with a loss still to be filled in, and the
    /// loss of one element.
    terms: Vec<(TermLoss, Tensor<1>)>,
}

/// The numbers of one update.
#[derive(Debug)]
pub(super) struct Measured {
    /// The epoch, from 0.
    pub(super) epoch: u32,
    /// The update, from 0.
    pub(super) update: u64,
    /// The learning rate.
    pub(super) rate: f64,
    /// The mean loss over the update's pictures.
    pub(super) loss: f64,
    /// What each hook gave, when the loss is a sum.
    pub(super) terms: Vec<TermLoss>,
    /// The share classified rightly.
    pub(super) accuracy: f64,
    /// The global norm of the gradients before clipping, when they are clipped.
    pub(super) gradient_norm: Option<f64>,
    /// The pictures of the parts whose loss is not finite, as indices into the training pictures.
    pub(super) not_finite: Vec<usize>,
}

/// One update that waits.
#[derive(Debug)]
struct Pending {
    epoch: u32,
    update: u64,
    rate: f64,
    parts: Vec<Part>,
    gradient_norm: Option<Tensor<1>>,
}

/// Updates whose numbers were not read yet.
#[derive(Debug, Default)]
pub(super) struct PendingMetrics {
    updates: Vec<Pending>,
}

impl PendingMetrics {
    /// Begins an update.
    pub(super) fn begin(&mut self, epoch: u32, update: u64, rate: f64) {
        self.updates.push(Pending {
            epoch,
            update,
            rate,
            parts: Vec::new(),
            gradient_norm: None,
        });
    }

    /// Adds the global norm of the gradients, one element, to the update that was begun last.
    pub(super) fn set_gradient_norm(&mut self, norm: Tensor<1>) {
        if let Some(update) = self.updates.last_mut() {
            update.gradient_norm = Some(norm);
        }
    }

    /// Adds a part to the update that was begun last. `loss` has one element; `logits` are
    /// [pictures, classes]; `labels` are [pictures]; `terms` are the parts of a sum, the same hooks in
    /// every part of an update; none records gradients. `pictures` are indices into the training
    /// pictures.
    pub(super) fn add(
        &mut self,
        loss: Tensor<1>,
        terms: Vec<(TermLoss, Tensor<1>)>,
        logits: Tensor<2>,
        labels: Tensor<1, Int>,
        pictures: Vec<usize>,
    ) {
        let predicted: Tensor<1, Int> = logits.argmax(1).squeeze_dim(1);
        let correct = predicted.equal(labels).int().sum();
        if let Some(update) = self.updates.last_mut() {
            update.parts.push(Part {
                loss,
                correct,
                pictures,
                terms,
            });
        }
    }

    /// How many updates wait.
    pub(super) fn len(&self) -> usize {
        self.updates.len()
    }

    /// Waits for the device and gives the numbers, oldest first.
    pub(super) fn read(&mut self) -> Vec<Measured> {
        let updates = std::mem::take(&mut self.updates);
        let parts: Vec<&Part> = updates.iter().flat_map(|update| &update.parts).collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let losses = parts.iter().flat_map(|part| {
            let terms = part.terms.iter().map(|(_, loss)| loss.clone());
            std::iter::once(part.loss.clone()).chain(terms)
        });
        let losses = Tensor::cat(losses.collect(), 0);
        let correct = Tensor::cat(parts.iter().map(|part| part.correct.clone()).collect(), 0);
        let norms: Vec<_> = updates
            .iter()
            .filter_map(|update| update.gradient_norm.clone())
            .collect();
        let norms = if norms.is_empty() {
            Vec::new()
        } else {
            Tensor::cat(norms, 0).into_data().iter::<f64>().collect()
        };
        let mut norms = norms.into_iter();
        let mut losses = losses
            .into_data()
            .iter::<f64>()
            .collect::<Vec<_>>()
            .into_iter();
        let mut correct = correct
            .into_data()
            .iter::<i64>()
            .collect::<Vec<_>>()
            .into_iter();
        updates
            .into_iter()
            .map(|update| {
                let pictures: usize = update.parts.iter().map(|part| part.pictures.len()).sum();
                let (mut loss, mut right) = (0.0, 0);
                let mut terms: Vec<TermLoss> = Vec::new();
                let mut not_finite = Vec::new();
                for part in update.parts {
                    let share = part.pictures.len() as f64 / pictures as f64;
                    let mean = losses.next().unwrap_or(f64::NAN);
                    loss += mean * part.pictures.len() as f64;
                    right += correct.next().unwrap_or_default();
                    if !mean.is_finite() {
                        not_finite.extend(part.pictures);
                    }
                    for (index, (term, _)) in part.terms.iter().enumerate() {
                        if terms.len() == index {
                            terms.push(term.clone());
                        }
                        terms[index].loss += share * losses.next().unwrap_or(f64::NAN);
                    }
                }
                Measured {
                    epoch: update.epoch,
                    update: update.update,
                    rate: update.rate,
                    loss: loss / pictures as f64,
                    terms,
                    accuracy: right as f64 / pictures as f64,
                    gradient_norm: update.gradient_norm.and_then(|_| norms.next()),
                    not_finite,
                }
            })
            .collect()
    }
}
