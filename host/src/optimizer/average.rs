//! The exponential moving average of the trained weights (Polyak and Juditsky, 1992, in the form of
//! TensorFlow and timm), in float32 on the device.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use crate::kernels::update;
use crate::model::Network;

/// The average of the weights of one network over its updates.
#[derive(Debug)]
pub struct Average {
    decay: f64,
    warm_up: bool,
    pub(super) updates: u64,
    /// The averages of the trained parameters, flat.
    pub(super) values: HashMap<ParamId, Tensor<1>>,
}

impl Average {
    /// Begins with the weights as they are. `decay` is the share that the average keeps at each
    /// update; with `warm_up` it keeps no more than (1 + t)/(10 + t) at update t, counted from 1, so
    /// that the first weights are soon forgotten.
    pub fn new(network: &Network, decay: f64, warm_up: bool) -> Self {
        let mut collector = Collector(HashMap::new());
        network.visit(&mut collector);
        Self {
            decay,
            warm_up,
            updates: 0,
            values: collector.0,
        }
    }

    /// Takes in the weights after an update.
    pub fn update(&mut self, network: &Network) {
        self.updates += 1;
        let step = self.updates as f64;
        let decay = if self.warm_up {
            self.decay.min((1.0 + step) / (10.0 + step))
        } else {
            self.decay
        };
        let mut collector = Collector(HashMap::new());
        network.visit(&mut collector);
        for (id, value) in collector.0 {
            if let Some(average) = self.values.remove(&id) {
                let average = if update::fits(&average) && update::fits(&value) {
                    update::blend(average, value, decay as f32)
                } else {
                    average.mul_scalar(decay) + value.mul_scalar(1.0 - decay)
                };
                self.values.insert(id, average);
            }
        }
    }

    /// The network with the averages in the place of its trained weights.
    pub fn network(&self, network: &Network) -> Network {
        network.clone().map(&mut Replacement(&self.values))
    }
}

/// The trained parameters, flat.
struct Collector(HashMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            let value = param.val().inner();
            let length = value.shape().num_elements();
            self.0.insert(param.id, value.reshape([length]));
        }
    }
}

/// Puts averages in the place of parameters.
struct Replacement<'a>(&'a HashMap<ParamId, Tensor<1>>);

impl ModuleMapper for Replacement<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(average) = self.0.get(&param.id) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let average = average.clone().reshape(tensor.dims());
        Param::from_mapped_value(id, average.autodiff().require_grad(), mapper)
    }
}
