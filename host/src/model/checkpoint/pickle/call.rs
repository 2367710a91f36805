//! The functions that PyTorch's pickles call to describe tensors, answered without Python, and what
//! happens to all others: they are skipped, and refused when they reach the system.

use std::rc::Rc;

use super::{MOST_ITEMS, MOST_NAME, Machine, Object, Stop, StorageName, TensorView, Value};
use crate::model::checkpoint::error::{Problem, plain};
use crate::model::checkpoint::source::Element;

/// Modules of Python whose functions reach the system. A pickle that calls one is no checkpoint.
/// This list protects nobody here, since no function is ever called; it is for the person who would
/// load the same file in Python.
const HOSTILE_MODULES: [&str; 20] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "socket",
    "shutil",
    "runpy",
    "importlib",
    "imp",
    "pty",
    "commands",
    "popen2",
    "ctypes",
    "webbrowser",
    "urllib",
    "pdb",
    "bdb",
    "timeit",
    "pip",
];

/// Functions of Python's own module that run or reach anything.
const HOSTILE_BUILTINS: [&str; 8] = [
    "eval",
    "exec",
    "execfile",
    "compile",
    "open",
    "input",
    "__import__",
    "apply",
];

/// Arguments of a function that are looked at.
const MOST_ARGUMENTS: usize = 8;

/// Whether a function reaches the system.
fn is_hostile(function: &str) -> bool {
    let (module, rest) = function.split_once('.').unwrap_or((function, ""));
    match module {
        "builtins" | "__builtin__" | "__builtins__" => {
            let name = rest.split('.').next().unwrap_or(rest);
            HOSTILE_BUILTINS.contains(&name)
        }
        _ => HOSTILE_MODULES.contains(&module),
    }
}

impl Machine<'_> {
    /// A function is called: `function(*arguments)`.
    pub(super) fn call(&mut self, function: &Value, arguments: &Value) -> Result<(), Stop> {
        let Value::Global(function) = function else {
            // What was made by something skipped is skipped.
            return self.opaque("object");
        };
        let arguments = self
            .tuple(arguments)
            .ok_or("a function is called with what is no tuple")?;
        match &**function {
            "collections.OrderedDict" | "builtins.dict" | "__builtin__.dict" => {
                let items = match arguments.first() {
                    None => Vec::new(),
                    Some(list) => self.pairs_of(list)?,
                };
                self.object(Object::Dict(items))
            }
            "collections.defaultdict" => self.object(Object::Dict(Vec::new())),
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                let tensor = self.tensor(&arguments)?;
                self.push(Value::Tensor(Rc::new(tensor)))
            }
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                match arguments.first() {
                    Some(tensor @ Value::Tensor(_)) => self.push(tensor.clone()),
                    _ => self.opaque(function),
                }
            }
            _ => self.unknown(function),
        }
    }

    /// An object of a class is made.
    pub(super) fn instance(&mut self, class: &Value) -> Result<(), Stop> {
        match class {
            Value::Global(class) => match &**class {
                "collections.OrderedDict" | "collections.defaultdict" => {
                    self.object(Object::Dict(Vec::new()))
                }
                _ => self.unknown(class),
            },
            _ => self.opaque("object"),
        }
    }

    /// Anything that no tensor needs.
    fn unknown(&mut self, function: &str) -> Result<(), Stop> {
        if is_hostile(function) {
            return Err(Stop::Problem(Problem::Hostile {
                function: plain(function),
            }));
        }
        self.opaque(function)
    }

    /// A storage that lies in the file: `('storage', class, key, device, count)`, and in old files a
    /// view of it.
    pub(super) fn storage(&mut self, identity: &Value) -> Result<(), Stop> {
        let parts = self
            .tuple(identity)
            .ok_or("the name of a storage is no tuple")?;
        let [
            Value::Text(kind),
            Value::Global(class),
            key,
            _device,
            Value::Int(count),
            view @ ..,
        ] = parts.as_slice()
        else {
            return Err("the name of a storage is not as PyTorch writes it".into());
        };
        let key = match key {
            Value::Text(key) if key.len() <= MOST_NAME => key.to_string(),
            Value::Int(key) => key.to_string(),
            _ => return Err("the key of a storage is no short text".into()),
        };
        if &**kind != "storage" {
            return Err("what lies outside of the pickle is no storage".into());
        }
        if !matches!(view, [] | [Value::None]) {
            return Err("a storage is a view of another, as very old files have it".into());
        }
        let name = StorageName {
            key: key.clone(),
            element: element(class),
            count: u64::try_from(*count).map_err(|_| "a storage has a negative size")?,
        };
        let known = self.storages.entry(key).or_insert_with(|| Rc::new(name));
        let known = Rc::clone(known);
        self.push(Value::Storage(known))
    }

    /// The first items of a tuple.
    fn tuple(&self, value: &Value) -> Option<Vec<Value>> {
        match value {
            Value::Object(position) => match &self.objects[*position] {
                Object::Tuple(items) => Some(items.iter().take(MOST_ARGUMENTS).cloned().collect()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The pairs of a list of pairs, as Python 2 wrote dictionaries.
    fn pairs_of(&mut self, list: &Value) -> Result<Vec<(Value, Value)>, Stop> {
        let items = match list {
            Value::Object(position) => match &self.objects[*position] {
                Object::List(items) => items,
                _ => return Err("a dictionary is made of what is no list".into()),
            },
            _ => return Err("a dictionary is made of what is no list".into()),
        };
        let pairs: Vec<(Value, Value)> = items
            .iter()
            // A list can be recalled, so its items are counted again every time.
            .take(MOST_ITEMS - self.items.min(MOST_ITEMS))
            .map(|item| {
                let pair = match item {
                    Value::Object(position) => match &self.objects[*position] {
                        Object::List(items) | Object::Tuple(items) => items.as_slice(),
                        Object::Dict(_) => &[],
                    },
                    _ => &[],
                };
                match pair {
                    [key, value] => Ok((key.clone(), value.clone())),
                    _ => Err(Stop::from("a dictionary is made of what are no pairs")),
                }
            })
            .collect::<Result<_, _>>()?;
        self.count(pairs.len() + 1)?;
        Ok(pairs)
    }

    /// `(storage, offset, shape, strides, …)`.
    fn tensor(&self, arguments: &[Value]) -> Result<TensorView, Stop> {
        let [
            Value::Storage(storage),
            Value::Int(offset),
            shape,
            strides,
            ..,
        ] = arguments
        else {
            return Err("a tensor is not described as PyTorch does".into());
        };
        let sizes = |value: &Value| -> Result<Vec<usize>, Stop> {
            self.tuple(value)
                .ok_or("the shape of a tensor is no tuple")?
                .into_iter()
                .map(|value| match value {
                    Value::Int(size) => {
                        usize::try_from(size).map_err(|_| "a size of a tensor is negative".into())
                    }
                    _ => Err("a size of a tensor is no number".into()),
                })
                .collect()
        };
        Ok(TensorView {
            storage: Rc::clone(storage),
            offset: u64::try_from(*offset).map_err(|_| "the offset of a tensor is negative")?,
            shape: sizes(shape)?,
            strides: sizes(strides)?,
        })
    }
}

/// The type of the values of a class of storages.
fn element(class: &str) -> Element {
    match class.rsplit('.').next().unwrap_or(class) {
        "FloatStorage" => Element::F32,
        "DoubleStorage" => Element::F64,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::Bf16,
        "LongStorage" => Element::Other("I64", 8),
        "IntStorage" => Element::Other("I32", 4),
        "ShortStorage" => Element::Other("I16", 2),
        "CharStorage" => Element::Other("I8", 1),
        "ByteStorage" => Element::Other("U8", 1),
        "BoolStorage" => Element::Other("BOOL", 1),
        "ComplexFloatStorage" => Element::Other("complex", 8),
        "ComplexDoubleStorage" => Element::Other("complex of 128 bits", 16),
        // Of other storages neither size nor meaning is known; their tensors cannot be used.
        _ => Element::Other("an unknown type", 1),
    }
}
