//! Which classes a network takes for which: counts, and the score of every class.

use serde::Serialize;

use super::evaluation::{Answer, Answers};

/// How often pictures of one class were taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The class that they were taken for.
    pub class: usize,
    /// How many.
    pub pictures: u64,
}

/// How well a network does on the pictures of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// The class.
    pub class: usize,
    /// Validation pictures of it.
    pub pictures: u64,
    /// The share classified rightly.
    pub accuracy: f64,
    /// The share whose class is among the five with the largest logits.
    pub top5: f64,
    /// Cross-entropy, natural logarithm, mean over its pictures.
    pub loss: f64,
    /// The class that most of its other pictures were taken for, the first of those with as many;
    /// none if all were classified rightly.
    pub mistake: Option<Mistake>,
}

/// How many pictures of every class were taken for every class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// Row by row; the row is the class that pictures have.
    counts: Vec<u64>,
}

impl Confusion {
    /// Counts answers about pictures of `classes` classes.
    ///
    /// # Panics
    /// If an answer names a class that is not among them.
    pub fn new(answers: &Answers, classes: usize) -> Self {
        let mut counts = vec![0; classes * classes];
        for answer in &answers.0 {
            assert!(answer.label < classes && answer.predicted < classes);
            counts[answer.label * classes + answer.predicted] += 1;
        }
        Self { classes, counts }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// What the pictures of a class were taken for: one count for every class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn row(&self, class: usize) -> &[u64] {
        &self.counts[class * self.classes..][..self.classes]
    }

    /// The share of the pictures of each class that were taken for each class, row by row; a class
    /// without pictures has a row of zeros.
    pub fn shares(&self) -> Vec<f64> {
        (0..self.classes)
            .flat_map(|class| {
                let row = self.row(class);
                let pictures = row.iter().sum::<u64>().max(1) as f64;
                row.iter().map(move |count| *count as f64 / pictures)
            })
            .collect()
    }

    /// The most frequent mistake about pictures of a class.
    fn mistake(&self, class: usize) -> Option<Mistake> {
        let others = self.row(class).iter().enumerate();
        others
            .filter(|(other, pictures)| *other != class && **pictures > 0)
            .map(|(class, &pictures)| Mistake { class, pictures })
            // Of equal ones the last is the largest, so from the last to the first.
            .rev()
            .max_by_key(|mistake| mistake.pictures)
    }
}

impl Answers {
    /// The score of every class that has validation pictures, worst first; where accuracies are
    /// equal, the one with the larger loss first.
    pub fn classes(&self, confusion: &Confusion) -> Vec<ClassScore> {
        let mut of_class: Vec<Vec<Answer>> = vec![Vec::new(); confusion.classes];
        for answer in &self.0 {
            of_class[answer.label].push(*answer);
        }
        let mut scores: Vec<ClassScore> = of_class
            .into_iter()
            .enumerate()
            .filter(|(_, answers)| !answers.is_empty())
            .map(|(class, answers)| {
                let pictures = answers.len() as u64;
                let score = Self(answers).score();
                ClassScore {
                    class,
                    pictures,
                    accuracy: score.accuracy,
                    top5: score.top5,
                    loss: score.loss,
                    mistake: confusion.mistake(class),
                }
            })
            .collect();
        scores.sort_by(|left, right| {
            let by_accuracy = left.accuracy.total_cmp(&right.accuracy);
            by_accuracy.then(right.loss.total_cmp(&left.loss))
        });
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of (label, predicted), each with a loss of its own.
    fn answers(pairs: &[(usize, usize)]) -> Answers {
        let answer = |(index, (label, predicted)): (usize, &(usize, usize))| Answer {
            label: *label,
            predicted: *predicted,
            within: true,
            loss: index as f64,
        };
        Answers(pairs.iter().enumerate().map(answer).collect())
    }

    #[test]
    fn rows_are_the_classes_that_pictures_have() {
        let answers = answers(&[(0, 1), (0, 1), (0, 0), (0, 2), (2, 2)]);
        let confusion = Confusion::new(&answers, 3);
        assert_eq!(confusion.row(0), [1, 2, 1]);
        assert_eq!(confusion.row(1), [0, 0, 0]);
        assert_eq!(confusion.row(2), [0, 0, 1]);
        let shares = [0.25, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(confusion.shares(), shares);
    }

    #[test]
    fn the_worst_class_comes_first_with_what_it_is_taken_for() {
        let pairs = [
            (0, 0),
            (1, 2),
            (1, 3),
            (1, 1),
            (1, 3),
            (1, 2),
            (3, 0),
            (2, 2),
        ];
        let answers = answers(&pairs);
        let classes = answers.classes(&Confusion::new(&answers, 5));
        let order: Vec<usize> = classes.iter().map(|score| score.class).collect();
        // Class 4 has no pictures; classes 2 and 0 are both right, and 2 has the larger loss.
        assert_eq!(order, [3, 1, 2, 0]);
        let one = &classes[1];
        assert_eq!((one.pictures, one.accuracy, one.loss), (5, 0.2, 3.0));
        // Taken for 2 and 3 equally often: the first of them.
        assert_eq!(
            one.mistake,
            Some(Mistake {
                class: 2,
                pictures: 2
            })
        );
        assert_eq!(classes[3].mistake, None);
    }
}
