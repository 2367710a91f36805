//! Numbers and tensors as recordings write them: every bit survives, and what does not fit is
//! refused before any memory is taken for it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tensor::{AnyTensor, ElementType, TensorError};

/// A number that is written as the shortest text that leads back to it, which JSON's numbers
/// do not promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact(pub f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|_| de::Error::custom(format_args!("`{text}` is no number")))
    }
}

/// Bytes that are written in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("bytes that are not in hexadecimal"))
    }
}

/// The elements of a tensor: the bits of float32 in hexadecimal, little-endian, row-major. Class ids
/// are written as floats, too.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorValues {
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Whether the elements are class ids.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub class_ids: bool,
    /// Four bytes for every element.
    pub data: Bytes,
}

impl TensorValues {
    /// The elements of `tensor`. Waits for the device.
    ///
    /// # Errors
    ///
    /// The device reports an error.
    pub(super) fn of(tensor: &AnyTensor) -> Result<Self, TensorError> {
        let values = tensor.read()?;
        Ok(Self {
            shape: tensor.shape().to_vec(),
            class_ids: tensor.element_type() == ElementType::ClassId,
            data: Bytes(
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            ),
        })
    }

    /// A tensor with these elements on the CPU.
    ///
    /// # Errors
    ///
    /// The shape is not allowed, or the elements do not fill it.
    pub(super) fn tensor(&self) -> Result<AnyTensor, TensorError> {
        let element_type = if self.class_ids {
            ElementType::ClassId
        } else {
            ElementType::Float
        };
        let (chunks, rest) = self.data.0.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(TensorError::Data {
                values: chunks.len() + 1,
                shape: self.shape.clone(),
            });
        }
        let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes));
        AnyTensor::on_cpu(values.collect(), &self.shape, element_type)
    }
}

impl fmt::Debug for TensorValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TensorValues")
            .field("shape", &self.shape)
            .field("class_ids", &self.class_ids)
            .finish_non_exhaustive()
    }
}

/// Bytes in hexadecimal.
pub(super) fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

/// The counterpart of [`encode`].
fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: f64) -> f64 {
        let text = serde_json::to_string(&Exact(value)).unwrap();
        serde_json::from_str::<Exact>(&text).unwrap().0
    }

    #[test]
    fn every_number_survives() {
        for value in [
            0.1 + 0.2,
            -0.0,
            1e-310,
            f64::MAX,
            f64::INFINITY,
            2.0_f64.powi(60),
        ] {
            assert_eq!(round_trip(value).to_bits(), value.to_bits(), "{value}");
        }
        assert!(round_trip(f64::NAN).is_nan());
        assert!(serde_json::from_str::<Exact>("\"many\"").is_err());
    }

    #[test]
    fn hexadecimal_leads_back_and_garbage_is_refused() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        for garbage in ["0", "0g", "é", "0x12"] {
            assert_eq!(decode(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn tensors_that_do_not_fill_their_shape_are_refused() {
        let values = |shape: &[usize], bytes: usize| TensorValues {
            shape: shape.to_vec(),
            class_ids: false,
            data: Bytes(vec![0; bytes]),
        };
        assert!(values(&[2, 3], 24).tensor().is_ok());
        assert!(values(&[], 4).tensor().is_ok());
        for (shape, bytes) in [
            (&[2, 3][..], 20),
            (&[2, 3], 25),
            (&[usize::MAX, 2], 8),
            (&[0], 0),
            (&[1; 99], 4),
        ] {
            assert!(values(shape, bytes).tensor().is_err(), "{shape:?}");
        }
    }

    #[test]
    fn class_ids_stay_class_ids() {
        let ids = AnyTensor::on_cpu(vec![0.0, 7.0, 3.0], &[3], ElementType::ClassId).unwrap();
        let values = TensorValues::of(&ids).unwrap();
        let back = values.tensor().unwrap();
        assert_eq!(back.element_type(), ElementType::ClassId);
        assert_eq!(back.read().unwrap(), [0.0, 7.0, 3.0]);
    }
}
