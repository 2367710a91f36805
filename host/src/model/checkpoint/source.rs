//! Tensors as they lie in a file: where, in which type, in which order. Values are read when they are
//! asked for, and no more bytes than the file has are ever asked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{bf16, f16};

use super::error::Problem;

/// Dimensions of a tensor that are believed.
const MOST_DIMENSIONS: usize = 8;

/// A file that stays open.
#[derive(Debug)]
pub(super) struct Source {
    file: Mutex<File>,
    length: u64,
}

impl Source {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let file = File::open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(std::io::Error::other("it is not a file").into());
        }
        Ok(Self {
            length: data.len(),
            file: Mutex::new(file),
        })
    }

    /// Bytes of the file.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `start` on; fewer when the file ends before.
    pub(super) fn bytes(&self, start: u64, length: usize) -> Result<Vec<u8>, Problem> {
        let length = (length as u64).min(self.length.saturating_sub(start));
        // Reading cannot leave the file in a state that matters: it is sought again every time.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The type of the values in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE 754, 16 bits.
    F16,
    /// The upper half of 32 bits.
    Bf16,
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
    /// Something that is no floating-point number, of so many bytes.
    Other(&'static str, usize),
}

impl Element {
    /// Its name, as safetensors writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::Other(name, _) => name,
        }
    }

    /// Bytes of a value.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(_, bytes) => bytes,
        }
    }

    /// Whether the values are floating-point numbers.
    pub(super) const fn is_float(self) -> bool {
        !matches!(self, Self::Other(..))
    }

    /// The value in these bytes, rounded to 32 bits.
    fn value(self, bytes: &[u8]) -> f32 {
        let array = |bytes: &[u8]| -> [u8; 8] {
            let mut array = [0; 8];
            array[..bytes.len()].copy_from_slice(bytes);
            array
        };
        let [a, b, c, d, ..] = array(bytes);
        match self {
            Self::F16 => f16::from_le_bytes([a, b]).to_f32(),
            Self::Bf16 => bf16::from_le_bytes([a, b]).to_f32(),
            Self::F32 => f32::from_le_bytes([a, b, c, d]),
            Self::F64 => f64::from_le_bytes(array(bytes)) as f32,
            Self::Other(..) => f32::NAN,
        }
    }
}

/// Values of a tensor, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The dimensions, as timm and PyTorch have them.
    pub shape: Vec<usize>,
    /// As many values as the dimensions say.
    pub values: Vec<f32>,
}

/// Where the values of one or several tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// The byte of the file that it begins at.
    pub(super) start: u64,
    /// Values in it.
    pub(super) count: u64,
    /// Their type.
    pub(super) element: Element,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    storage: Storage,
    /// The position of the first value, in values.
    offset: u64,
    shape: Vec<usize>,
    /// Values between neighbours, by dimension.
    strides: Vec<usize>,
    /// Values from the first to the last, both counted; 0 if there are none.
    span: u64,
}

impl Stored {
    /// A view, if it lies inside the storage, and the storage inside a file of `file_length` bytes.
    pub(super) fn new(
        storage: Storage,
        offset: u64,
        shape: Vec<usize>,
        strides: Vec<usize>,
        file_length: u64,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            return Err(format!(
                "it has {} dimensions and {} strides",
                shape.len(),
                strides.len()
            ));
        }
        let end = storage
            .count
            .checked_mul(storage.element.bytes() as u64)
            .and_then(|bytes| bytes.checked_add(storage.start));
        if end.is_none_or(|end| end > file_length) {
            return Err(format!(
                "its {} values lie beyond the end of the file",
                storage.count
            ));
        }
        let values = shape
            .iter()
            .try_fold(1_u64, |product, &side| product.checked_mul(side as u64));
        // A view that repeats values could ask for any amount of memory; weights never do.
        let Some(values) = values.filter(|&values| values <= storage.count) else {
            return Err(format!(
                "its shape {shape:?} asks for more values than the {} it has",
                storage.count
            ));
        };
        let span = if values == 0 {
            Some(0)
        } else {
            shape
                .iter()
                .zip(&strides)
                .try_fold(1_u64, |span, (&side, &stride)| {
                    (side as u64 - 1)
                        .checked_mul(stride as u64)
                        .and_then(|steps| span.checked_add(steps))
                })
        };
        match span {
            Some(span)
                if offset
                    .checked_add(span)
                    .is_some_and(|end| end <= storage.count) =>
            {
                Ok(Self {
                    storage,
                    offset,
                    shape,
                    strides,
                    span,
                })
            }
            _ => Err(format!(
                "shape {shape:?} with strides {strides:?} from value {offset} on goes beyond the {} values of its storage",
                storage.count
            )),
        }
    }

    /// The dimensions.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the values.
    pub(super) const fn element(&self) -> Element {
        self.storage.element
    }

    /// Reads the values; `name` is for the message.
    pub(super) fn values(&self, name: &str, source: &Source) -> Result<Values, Problem> {
        let element = self.storage.element;
        if !element.is_float() {
            return Err(Problem::Type {
                name: name.to_owned(),
                found: element.name().to_owned(),
            });
        }
        let size = element.bytes();
        let length = self.span as usize * size;
        let bytes = source.bytes(self.storage.start + self.offset * size as u64, length)?;
        if bytes.len() != length {
            return Err(Problem::Tensor {
                name: name.to_owned(),
                reason: "the file became shorter while it was read".to_owned(),
            });
        }
        let at = |position: usize| element.value(&bytes[position * size..(position + 1) * size]);
        let count: usize = self.shape.iter().product();
        let values = if self.is_contiguous() {
            (0..count).map(at).collect()
        } else {
            (0..count).map(|index| at(self.position(index))).collect()
        };
        Ok(Values {
            shape: self.shape.clone(),
            values,
        })
    }

    /// Whether the values lie row by row.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&side, &stride)| {
                let fits = side == 1 || stride == expected;
                expected *= side;
                fits
            })
    }

    /// Where the value lies that is `index`-th row by row, from the first value on.
    fn position(&self, index: usize) -> usize {
        let mut rest = index;
        let mut position = 0;
        for (&side, &stride) in self.shape.iter().zip(&self.strides).rev() {
            position += rest % side * stride;
            rest /= side;
        }
        position
    }
}

/// The strides of values that lie row by row.
pub(super) fn rows(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for index in (1..shape.len()).rev() {
        strides[index - 1] = strides[index].saturating_mul(shape[index]);
    }
    strides
}
