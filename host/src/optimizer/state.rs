//! What the optimizer and the average remember, on its way to a checkpoint and back.

use burn::tensor::Device;

use super::adamw::{Moments, Optimizer};
use super::average::Average;
use crate::model::parameters::{Parameter, parameters};
use crate::model::{Network, Tensors, WeightsError};

/// The number of updates that an average has taken in; no parameter has a name without a dot.
const UPDATES: &str = "updates";

impl Optimizer {
    /// The moments of every parameter that has some, flat, with the number of their steps:
    /// `NAME.mean`, `NAME.square`, `NAME.steps`. Gradients that wait for a step are not in it.
    pub fn tensors(&self, network: &Network) -> Tensors {
        let mut tensors = Tensors::default();
        for Parameter { id, name, .. } in parameters(network) {
            if let Some(moments) = self.moments.get(&id) {
                tensors.add(format!("{name}.mean"), moments.mean.clone());
                tensors.add(format!("{name}.square"), moments.square.clone());
                tensors.add_count(format!("{name}.steps"), i64::from(moments.steps));
            }
        }
        tensors
    }

    /// The counterpart of [`Self::tensors`]; `device` records no gradients.
    ///
    /// # Errors
    /// When the tensors are not those of the trained parameters.
    pub fn restore(
        &mut self,
        network: &Network,
        mut tensors: Tensors,
        device: &Device,
    ) -> Result<(), WeightsError> {
        self.moments.clear();
        for parameter in trained(network) {
            let name = &parameter.name;
            let steps = format!("{name}.steps");
            // A parameter that no loss has reached has none.
            if !tensors.has(&steps) {
                continue;
            }
            let length = [parameter.shape.iter().product()];
            let moments = Moments {
                steps: tensors.take_count(&steps)? as i32,
                mean: tensors.take(&format!("{name}.mean"), length, device)?,
                square: tensors.take(&format!("{name}.square"), length, device)?,
            };
            self.moments.insert(parameter.id, moments);
        }
        tensors.end()
    }
}

impl Average {
    /// The averages, flat, by the names of their parameters, and the number of updates.
    pub fn tensors(&self, network: &Network) -> Tensors {
        let mut tensors = Tensors::default();
        for Parameter { id, name, .. } in parameters(network) {
            if let Some(value) = self.values.get(&id) {
                tensors.add(name, value.clone());
            }
        }
        tensors.add_count(UPDATES.to_owned(), self.updates as i64);
        tensors
    }

    /// The counterpart of [`Self::tensors`]; `device` records no gradients.
    ///
    /// # Errors
    /// When the tensors are not those of the trained parameters.
    pub fn restore(
        &mut self,
        network: &Network,
        mut tensors: Tensors,
        device: &Device,
    ) -> Result<(), WeightsError> {
        self.updates = tensors.take_count(UPDATES)? as u64;
        self.values.clear();
        for parameter in trained(network) {
            let length = [parameter.shape.iter().product()];
            let value = tensors.take(&parameter.name, length, device)?;
            self.values.insert(parameter.id, value);
        }
        tensors.end()
    }
}

fn trained(network: &Network) -> impl Iterator<Item = Parameter> {
    parameters(network)
        .into_iter()
        .filter(|parameter| parameter.trained)
}
