//! Tensors by name, off the device, on their way to a file and back: every bit survives.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};

use super::network::Network;
use super::parameters::parameters;
use super::weights::WeightsError;
use crate::device::{read, upload};

/// Tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors(BTreeMap<String, Values>);

/// The elements of one.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// In the order in which they lie in memory.
    Floats { shape: Vec<usize>, values: Vec<f32> },
    /// A count, which has no dimensions.
    Count(i64),
}

impl Tensors {
    /// Adds a tensor, after waiting for the device.
    ///
    /// # Panics
    /// When its elements are no floats.
    pub(crate) fn add<const D: usize>(&mut self, name: String, tensor: Tensor<D>) {
        let data = read(tensor).convert::<f32>();
        let shape = data.shape().to_vec();
        let values = data
            .try_into_vec()
            .expect("the values were converted to f32");
        self.0.insert(name, Values::Floats { shape, values });
    }

    /// Adds a count.
    pub(crate) fn add_count(&mut self, name: String, count: i64) {
        self.0.insert(name, Values::Count(count));
    }

    /// Whether every element is a number.
    pub fn are_finite(&self) -> bool {
        self.0.values().all(|values| match values {
            Values::Floats { values, .. } => values.iter().all(|value| value.is_finite()),
            Values::Count(_) => true,
        })
    }

    /// What they hold, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|values| values.data_len() as u64).sum()
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a tensor of this shape.
    ///
    /// # Errors
    /// When there is none, or it has another shape or no floats.
    pub(crate) fn take<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, WeightsError> {
        match self.0.remove(name) {
            Some(Values::Floats { shape, values }) if shape == expected => {
                Ok(upload(TensorData::new(values, expected), device))
            }
            Some(Values::Floats { shape, .. }) => Err(WeightsError::Shape {
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: shape,
            }),
            Some(Values::Count(_)) => Err(WeightsError::Type {
                name: name.to_owned(),
                found: format!("{:?}", Dtype::I64),
            }),
            None => Err(missing(name)),
        }
    }

    /// Takes a count.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn take_count(&mut self, name: &str) -> Result<i64, WeightsError> {
        match self.0.remove(name) {
            Some(Values::Count(count)) => Ok(count),
            _ => Err(missing(name)),
        }
    }

    /// When everything was taken.
    ///
    /// # Errors
    /// When something is left.
    pub(crate) fn end(self) -> Result<(), WeightsError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Unexpected {
            names: self.0.into_keys().collect(),
        })
    }

    /// The bytes of a safetensors file; equal tensors give equal bytes.
    ///
    /// # Errors
    /// When there are more than a file can have.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightsError> {
        Ok(safetensors::serialize(&self.0, None)?)
    }

    /// The counterpart of [`Self::to_safetensors`].
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or have other types.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes)?;
        let values = |name: &str, view: &safetensors::tensor::TensorView<'_>| {
            let other = || WeightsError::Type {
                name: name.to_owned(),
                found: format!("{:?}", view.dtype()),
            };
            match view.dtype() {
                Dtype::F32 => {
                    let (values, _) = view.data().as_chunks::<4>();
                    Ok(Values::Floats {
                        shape: view.shape().to_vec(),
                        values: values.iter().copied().map(f32::from_le_bytes).collect(),
                    })
                }
                Dtype::I64 => {
                    let count = <[u8; 8]>::try_from(view.data()).map_err(|_| other())?;
                    Ok(Values::Count(i64::from_le_bytes(count)))
                }
                _ => Err(other()),
            }
        };
        let tensors = file.iter().map(|(name, view)| {
            let values = values(name, &view)?;
            Ok((name.to_owned(), values))
        });
        tensors.collect::<Result<_, _>>().map(Self)
    }
}

fn missing(name: &str) -> WeightsError {
    WeightsError::Missing {
        names: vec![name.to_owned()],
    }
}

impl View for &Values {
    fn dtype(&self) -> Dtype {
        match self {
            Values::Floats { .. } => Dtype::F32,
            Values::Count(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Values::Floats { shape, .. } => shape,
            Values::Count(_) => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Values::Floats { values, .. } => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                bytes.collect::<Vec<u8>>().into()
            }
            Values::Count(count) => count.to_le_bytes().to_vec().into(),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Values::Floats { values, .. } => values.len() * size_of::<f32>(),
            Values::Count(_) => size_of::<i64>(),
        }
    }
}

/// The names of the trained parameters.
pub(crate) fn trained_names(network: &Network) -> BTreeMap<ParamId, String> {
    parameters(network)
        .into_iter()
        .filter(|parameter| parameter.trained)
        .map(|parameter| (parameter.id, parameter.name))
        .collect()
}

/// The trained parameters as they lie in memory, so that matrices are [inputs, outputs].
pub fn trained_tensors(network: &Network) -> Tensors {
    struct Collector {
        names: BTreeMap<ParamId, String>,
        found: Tensors,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(name) = self.names.remove(&param.id) {
                self.found.add(name, param.val().inner());
            }
        }
    }
    let mut collector = Collector {
        names: trained_names(network),
        found: Tensors::default(),
    };
    network.visit(&mut collector);
    collector.found
}

/// The network with other values in its trained parameters; `device` records no gradients.
///
/// # Errors
/// When `tensors` are not those of exactly these parameters.
pub fn with_trained(
    network: Network,
    tensors: Tensors,
    device: &Device,
) -> Result<Network, WeightsError> {
    struct Replacement<'a> {
        names: BTreeMap<ParamId, String>,
        tensors: Tensors,
        device: &'a Device,
        error: Option<WeightsError>,
    }
    impl ModuleMapper for Replacement<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(name) = self.names.remove(&param.id) else {
                return param;
            };
            match self.tensors.take(&name, param.dims(), self.device) {
                Ok(values) => {
                    let (id, _, mapper) = param.consume();
                    let values = values.autodiff().require_grad();
                    Param::from_mapped_value(id, values, mapper)
                }
                Err(error) => {
                    self.error.get_or_insert(error);
                    param
                }
            }
        }
    }
    let mut replacement = Replacement {
        names: trained_names(&network),
        tensors,
        device,
        error: None,
    };
    let network = network.map(&mut replacement);
    if let Some(error) = replacement.error {
        return Err(error);
    }
    replacement.tensors.end()?;
    Ok(network)
}
