//! Whether the gradient is the derivative: central differences along random directions.
//!
//! A direction changes every element of one input by the same amount, up or down, so that a few
//! directions see all elements. Two step lengths tell how far a difference can be trusted: a kink
//! between its ends makes them disagree, or makes the slopes before and behind the middle disagree by
//! more than they would where the loss is merely curved.

use super::super::numbers::{below, stream};
use super::super::report::{Check, Finding, Law, Verdict};
use super::batch::{Batch, Part};
use super::probe::Probe;
use super::{Character, DEVIATION};

const GRADIENT: Law = Law {
    id: "gradient",
    says: "the gradient is the derivative of the loss, by central differences along random directions",
};

const CONNECTED: Law = Law {
    id: "connected",
    says: "the loss is differentiated, and what moves it has a gradient",
};

pub(super) const LAWS: [Law; 2] = [GRADIENT, CONNECTED];

/// Pictures and classes of the batches, the smallest first.
const SHAPES: [(usize, usize); 3] = [(2, 3), (4, 4), (6, 5)];

/// Directions along which every input is moved.
const DIRECTIONS: u64 = 6;

/// How far the elements are moved; the other step is twice as long.
const STEP: f32 = 0.02;

/// Error of a derivative that is allowed, as a part of the gradient's length.
const TOLERANCE: f64 = 0.01;

/// Rounding errors of a loss in units of its last place, of which some come together.
const ROUNDING: f64 = 8.0 * f32::EPSILON as f64;

/// A derivative by differences.
#[derive(Clone, Copy, Debug)]
struct Slope {
    value: f64,
    /// What rounding may have done to it.
    noise: f64,
    /// How much the two step lengths disagree, and what a kink between them may have done.
    bend: f64,
}

pub(super) fn laws(character: &Character<'_>) -> Vec<Check> {
    let mut gradient = Verdict::new(GRADIENT);
    let mut connected = Verdict::new(CONNECTED);
    let mut probe = character.probe();
    let mut measured = 0;
    let budget = character.subject.budget();
    for (index, (pictures, classes)) in SHAPES.into_iter().enumerate() {
        let batch = Batch::new(pictures, classes, DEVIATION, 20 + index as u64);
        let mixed = character.no_soft_targets.is_none();
        for batch in [Some(batch.clone()), mixed.then(|| batch.mixed())]
            .into_iter()
            .flatten()
        {
            let Ok(found) = probe.differentiate(&batch) else {
                continue;
            };
            if !found.tracked {
                connected.fail(Finding::new(
                    batch.at(probe.phase),
                    "a loss that is differentiated",
                    "a constant: no operation of the tensors leads from its inputs to it (`detach`, \
                     `greater`, `argmax`, and `one-hot` pass no gradient)",
                ));
                continue;
            }
            for (part, derived) in &found.gradients {
                if !budget.lasts() {
                    break;
                }
                let derived = derived.clone().unwrap_or_default();
                if derived.iter().any(|value| *value != 0.0) {
                    measured += 1;
                    compare(&mut gradient, &mut probe, &batch, *part, &derived);
                } else if !matches!(part, Part::Meta(_)) {
                    // The meta model is frozen, so nobody misses a gradient of its features.
                    moves(&mut connected, &mut probe, &batch, *part);
                }
            }
        }
    }
    let gradient = if measured == 0 {
        Verdict::not_applicable(GRADIENT, "no input has a gradient")
    } else {
        gradient.finish(format!(
            "gradients: {measured}, along {DIRECTIONS} directions each, to {} % of their length",
            100.0 * TOLERANCE
        ))
    };
    vec![
        gradient,
        connected.finish("logits and network features".to_owned()),
    ]
}

/// Compares a gradient with differences; a kink may spoil one direction in three.
fn compare(
    verdict: &mut Verdict,
    probe: &mut Probe<'_>,
    batch: &Batch,
    part: Part,
    derived: &[f32],
) {
    let length = derived
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    let mut wrong = Vec::new();
    let mut measured = 0;
    for number in 0..DIRECTIONS {
        let direction = direction(number, derived.len());
        let Some(slope) = slope(probe, batch, part, &direction) else {
            continue;
        };
        // A loss so large that its rounding hides the derivative tells nothing.
        if slope.noise > 0.1 * length {
            continue;
        }
        measured += 1;
        let expected = slope.value;
        let got: f64 = derived
            .iter()
            .zip(&direction)
            .map(|(derivative, step)| f64::from(*derivative) * f64::from(*step))
            .sum();
        let error = (got - expected).abs();
        if error.is_nan() || error > TOLERANCE * length + slope.noise + slope.bend {
            wrong.push((number, expected, got));
        }
    }
    if let Some((number, expected, got)) = wrong.first()
        && wrong.len() * 3 > measured
    {
        verdict.fail(Finding::new(
            format!(
                "{}; {} moved along direction {number}: {}",
                batch.at(probe.phase),
                part.name(),
                super::super::numbers::list(&direction(*number, derived.len())),
            ),
            format!("the derivative {expected:.6} by central differences"),
            format!(
                "{got:.6} by the gradient, wrong in {} of {measured} directions (a `detach`, \
                 `greater`, or `argmax` inside cuts a part off)",
                wrong.len()
            ),
        ));
    }
}

/// Finds out whether an input without gradient moves the loss all the same.
fn moves(verdict: &mut Verdict, probe: &mut Probe<'_>, batch: &Batch, part: Part) {
    let size = batch.clone().part_mut(part).len();
    let slopes: Vec<Slope> = (0..DIRECTIONS)
        .filter_map(|number| slope(probe, batch, part, &direction(number, size)))
        .filter(|slope| slope.value.abs() > 10.0 * slope.noise + 5.0 * slope.bend)
        .collect();
    if let [slope, _, ..] = slopes.as_slice() {
        verdict.fail(Finding::new(
            format!("{}; {} moved", batch.at(probe.phase), part.name()),
            format!(
                "a gradient, since the derivative is about {:.6}",
                slope.value
            ),
            "none (is there a `detach` on the way?)",
        ));
    }
}

/// 1 or -1 for every element.
fn direction(number: u64, size: usize) -> Vec<f32> {
    let mut random = stream("direction", number);
    (0..size)
        .map(|_| {
            if below(&mut random, 2) == 0 {
                1.0
            } else {
                -1.0
            }
        })
        .collect()
}

/// The derivative along a direction; `None` where the loss cannot be computed or is not finite.
fn slope(probe: &mut Probe<'_>, batch: &Batch, part: Part, direction: &[f32]) -> Option<Slope> {
    let mut largest = 0.0_f64;
    let mut loss = |step: f32| {
        let mut moved = batch.clone();
        for (value, up) in moved.part_mut(part).iter_mut().zip(direction) {
            *value += step * up;
        }
        let loss = probe.value(&moved).ok().filter(|loss| loss.is_finite())?;
        largest = largest.max(f64::from(loss.abs()));
        Some(f64::from(loss))
    };
    let middle = loss(0.0)?;
    // The slope between the ends, and how much steeper it is behind the middle than before it.
    let mut difference = |step: f32| {
        let (above, below) = (loss(step)?, loss(-step)?);
        let step = f64::from(step);
        let turn = (above - 2.0 * middle + below) / step;
        Some(((above - below) / (2.0 * step), turn))
    };
    let (near, turn) = difference(STEP)?;
    let (far, far_turn) = difference(2.0 * STEP)?;
    // Where the loss is smooth, twice the step turns twice as much; a kink turns at once.
    let kink = (2.0 * turn - far_turn).abs();
    Some(Slope {
        // The error of a central difference grows with the square of the step.
        value: (4.0 * near - far) / 3.0,
        noise: ROUNDING * largest / f64::from(STEP),
        bend: (near - far).abs() + kink,
    })
}
