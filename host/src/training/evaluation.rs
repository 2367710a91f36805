//! How well a network does on the validation pictures, the same for every phase and plugin: whatever
//! loss was trained, what is reported is plain cross-entropy.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData, Transaction};

use super::TrainError;
use crate::data::{Dataset, Loader, Next, Part};
use crate::device::{Reading, upload};
use crate::model::{Network, Noise};
use crate::phase::Phase;
use crate::random::Seed;
use crate::stop::Stop;

/// A picture is right among the first this many classes for the top-5 accuracy.
pub const FIRST: usize = 5;

/// How well a network does on the validation pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Cross-entropy, natural logarithm, mean over pictures; without label smoothing, class weights,
    /// or anything else that the training loss may have.
    pub loss: f64,
    /// The share classified rightly.
    pub accuracy: f64,
    /// The share whose class is among the five with the largest logits; 1 where there are no more
    /// than five classes.
    pub top5: f64,
}

/// What a network said about one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The class that the picture has.
    pub label: usize,
    /// The class with the largest logit.
    pub predicted: usize,
    /// Whether the picture's class is among the five with the largest logits.
    pub within: bool,
    /// Cross-entropy, natural logarithm.
    pub loss: f64,
}

/// What a network said about every validation picture, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers(pub Vec<Answer>);

impl Answers {
    /// The means over all pictures.
    pub fn score(&self) -> Score {
        let pictures = self.0.len() as f64;
        let share = |right: fn(&Answer) -> bool| {
            self.0.iter().filter(|answer| right(answer)).count() as f64 / pictures
        };
        Score {
            loss: self.0.iter().map(|answer| answer.loss).sum::<f64>() / pictures,
            accuracy: share(|answer| answer.predicted == answer.label),
            top5: share(|answer| answer.within),
        }
    }
}

/// The validation pictures in batches: made once, gone through at every evaluation of a phase.
#[derive(Clone, Debug)]
pub struct Validation {
    loader: Loader,
}

impl Validation {
    /// The validation pictures, scaled to `picture_size` pixels in each direction, in batches of
    /// `batch`.
    ///
    /// # Errors
    /// When the pictures have another size and are not to be resized.
    pub fn new(dataset: &Dataset, picture_size: usize, batch: usize) -> Result<Self, TrainError> {
        let (part, phase) = (Part::Validation, Phase::Baseline);
        let loader = Loader::new(dataset, part, picture_size, batch, None, Seed(0), phase)?;
        Ok(Self { loader })
    }

    /// Classifies every picture once; `None` when `stop` is asked before the last batch. The network
    /// may be one that records gradients: the evaluation does not.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn evaluate(
        &self,
        network: &Network,
        device: &Device,
        stop: &Stop,
    ) -> Result<Option<Answers>, TrainError> {
        let network = network.valid();
        let device = device.clone().inner();
        let mut judged = Vec::new();
        let mut labels = Vec::new();
        let mut batches = self.loader.epoch(0);
        loop {
            if stop.is_asked() {
                return Ok(None);
            }
            let batch = match batches.next_unless(stop)? {
                Next::Batch(batch) => *batch,
                Next::End => break,
                Next::Stopped => return Ok(None),
            };
            let images = upload(TensorData::new(batch.images, batch.shape), &device);
            let logits = network.forward(images, &Noise::off()).logits;
            labels.extend(batch.labels.iter().map(|label| *label as usize));
            judged.push(Judged::new(logits, batch.labels, &device));
        }
        // One wait for the device, at the end.
        Ok(Some(Answers(Judged::read(&judged, &labels))))
    }
}

/// What was said about pictures, still on the device; one value for each picture.
struct Judged {
    losses: Tensor<1>,
    predicted: Tensor<1, Int>,
    within: Tensor<1, Int>,
}

impl Judged {
    /// Compares logits [pictures, classes] with the classes that the pictures have.
    fn new(logits: Tensor<2>, labels: Vec<i64>, device: &Device) -> Self {
        let [pictures, classes] = logits.dims();
        let labels: Tensor<1, Int> = upload(TensorData::new(labels, [pictures]), device);
        let label: Tensor<2, Int> = labels.clone().unsqueeze_dim(1);
        let losses = log_softmax(logits.clone(), 1)
            .gather(1, label.clone())
            .squeeze_dim(1)
            .neg();
        let predicted: Tensor<1, Int> = logits.clone().argmax(1).squeeze_dim(1);
        // Classes before the picture's own: those with a larger logit, and of equal ones the first,
        // as for the prediction. A logit that is no number has no place.
        let own = logits.clone().gather(1, label.clone());
        let number: Tensor<1, Int> = own.clone().equal(own.clone()).int().squeeze_dim(1);
        let own = own.repeat_dim(1, classes);
        let class = Tensor::<1, Int>::arange(0..classes as i64, device).unsqueeze_dim(0);
        let earlier = class
            .repeat_dim(0, pictures)
            .lower(label.repeat_dim(1, classes));
        let before = logits
            .clone()
            .greater(own.clone())
            .bool_or(logits.equal(own).bool_and(earlier));
        let place: Tensor<1, Int> = before.int().sum_dim(1).squeeze_dim(1);
        let within = place.lower_elem(FIRST as i64).int() * number;
        let right = predicted.clone().equal(labels).int();
        Self {
            losses,
            predicted,
            within: within.max_pair(right),
        }
    }

    /// Waits for the device. `batches` are at least one, and `labels` those of their pictures.
    fn read(batches: &[Self], labels: &[usize]) -> Vec<Answer> {
        let whole = |part: fn(&Self) -> &Tensor<1, Int>| {
            Tensor::cat(batches.iter().map(|batch| part(batch).clone()).collect(), 0)
        };
        let losses: Vec<Tensor<1>> = batches.iter().map(|batch| batch.losses.clone()).collect();
        let transaction = Transaction::default()
            .register(Tensor::cat(losses, 0))
            .register(whole(|batch| &batch.predicted))
            .register(whole(|batch| &batch.within));
        let numbers = Reading::begin(transaction).take();
        let answers = numbers[0]
            .iter::<f64>()
            .zip(numbers[1].iter::<i64>())
            .zip(numbers[2].iter::<i64>());
        labels
            .iter()
            .zip(answers)
            .map(|(label, ((loss, predicted), within))| Answer {
                label: *label,
                predicted: predicted as usize,
                within: within != 0,
                loss,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges logits of the classes given in rows.
    fn judge<const C: usize>(rows: &[[f32; C]], labels: &[i64]) -> Answers {
        let device = Device::flex();
        let values: Vec<f32> = rows.iter().flatten().copied().collect();
        let logits = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), C]), &device);
        let plain: Vec<usize> = labels.iter().map(|label| *label as usize).collect();
        let judged = Judged::new(logits, labels.to_vec(), &device);
        Answers(Judged::read(&[judged], &plain))
    }

    #[test]
    fn the_fifth_place_counts_and_the_sixth_does_not() {
        let rising = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let within: Vec<bool> = (0..7)
            .map(|label| judge(&[rising], &[label]).0[0].within)
            .collect();
        assert_eq!(within, [false, false, true, true, true, true, true]);
        let answer = judge(&[rising], &[6]).0[0];
        assert_eq!((answer.label, answer.predicted), (6, 6));
    }

    #[test]
    fn of_equal_logits_the_first_classes_come_first() {
        let level = [1.0; 7];
        let within: Vec<bool> = (0..7)
            .map(|label| judge(&[level], &[label]).0[0].within)
            .collect();
        assert_eq!(within, [true, true, true, true, true, false, false]);
    }

    #[test]
    fn nothing_is_among_the_first_five_where_logits_are_no_numbers() {
        let nothing = [f32::NAN; 7];
        assert!((1..7).all(|label| !judge(&[nothing], &[label]).0[0].within));
    }

    #[test]
    fn a_score_is_the_mean_over_pictures() {
        let answers = judge(
            &[[2.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 2.0, 0.0]],
            &[0, 0, 1],
        );
        // ln(e² + 2) - 2, twice, and ln(e² + 2).
        let right = (2.0_f64.exp() + 2.0).ln() - 2.0;
        let score = answers.score();
        assert!((score.loss - (right + 2.0 / 3.0)).abs() < 1e-6, "{score:?}");
        assert!((score.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((score.top5 - 1.0).abs() < 1e-12);
    }
}
