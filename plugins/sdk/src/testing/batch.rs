//! Pictures for a loss hook, the loss on them, and its gradients.

use crate::native::tensors::Tensor as Values;
use crate::native::{Gradients, Stream, World};
use crate::{ElementType, Fault, Feature, Inputs, Loss, Phase, Step, Tensor};

use super::capture;

/// Half the distance of two losses whose difference gives a gradient.
const DISTANCE: f64 = 1e-4;

/// What a loss hook is given at one step: the first update of 100 in phase `meta`, unless said
/// otherwise.
#[derive(Clone, Debug)]
pub struct Batch {
    step: Step,
    logits: Values,
    class_ids: Values,
    soft_targets: Option<Values>,
    network_features: Vec<(u32, Values)>,
    meta_features: Vec<(u32, Values)>,
    weights: Vec<(String, Values)>,
    teacher: Option<Values>,
}

impl Batch {
    /// One row of logits and one class id for every picture.
    pub fn new<const PICTURES: usize, const CLASSES: usize>(
        logits: [[f32; CLASSES]; PICTURES],
        class_ids: [u32; PICTURES],
    ) -> Self {
        Self::of(
            CLASSES,
            logits
                .as_flattened()
                .iter()
                .copied()
                .map(f64::from)
                .collect(),
            class_ids.into_iter().map(f64::from).collect(),
        )
    }

    /// Standard normal logits and uniform class ids that are a function of `seed`.
    pub fn random(pictures: u32, classes: u32, seed: u64) -> Self {
        let mut stream = Stream::new(seed, 0);
        let logits = (0..pictures * classes).map(|_| stream.normal()).collect();
        let class_ids = (0..pictures)
            .map(|_| (stream.uniform() * f64::from(classes)).floor())
            .collect();
        Self::of(classes as usize, logits, class_ids)
    }

    fn of(classes: usize, logits: Vec<f64>, class_ids: Vec<f64>) -> Self {
        let pictures = class_ids.len();
        Self {
            step: Step {
                phase: Phase::Meta,
                module: 0,
                update: 0,
                updates: 100,
                epoch: 0.0,
                classes: classes as u32,
                pictures: pictures as u32,
            },
            logits: Values::floats(vec![pictures, classes], logits),
            class_ids: Values {
                shape: vec![pictures],
                values: class_ids,
                element_type: ElementType::ClassId,
            },
            soft_targets: None,
            network_features: Vec::new(),
            meta_features: Vec::new(),
            weights: Vec::new(),
            teacher: None,
        }
    }

    /// The same pictures with labels that were mixed: one row for every picture.
    #[must_use]
    pub fn with_soft_targets<const PICTURES: usize, const CLASSES: usize>(
        mut self,
        rows: [[f32; CLASSES]; PICTURES],
    ) -> Self {
        let values = rows.as_flattened().iter().copied().map(f64::from);
        self.soft_targets = Some(Values::floats(vec![PICTURES, CLASSES], values.collect()));
        self
    }

    /// The same with the activation that leaves `module` of the network; given to a hook that
    /// [needs](Loss::needs) it.
    ///
    /// # Panics
    ///
    /// The activation carries a fault.
    #[must_use]
    pub fn with_network_feature(mut self, module: u32, activation: &Tensor) -> Self {
        self.network_features.push((module, values(activation)));
        self
    }

    /// The same with the activation that leaves `module` of the meta model; given to a hook that
    /// [needs](Loss::needs) it, in phase `module`.
    ///
    /// # Panics
    ///
    /// The activation carries a fault.
    #[must_use]
    pub fn with_meta_feature(mut self, module: u32, activation: &Tensor) -> Self {
        self.meta_features.push((module, values(activation)));
        self
    }

    /// The same with a weight for [`weights`](crate::weights).
    ///
    /// # Panics
    ///
    /// The weight carries a fault.
    #[must_use]
    pub fn with_weight(mut self, name: &str, weight: &Tensor) -> Self {
        self.weights.push((name.to_owned(), values(weight)));
        self
    }

    /// The same with the logits of a teacher, one row for every picture, for
    /// [`teacher`](crate::teacher).
    #[must_use]
    pub fn with_teacher<const PICTURES: usize, const CLASSES: usize>(
        mut self,
        logits: [[f32; CLASSES]; PICTURES],
    ) -> Self {
        let values = logits.as_flattened().iter().copied().map(f64::from);
        self.teacher = Some(Values::floats(vec![PICTURES, CLASSES], values.collect()));
        self
    }

    /// The same pictures at another step: `change` sets what differs.
    #[must_use]
    pub fn at(mut self, change: impl FnOnce(&mut Step)) -> Self {
        change(&mut self.step);
        self
    }

    /// The step, for calls of [`Loss::compute`].
    pub const fn step(&self) -> &Step {
        &self.step
    }

    /// The inputs with every feature, for calls of [`Loss::compute`].
    pub fn inputs(&self) -> Inputs {
        let tensor = |values: &Values| Tensor::from_answer(Ok(values.clone()));
        let features = |features: &[(u32, Values)]| {
            let feature = |(module, values): &(u32, Values)| Feature {
                module: *module,
                activation: tensor(values),
            };
            features.iter().map(feature).collect()
        };
        Inputs {
            logits: tensor(&self.logits),
            class_ids: tensor(&self.class_ids),
            soft_targets: self.soft_targets.as_ref().map(tensor),
            network_features: features(&self.network_features),
            meta_features: features(&self.meta_features),
        }
    }

    /// The loss of `hook`, which is given what it needs and no more.
    ///
    /// # Errors
    ///
    /// The hook fails, or its answer is no tensor of one float, which the host would not take.
    pub fn loss<T: Loss>(&self, hook: &mut T) -> Result<f64, Fault> {
        let mut inputs = self.inputs();
        let needs = hook.needs();
        if !needs.network_features {
            inputs.network_features.clear();
        }
        if !needs.meta_features || self.step.phase != Phase::Module {
            inputs.meta_features.clear();
        }
        World::with(|world| {
            world.stream = Stream::new(world.seed, self.step.update);
            world.weights.clone_from(&self.weights);
            world.teacher.clone_from(&self.teacher);
        });
        let loss = hook.compute(&self.step, &inputs);
        World::with(|world| {
            world.weights.clear();
            world.teacher = None;
        });
        let loss = loss?;
        let loss = loss.handle()?;
        match (&loss.values[..], loss.element_type) {
            ([value], ElementType::Float) => Ok(*value),
            (_, ElementType::ClassId) => Err(Fault::new(
                crate::FaultCode::ElementType,
                "the elements of the loss are of type class id",
            )),
            _ => Err(
                Fault::shape(format!("the loss has the shape {:?}", loss.shape))
                    .with_hint("a tensor of one float is needed, the mean over the pictures"),
            ),
        }
    }

    /// The gradient of the loss with respect to the logits, row-major, by central differences.
    ///
    /// The hook is asked again and again from the same state, and has it again afterwards; what it
    /// writes is dropped.
    ///
    /// # Errors
    ///
    /// As [`Self::loss`]; also a hook that does not restore what it saves.
    pub fn gradient<T: Loss>(&self, hook: &mut T) -> Result<Vec<f64>, Fault> {
        self.differences(hook, |batch| &mut batch.logits.values)
    }

    /// As [`Self::gradient`], with respect to the activation that leaves `module` of the network.
    ///
    /// # Errors
    ///
    /// As [`Self::gradient`].
    ///
    /// # Panics
    ///
    /// The batch has no such feature.
    pub fn feature_gradient<T: Loss>(&self, hook: &mut T, module: u32) -> Result<Vec<f64>, Fault> {
        self.differences(hook, |batch| {
            let mut features = batch.network_features.iter_mut();
            match features.find(|(known, _)| *known == module) {
                Some((_, feature)) => &mut feature.values,
                None => panic!("the batch has no feature of module {module}"),
            }
        })
    }

    /// As [`Self::gradient`], with respect to a weight.
    ///
    /// # Errors
    ///
    /// As [`Self::gradient`].
    ///
    /// # Panics
    ///
    /// The batch has no such weight.
    pub fn weight_gradient<T: Loss>(&self, hook: &mut T, name: &str) -> Result<Vec<f64>, Fault> {
        self.differences(hook, |batch| {
            let found = batch.weights.iter_mut().find(|(known, _)| known == name);
            match found {
                Some((_, weight)) => &mut weight.values,
                None => panic!("the batch has no weight `{name}`"),
            }
        })
    }

    fn differences<T: Loss>(
        &self,
        hook: &mut T,
        leaf: impl Fn(&mut Self) -> &mut Vec<f64>,
    ) -> Result<Vec<f64>, Fault> {
        let state = hook.save();
        let mut moved = self.clone();
        let count = leaf(&mut moved).len();
        let mut work = || {
            let mut loss = |batch: &Self| {
                let loss = batch.loss(hook)?;
                hook.restore(&state)?;
                World::with(|world| world.gradients.replay());
                Ok(loss)
            };
            loss(self)?;
            (0..count)
                .map(|index| {
                    let value = leaf(&mut moved)[index];
                    leaf(&mut moved)[index] = value + DISTANCE;
                    let above = loss(&moved)?;
                    leaf(&mut moved)[index] = value - DISTANCE;
                    let below = loss(&moved)?;
                    leaf(&mut moved)[index] = value;
                    Ok((above - below) / (2.0 * DISTANCE))
                })
                .collect()
        };
        World::with(|world| world.gradients = Gradients::Recording(Vec::new()));
        let (gradient, _) = capture(&mut work);
        World::with(|world| world.gradients = Gradients::Off);
        gradient
    }
}

fn values(tensor: &Tensor) -> Values {
    match tensor.handle() {
        Ok(values) => values.clone(),
        Err(fault) => panic!("{}", fault.message),
    }
}
