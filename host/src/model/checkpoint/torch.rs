//! Files of `torch.save`: which tensors they hold under which keys, and where their values lie.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::archive::Archive;
use super::error::{Problem, plain};
use super::pickle::{Object, StorageName, Unpickled, Value, unpickle};
use super::source::{Source, Storage, Stored};

/// Bytes of a pickle that are read at most.
const MOST_PICKLE: u64 = 64 << 20;

/// Tensors of a file that are believed, over all keys.
const MOST_TENSORS: usize = 200_000;

/// Bytes of the name of a tensor that are believed; longer ones are no weights.
const MOST_NAME: usize = 500;

/// Stages of a network that are believed.
const MOST_STAGES: usize = 4096;

/// What files of PyTorch before 1.6 begin with: a pickle of this number.
const LEGACY: [u8; 14] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Weights, by the key of the outermost dictionary; `""` when that is the weights itself.
    pub(super) groups: Vec<(String, Group)>,
    /// Keys whose values are no weights, with what they are.
    pub(super) others: Vec<(String, String)>,
    /// What would have been made in Python and was skipped.
    pub(super) skipped: BTreeSet<String>,
}

/// Tensors by name.
#[derive(Debug)]
pub(super) enum Group {
    /// Of a whole network, or of one stage.
    State(Vec<(String, Stored)>),
    /// By stage.
    Stages(Vec<Vec<(String, Stored)>>),
}

/// Whether a file with these first bytes can be one.
pub(super) fn is_one(begins: &[u8]) -> bool {
    is_zip(begins) || begins.starts_with(&LEGACY)
}

/// Whether it is the format since PyTorch 1.6.
pub(super) fn is_zip(begins: &[u8]) -> bool {
    begins.starts_with(b"PK\x03\x04") || begins.starts_with(b"PK\x05\x06")
}

/// Reads what the file describes.
pub(super) fn read(source: &Source, begins: &[u8]) -> Result<Content, Problem> {
    if is_zip(begins) {
        read_zip(source)
    } else {
        read_legacy(source)
    }
}

/// A zip file with `NAME/data.pkl` and `NAME/data/KEY` for every storage.
fn read_zip(source: &Source) -> Result<Content, Problem> {
    let archive = Archive::open(source)?;
    let mut pickles = archive.names().filter_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        (folder.matches('/').count() == 1 && folder.ends_with('/')).then(|| folder.to_owned())
    });
    let (folder, second) = (pickles.next(), pickles.next());
    drop(pickles);
    let Some(folder) = folder.filter(|_| second.is_none()) else {
        return Err(Problem::NotTorch {
            reason: "it has no `data.pkl`, or several".to_owned(),
        });
    };
    if let Some(range) = archive.range(&format!("{folder}byteorder"), source)?
        && source.bytes(range.start, 6)? != *b"little"
    {
        return Err(Problem::NotTorch {
            reason: "its values are big-endian, as of another kind of machine".to_owned(),
        });
    }
    let range = archive.range(&format!("{folder}data.pkl"), source)?;
    let range = range.unwrap_or_default();
    let length = range.end - range.start;
    if length > MOST_PICKLE {
        return Err(Problem::TooLarge {
            what: "bytes of its pickle",
            found: length,
            most: MOST_PICKLE,
        });
    }
    let unpickled = unpickle(&source.bytes(range.start, length as usize)?)?;
    let mut places = BTreeMap::new();
    for (key, name) in &unpickled.storages {
        let range = archive.range(&format!("{folder}data/{key}"), source)?;
        let place = match range {
            Some(range) => {
                let has = range.end - range.start;
                if bytes_of(name).is_some_and(|needed| needed <= has) {
                    Ok(range.start)
                } else {
                    Err(format!(
                        "its storage `{}` should have {} values of type {}, and has {has} bytes",
                        plain(key),
                        name.count,
                        name.element.name()
                    ))
                }
            }
            None => Err(format!("its storage `{}` is missing", plain(key))),
        };
        places.insert(key.clone(), place);
    }
    content(&unpickled, &places, source)
}

/// Bytes of a storage.
fn bytes_of(name: &StorageName) -> Option<u64> {
    name.count.checked_mul(name.element.bytes() as u64)
}

/// Pickles one after the other (a magic number, a version, the machine, what was saved, the keys of
/// the storages), then every storage after its number of values.
fn read_legacy(source: &Source) -> Result<Content, Problem> {
    let bytes = source.bytes(0, MOST_PICKLE as usize)?;
    let mut at = 0;
    let mut next = || -> Result<Unpickled, Problem> {
        let unpickled = unpickle(&bytes[at..])?;
        at += unpickled.length;
        Ok(unpickled)
    };
    let _magic = next()?;
    let version = next()?;
    if !matches!(version.top, Value::Int(1001)) {
        return Err(Problem::NotTorch {
            reason: "its version is not 1001".to_owned(),
        });
    }
    let machine = next()?;
    let little = items(&machine.top, &machine.objects)
        .into_iter()
        .flatten()
        .any(|(key, value)| {
            matches!(key, Value::Text(key) if &**key == "little_endian")
                && matches!(value, Value::Bool(true))
        });
    if !little {
        return Err(Problem::NotTorch {
            reason: "its values are big-endian, as of another kind of machine".to_owned(),
        });
    }
    let saved = next()?;
    let keys = next()?;
    let Value::Object(position) = keys.top else {
        return Err(Problem::NotTorch {
            reason: "it has no list of storages".to_owned(),
        });
    };
    let Object::List(keys) = &keys.objects[position] else {
        return Err(Problem::NotTorch {
            reason: "it has no list of storages".to_owned(),
        });
    };
    let mut start = at as u64;
    let mut places = BTreeMap::new();
    for key in keys {
        let known = match key {
            Value::Text(key) => saved.storages.get(&**key),
            _ => None,
        };
        let Some(name) = known else {
            return Err(Problem::NotTorch {
                reason: "it has a storage that nothing refers to".to_owned(),
            });
        };
        let count = source.bytes(start, 8)?;
        let count = <[u8; 8]>::try_from(count.as_slice()).map(u64::from_le_bytes);
        let end = bytes_of(name).and_then(|bytes| bytes.checked_add(start + 8));
        let (Ok(count), Some(end)) = (count, end.filter(|&end| end <= source.length())) else {
            return Err(Problem::Tensor {
                name: format!("storage {}", plain(&name.key)),
                reason: "the file ends before it".to_owned(),
            });
        };
        let place = if count == name.count {
            Ok(start + 8)
        } else {
            Err(format!(
                "its storage `{}` should have {} values, and has {count}",
                plain(&name.key),
                name.count
            ))
        };
        places.insert(name.key.clone(), place);
        start = end;
    }
    content(&saved, &places, source)
}

/// Where storages lie, by key, or why they cannot be used.
type Places = BTreeMap<String, Result<u64, String>>;

/// The items of a dictionary.
fn items<'a>(value: &Value, objects: &'a [Object]) -> Option<&'a [(Value, Value)]> {
    match value {
        Value::Object(position) => match &objects[*position] {
            Object::Dict(items) => Some(items),
            _ => None,
        },
        _ => None,
    }
}

/// The tensors of a dictionary by name, if it has any; later items replace earlier ones.
fn tensors<'a>(
    value: &Value,
    objects: &'a [Object],
) -> Option<BTreeMap<&'a str, &'a super::pickle::TensorView>> {
    let mut found = BTreeMap::new();
    for (key, value) in items(value, objects)? {
        if let (Value::Text(key), Value::Tensor(tensor)) = (key, value)
            && key.len() <= MOST_NAME
        {
            found.insert(&**key, &**tensor);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The weights that a pickle describes.
fn content(unpickled: &Unpickled, places: &Places, source: &Source) -> Result<Content, Problem> {
    let objects = unpickled.objects.as_slice();
    // One dictionary can be meant several times, so its tensors are counted every time.
    let count = Cell::new(0_usize);
    let state = |value: &Value| -> Result<Option<Vec<(String, Stored)>>, Problem> {
        let Some(found) = tensors(value, objects) else {
            return Ok(None);
        };
        count.set(count.get() + found.len());
        if count.get() > MOST_TENSORS {
            return Err(Problem::TooLarge {
                what: "tensors",
                found: count.get() as u64,
                most: MOST_TENSORS as u64,
            });
        }
        found
            .into_iter()
            .map(|(name, tensor)| Ok((name.to_owned(), stored(name, tensor, places, source)?)))
            .collect::<Result<_, _>>()
            .map(Some)
    };
    let group = |value: &Value| -> Result<Option<Group>, Problem> {
        if let Value::Object(position) = value
            && let Object::List(list) = &objects[*position]
        {
            let stages: Option<Vec<_>> = list
                .iter()
                .take(MOST_STAGES)
                .map(|stage| state(stage).transpose())
                .collect();
            return match stages {
                Some(stages) if !stages.is_empty() && list.len() <= MOST_STAGES => Ok(Some(
                    Group::Stages(stages.into_iter().collect::<Result<_, _>>()?),
                )),
                _ => Ok(None),
            };
        }
        Ok(state(value)?.map(Group::State))
    };
    let mut content = Content {
        skipped: unpickled.opaque.clone(),
        ..Content::default()
    };
    if let Some(group) = group(&unpickled.top)? {
        content.groups.push((String::new(), group));
    }
    let mut seen = BTreeSet::new();
    let inner = items(&unpickled.top, objects).unwrap_or_default();
    for (key, value) in inner.iter().rev() {
        let Value::Text(key) = key else { continue };
        if matches!(value, Value::Tensor(_)) || !seen.insert(Rc::clone(key)) {
            continue;
        }
        match group(value)? {
            Some(group) => content.groups.push((plain(key), group)),
            None => content.others.push((plain(key), value.describe(objects))),
        }
    }
    if content.groups.is_empty() {
        return Err(Problem::NoState {
            found: unpickled.top.describe(objects),
        });
    }
    content.others.reverse();
    Ok(content)
}

/// Checks a view of a storage.
fn stored(
    name: &str,
    tensor: &super::pickle::TensorView,
    places: &Places,
    source: &Source,
) -> Result<Stored, Problem> {
    let damaged = |reason: String| Problem::Tensor {
        name: plain(name),
        reason,
    };
    let start = places
        .get(&tensor.storage.key)
        .ok_or_else(|| damaged("its storage is missing".to_owned()))?
        .clone()
        .map_err(damaged)?;
    let storage = Storage {
        start,
        count: tensor.storage.count,
        element: tensor.storage.element,
    };
    Stored::new(
        storage,
        tensor.offset,
        tensor.shape.clone(),
        tensor.strides.clone(),
        source.length(),
    )
    .map_err(damaged)
}
