//! Reading the header of a safetensors file; its values stay in the file.

use std::collections::BTreeMap;

use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata;

use super::error::Problem;
use super::source::{Element, Source, Storage, Stored, rows};

/// Bytes of a header that are read at most.
const MOST_HEADER: u64 = 64 << 20;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Content {
    /// The tensors by name.
    pub(super) tensors: Vec<(String, Stored)>,
    /// What the header says beside them.
    pub(super) metadata: BTreeMap<String, String>,
}

/// Whether a file with these first bytes can be one: eight bytes of length, then JSON.
pub(super) fn is_one(begins: &[u8]) -> bool {
    begins.get(8) == Some(&b'{')
}

/// Reads the header.
pub(super) fn read(source: &Source) -> Result<Content, Problem> {
    let damaged = |reason: String| Problem::Safetensors { reason };
    let begins = source.bytes(0, 8)?;
    let Ok(size) = <[u8; 8]>::try_from(begins.as_slice()) else {
        return Err(damaged("it has fewer than 8 bytes".to_owned()));
    };
    let size = u64::from_le_bytes(size);
    let left = source.length() - 8;
    if size > left {
        return Err(damaged(format!(
            "its header should have {size} bytes, and {left} follow"
        )));
    }
    if size > MOST_HEADER {
        return Err(Problem::TooLarge {
            what: "bytes of the header",
            found: size,
            most: MOST_HEADER,
        });
    }
    let header = source.bytes(8, size as usize)?;
    // The crate checks that the tensors lie one after the other without gaps or overlaps, and that
    // each has the bytes that its shape and type ask for.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let values = left - size;
    let described = header.data_len() as u64;
    if described != values {
        return Err(damaged(format!(
            "its header describes {described} bytes of values, and {values} follow"
        )));
    }
    let mut tensors = Vec::new();
    for (name, info) in header.tensors() {
        let element = element(info.dtype);
        let count = info.shape.iter().product::<usize>() as u64;
        let storage = Storage {
            start: 8 + size + info.data_offsets.0 as u64,
            count,
            element,
        };
        let strides = rows(&info.shape);
        let stored = Stored::new(storage, 0, info.shape.clone(), strides, source.length())
            .map_err(|reason| Problem::Tensor {
                name: name.clone(),
                reason,
            })?;
        tensors.push((name, stored));
    }
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    let metadata = header
        .metadata()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok(Content { tensors, metadata })
}

/// The type of values.
fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I64 => Element::Other("I64", 8),
        Dtype::U64 => Element::Other("U64", 8),
        Dtype::I32 => Element::Other("I32", 4),
        Dtype::U32 => Element::Other("U32", 4),
        Dtype::I16 => Element::Other("I16", 2),
        Dtype::U16 => Element::Other("U16", 2),
        Dtype::I8 => Element::Other("I8", 1),
        Dtype::U8 => Element::Other("U8", 1),
        Dtype::BOOL => Element::Other("BOOL", 1),
        // The values of such a tensor are never read; that its bytes are there was checked before.
        _ => Element::Other("a type of 8 bits or fewer, or complex", 0),
    }
}
