//! Losses and counts that wait on the device until somebody needs the numbers, so that training
//! does not stop for every one of them.

use burn::tensor::{Int, Tensor, TensorData, Transaction};

use crate::device::Reading;
use crate::event::TermLoss;

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

/// One part of an update whose numbers are not here yet.
#[derive(Debug)]
struct Part {
    /// The pictures, as indices into the training pictures.
    pictures: Vec<usize>,
    /// What each hook of a sum gave: its place and weight, with a loss still to be filled in.
    terms: Vec<TermLoss>,
}

/// One update whose numbers are not here yet.
#[derive(Debug)]
struct Pending {
    epoch: u32,
    update: u64,
    rate: f64,
    parts: Vec<Part>,
    has_gradient_norm: bool,
}

/// Updates, and their numbers on the device in the same order, one element each.
#[derive(Debug, Default)]
struct Waiting {
    updates: Vec<Pending>,
    /// For every part the mean loss, and the losses of its terms after it.
    losses: Vec<Tensor<1>>,
    /// For every part the pictures classified rightly.
    correct: Vec<Tensor<1, Int>>,
    gradient_norms: Vec<Tensor<1>>,
}

/// Updates whose numbers nobody was told yet.
#[derive(Debug, Default)]
pub(super) struct PendingMetrics {
    waiting: Waiting,
    /// Updates before those, whose numbers are on their way.
    coming: Option<(Vec<Pending>, Reading)>,
}

impl PendingMetrics {
    /// Begins an update.
    pub(super) fn begin(&mut self, epoch: u32, update: u64, rate: f64) {
        self.waiting.updates.push(Pending {
            epoch,
            update,
            rate,
            parts: Vec::new(),
            has_gradient_norm: false,
        });
    }

    /// Adds the global norm of the gradients, one element, to the update that was begun last.
    pub(super) fn set_gradient_norm(&mut self, norm: Tensor<1>) {
        if let Some(update) = self.waiting.updates.last_mut() {
            update.has_gradient_norm = true;
            self.waiting.gradient_norms.push(norm);
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
        let waiting = &mut self.waiting;
        if let Some(update) = waiting.updates.last_mut() {
            let (terms, losses): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
            update.parts.push(Part { pictures, terms });
            waiting.losses.push(loss);
            waiting.losses.extend(losses);
            waiting.correct.push(correct);
        }
    }

    /// How many updates wait whose numbers are not on their way.
    pub(super) fn len(&self) -> usize {
        self.waiting.updates.len()
    }

    /// Asks for the numbers of the updates that wait, while the device goes on; gives what has arrived,
    /// oldest first. There is at most one answer on its way: the one before is waited for, so that
    /// nobody runs ahead of the device by more than two of them.
    pub(super) fn ask(&mut self) -> Vec<Measured> {
        let mut arrived = self.take_coming();
        self.coming = std::mem::take(&mut self.waiting).read();
        arrived.extend(self.take_arrived());
        arrived
    }

    /// The numbers that have arrived, oldest first; waits for nothing.
    pub(super) fn take_arrived(&mut self) -> Vec<Measured> {
        match &self.coming {
            Some((_, reading)) if reading.has_arrived() => self.take_coming(),
            _ => Vec::new(),
        }
    }

    /// Waits for the device and gives all numbers, oldest first.
    pub(super) fn read(&mut self) -> Vec<Measured> {
        let mut numbers = self.ask();
        numbers.extend(self.take_coming());
        numbers
    }

    /// Waits for the numbers that are on their way.
    fn take_coming(&mut self) -> Vec<Measured> {
        self.coming
            .take()
            .map_or_else(Vec::new, |(updates, reading)| {
                measured(updates, &reading.take())
            })
    }
}

impl Waiting {
    /// Puts the numbers on their way, if there are any.
    fn read(self) -> Option<(Vec<Pending>, Reading)> {
        if self.losses.is_empty() {
            return None;
        }
        let mut transaction = Transaction::default()
            .register(Tensor::cat(self.losses, 0))
            .register(Tensor::cat(self.correct, 0));
        if !self.gradient_norms.is_empty() {
            transaction = transaction.register(Tensor::cat(self.gradient_norms, 0));
        }
        Some((self.updates, Reading::begin(transaction)))
    }
}

/// The updates with their numbers: losses, counts, and norms of gradients if there are any.
fn measured(updates: Vec<Pending>, numbers: &[TensorData]) -> Vec<Measured> {
    let floats = |place: usize| {
        numbers
            .get(place)
            .into_iter()
            .flat_map(TensorData::iter::<f64>)
    };
    let mut losses = floats(0);
    let mut correct = numbers[1].iter::<i64>();
    let mut norms = floats(2);
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
                for (index, term) in part.terms.into_iter().enumerate() {
                    if terms.len() == index {
                        terms.push(term);
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
                gradient_norm: if update.has_gradient_norm {
                    norms.next()
                } else {
                    None
                },
                not_finite,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Adds an update of two parts, of one and three pictures.
    fn update(metrics: &mut PendingMetrics, update: u64, losses: [f32; 2], norm: Option<f32>) {
        let device = Device::flex();
        metrics.begin(0, update, 0.5);
        for (loss, pictures) in losses.into_iter().zip([vec![7], vec![1, 2, 3]]) {
            let loss = Tensor::from_floats([loss], &device);
            // Class 1 for every picture, which is right for none but the first of the part.
            let logits =
                Tensor::<2>::from_floats([[0.0, 1.0]], &device).repeat_dim(0, pictures.len());
            let mut labels = vec![0; pictures.len()];
            labels[0] = 1;
            let labels = Tensor::from_ints(labels.as_slice(), &device);
            metrics.add(loss, Vec::new(), logits, labels, pictures);
        }
        if let Some(norm) = norm {
            metrics.set_gradient_norm(Tensor::from_floats([norm], &device));
        }
    }

    #[test]
    fn numbers_go_to_the_updates_that_they_are_of() {
        let mut metrics = PendingMetrics::default();
        update(&mut metrics, 4, [1.0, 2.0], Some(8.0));
        update(&mut metrics, 5, [1.0, f32::NAN], Some(9.0));
        assert_eq!(metrics.len(), 2);
        let numbers = metrics.read();
        assert_eq!(metrics.len(), 0);
        let [first, second] = &numbers[..] else {
            panic!("{numbers:?}");
        };
        assert_eq!((first.update, first.loss), (4, 1.75));
        assert_eq!((first.accuracy, first.gradient_norm), (0.5, Some(8.0)));
        assert!(first.not_finite.is_empty());
        assert_eq!((second.update, second.gradient_norm), (5, Some(9.0)));
        assert_eq!(second.not_finite, [1, 2, 3]);
        assert!(metrics.read().is_empty());
    }

    #[test]
    fn on_the_cpu_an_answer_is_there_when_it_is_asked_for() {
        let mut metrics = PendingMetrics::default();
        assert!(metrics.take_arrived().is_empty());
        for number in 0..3 {
            update(&mut metrics, number, [1.0, 2.0], None);
            let numbers = metrics.ask();
            assert_eq!(numbers.len(), 1);
            assert_eq!(
                (numbers[0].update, numbers[0].gradient_norm),
                (number, None)
            );
            assert!(metrics.take_arrived().is_empty());
        }
    }
}
