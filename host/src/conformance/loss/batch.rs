//! The batches that a loss hook is given: plain numbers, and the same as tensors.

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};

use super::super::numbers::{below, list, normal, stream};
use crate::phase::Phase;
use crate::plugin::{LossInputs, Needs};
use crate::tensor::AnyTensor;

/// Modules of the network whose features are given, but for the last, whose output is the logits.
const BOUNDARIES: usize = 2;

/// Tokens and width of a feature.
const FEATURE: [usize; 2] = [3, 4];

/// One batch.
#[derive(Clone, Debug)]
pub(in super::super) struct Batch {
    /// How a report calls it.
    pub(super) name: String,
    pub(super) pictures: usize,
    pub(super) classes: usize,
    pub(super) logits: Vec<f32>,
    pub(super) ids: Vec<i64>,
    pub(super) soft: Option<Vec<f32>>,
    network: Vec<Vec<f32>>,
    meta: Vec<Vec<f32>>,
    teacher: Vec<f32>,
}

/// A float input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Logits,
    /// The activation that leaves this module of the trained network.
    Network(usize),
    /// The activation that leaves this module of the meta model.
    Meta(usize),
}

/// The tensors whose gradients are looked at.
#[derive(Debug)]
pub(super) struct Leaves {
    logits: Tensor<2>,
    network: Vec<Tensor<3>>,
    meta: Vec<Tensor<3>>,
}

impl Part {
    /// Every float input that a hook with these needs gets in this phase.
    pub(super) fn given(needs: Needs, phase: Phase) -> Vec<Self> {
        let mut parts = vec![Self::Logits];
        if needs.network_features {
            parts.extend((0..BOUNDARIES).map(Self::Network));
        }
        if needs.meta_features && phase.module().is_some() {
            parts.extend((0..BOUNDARIES).map(Self::Meta));
        }
        parts
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Logits => "the logits".to_owned(),
            Self::Network(module) => format!("the network's feature {module}"),
            Self::Meta(module) => format!("the meta model's feature {module}"),
        }
    }
}

impl Batch {
    /// Normal draws with standard deviation `deviation`, and class ids at random.
    pub(super) fn new(pictures: usize, classes: usize, deviation: f32, sample: u64) -> Self {
        let mut random = stream("batch", sample);
        let features = pictures * FEATURE[0] * FEATURE[1];
        let mut draw = |count| normal(&mut random, count, deviation);
        let logits = draw(pictures * classes);
        let network = (0..BOUNDARIES).map(|_| draw(features)).collect();
        let meta = (0..BOUNDARIES).map(|_| draw(features)).collect();
        let mut taught = stream("teacher", sample);
        let ids: Vec<i64> = (0..pictures)
            .map(|_| below(&mut random, classes as u64) as i64)
            .collect();
        Self {
            name: format!("sample {sample}, deviation {deviation}"),
            pictures,
            classes,
            logits,
            ids,
            soft: None,
            network,
            meta,
            teacher: normal(&mut taught, pictures * classes, deviation),
        }
    }

    /// The same with mixed labels.
    pub(super) fn mixed(mut self) -> Self {
        let soft = (0..self.pictures)
            .flat_map(|picture| {
                let share = 0.2 + 0.6 * (picture as f32 / self.pictures as f32);
                let own = self.ids[picture];
                let other = self.ids[(picture + 1) % self.pictures];
                (0..self.classes as i64).map(move |class| {
                    share * f32::from(u8::from(class == own))
                        + (1.0 - share) * f32::from(u8::from(class == other))
                })
            })
            .collect();
        self.soft = Some(soft);
        self
    }

    /// The same with soft targets that are certain of these classes.
    pub(super) fn certain(mut self, ids: &[i64]) -> Self {
        let classes = self.classes as i64;
        let rows = ids
            .iter()
            .flat_map(|&own| (0..classes).map(move |class| f32::from(u8::from(class == own))));
        self.soft = Some(rows.collect());
        self
    }

    /// The pictures in this order, each as often as it is named.
    pub(super) fn picked(&self, order: &[usize], how: &str) -> Self {
        let features = FEATURE[0] * FEATURE[1];
        let rows = |values: &[f32], size: usize| -> Vec<f32> {
            order
                .iter()
                .flat_map(|&picture| values[picture * size..(picture + 1) * size].to_vec())
                .collect()
        };
        let all = |parts: &[Vec<f32>]| parts.iter().map(|part| rows(part, features)).collect();
        Self {
            name: format!("{}, {how}", self.name),
            pictures: order.len(),
            classes: self.classes,
            logits: rows(&self.logits, self.classes),
            ids: order.iter().map(|&picture| self.ids[picture]).collect(),
            soft: self.soft.as_deref().map(|soft| rows(soft, self.classes)),
            network: all(&self.network),
            meta: all(&self.meta),
            teacher: rows(&self.teacher, self.classes),
        }
    }

    /// The same with every float input changed.
    pub(super) fn changed(mut self, name: &str, change: impl Fn(&mut [f32])) -> Self {
        name.clone_into(&mut self.name);
        change(&mut self.logits);
        change(&mut self.teacher);
        for part in self.network.iter_mut().chain(&mut self.meta) {
            change(part);
        }
        self
    }

    /// The numbers of one input.
    pub(super) fn part_mut(&mut self, part: Part) -> &mut Vec<f32> {
        match part {
            Part::Logits => &mut self.logits,
            Part::Network(module) => &mut self.network[module],
            Part::Meta(module) => &mut self.meta[module],
        }
    }

    /// What an author needs to make it again.
    pub(super) fn at(&self, phase: Phase) -> String {
        let targets = match &self.soft {
            None => String::new(),
            Some(soft) => format!(", soft targets {}", list(soft)),
        };
        format!(
            "{} pictures, {} classes ({}), phase {phase}, logits {}, class ids {}{targets}",
            self.pictures,
            self.classes,
            self.name,
            list(&self.logits),
            list(&self.ids)
        )
    }

    /// The tensors as training would give them, and the ones whose gradients can be asked for; a hook
    /// that asks a `teacher` gets one.
    pub(super) fn tensors(
        &self,
        needs: Needs,
        teacher: bool,
        phase: Phase,
    ) -> (LossInputs, Leaves) {
        let device = Device::flex().autodiff();
        let [tokens, width] = FEATURE;
        let features = |parts: &[Vec<f32>]| -> Vec<Tensor<3>> {
            parts
                .iter()
                .map(|part| {
                    let data = TensorData::new(part.clone(), [self.pictures, tokens, width]);
                    Tensor::from_data(data, &device).require_grad()
                })
                .collect()
        };
        let rows = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [self.pictures, self.classes]);
            Tensor::<2>::from_data(data, &device)
        };
        let given = |parts: &[Vec<f32>], wanted: bool| {
            if wanted { features(parts) } else { Vec::new() }
        };
        let leaves = Leaves {
            logits: rows(&self.logits).require_grad(),
            network: given(&self.network, needs.network_features),
            meta: given(&self.meta, needs.meta_features && phase.module().is_some()),
        };
        let ids = TensorData::new(self.ids.clone(), [self.pictures]);
        let ids = Tensor::<1, Int>::from_data(ids, &device);
        let inputs = LossInputs {
            logits: any(leaves.logits.clone()),
            class_ids: AnyTensor::from_ids(ids).expect("a batch has a picture"),
            soft_targets: self.soft.as_deref().map(|soft| any(rows(soft))),
            network_features: numbered(&leaves.network),
            meta_features: numbered(&leaves.meta),
            weights: Vec::new(),
            teacher: teacher.then(|| any(rows(&self.teacher))),
        };
        (inputs, leaves)
    }
}

impl Leaves {
    /// The gradient of one input; `None` when nothing reaches it.
    pub(super) fn gradient(&self, part: Part, gradients: &Gradients) -> Option<Vec<f32>> {
        match part {
            Part::Logits => self.logits.grad(gradients).map(numbers),
            Part::Network(module) => self.network[module].grad(gradients).map(numbers),
            Part::Meta(module) => self.meta[module].grad(gradients).map(numbers),
        }
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

fn any<const D: usize>(tensor: Tensor<D>) -> AnyTensor {
    AnyTensor::from_tensor(tensor).expect("a batch has a picture and a class")
}

fn numbered(features: &[Tensor<3>]) -> Vec<(u32, AnyTensor)> {
    features
        .iter()
        .enumerate()
        .map(|(module, feature)| (module as u32, any(feature.clone())))
        .collect()
}
