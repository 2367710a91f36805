//! What the pickle machine makes: plain data, and tensors as views of named storages.

use std::rc::Rc;

use crate::model::checkpoint::source::Element;

/// A value.
#[derive(Clone, Debug)]
pub(in crate::model::checkpoint) enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A floating-point number.
    Float,
    /// A text.
    Text(Rc<str>),
    /// A list, tuple, or dictionary, by its position: it can hold itself, and however deep such
    /// things lie in each other, a value has no depth.
    Object(usize),
    /// A function or class that is named and not looked up.
    Global(Rc<str>),
    /// A storage.
    Storage(Rc<StorageName>),
    /// A tensor.
    Tensor(Rc<TensorView>),
    /// Anything else, skipped, with its name in Python.
    Opaque(Rc<str>),
}

/// A list, a tuple, or a dictionary.
#[derive(Debug)]
pub(in crate::model::checkpoint) enum Object {
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dictionary in the order in which it was filled; a later key replaces an earlier one.
    Dict(Vec<(Value, Value)>),
}

/// A storage as a pickle names it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::model::checkpoint) struct StorageName {
    /// The key under which the file has its bytes.
    pub(in crate::model::checkpoint) key: String,
    /// The type of its values.
    pub(in crate::model::checkpoint) element: Element,
    /// Values in it.
    pub(in crate::model::checkpoint) count: u64,
}

/// A tensor as a pickle describes it; nothing is checked yet.
#[derive(Debug)]
pub(in crate::model::checkpoint) struct TensorView {
    /// Where its values are.
    pub(in crate::model::checkpoint) storage: Rc<StorageName>,
    /// The position of the first one in the storage.
    pub(in crate::model::checkpoint) offset: u64,
    /// The dimensions.
    pub(in crate::model::checkpoint) shape: Vec<usize>,
    /// Values between neighbours, by dimension.
    pub(in crate::model::checkpoint) strides: Vec<usize>,
}

impl Value {
    /// What it is, for messages.
    pub(in crate::model::checkpoint) fn describe(&self, objects: &[Object]) -> String {
        match self {
            Self::None => "nothing".to_owned(),
            Self::Bool(_) => "a truth value".to_owned(),
            Self::Int(_) | Self::Float => "a number".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Object(position) => match objects.get(*position) {
                Some(Object::List(_)) => "a list".to_owned(),
                Some(Object::Tuple(_)) => "a tuple".to_owned(),
                _ => "a dictionary".to_owned(),
            },
            Self::Global(name) => format!("the function or class `{name}`"),
            Self::Storage(_) => "a storage".to_owned(),
            Self::Tensor(_) => "a single tensor".to_owned(),
            Self::Opaque(name) => format!("a Python object `{name}`"),
        }
    }
}
