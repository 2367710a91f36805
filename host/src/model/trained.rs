//! The weights of a network that are trained, by name, still connected to what is trained.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::network::Network;
use super::parameters::Path;
use crate::tensor::{AnyTensor, TensorError};

/// The trained weights whose names are `wanted`, in the order of the network, with the names and
/// shapes of the weight file of a whole network. Each shares its values with its parameter, and the
/// gradient of what is computed from it is a gradient of the parameter.
///
/// # Errors
///
/// When a weight has more dimensions than [`AnyTensor`] supports.
pub fn trained_weights(
    network: &Network,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, AnyTensor)>, TensorError> {
    struct Collector<F> {
        path: Path,
        wanted: F,
        found: Result<Vec<(String, AnyTensor)>, TensorError>,
    }
    impl<F: Fn(&str) -> bool> ModuleVisitor for Collector<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Ok(found) = &mut self.found else {
                return;
            };
            if !param.is_require_grad() {
                return;
            }
            let name = self.path.name();
            if !(self.wanted)(&name) {
                return;
            }
            let mut tensor = param.val();
            if D == 2 && self.path.is_linear() {
                tensor = tensor.swap_dims(0, 1);
            }
            match AnyTensor::from_tensor(tensor) {
                Ok(tensor) => found.push((name, tensor)),
                Err(error) => self.found = Err(error),
            }
        }
    }
    let mut collector = Collector {
        path: Path::default(),
        wanted,
        found: Ok(Vec::new()),
    };
    network.visit(&mut collector);
    collector.found
}
