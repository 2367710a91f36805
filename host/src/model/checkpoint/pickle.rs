//! A machine for pickles that executes nothing.
//!
//! It knows the opcodes that build plain data, and of functions only those that describe tensors
//! (`pickle/call.rs`), which it answers itself. Whatever else a pickle would make becomes
//! [`Value::Opaque`]: it is neither looked up nor called. Memory is bounded by the number of items,
//! and nothing is recursive.

mod call;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::error::{Problem, plain};

pub(super) use value::{Object, StorageName, TensorView, Value};

/// Items that a pickle makes at most: a checkpoint of ViT-Huge with its optimizer makes 40,000.
const MOST_ITEMS: usize = 2_000_000;

/// Bytes of the name of a function or of the key of a storage.
const MOST_NAME: usize = 500;

/// Names of skipped things that are kept.
const MOST_OPAQUE: usize = 32;

/// What a pickle describes.
#[derive(Debug)]
pub(super) struct Unpickled {
    /// The outermost value.
    pub(super) top: Value,
    /// Lists, tuples, and dictionaries, which values refer to.
    pub(super) objects: Vec<Object>,
    /// The storages that it names.
    pub(super) storages: BTreeMap<String, Rc<StorageName>>,
    /// What it would have made in Python and is skipped, by name.
    pub(super) opaque: BTreeSet<String>,
    /// Bytes of the pickle.
    pub(super) length: usize,
}

/// Reads the pickle that `bytes` begin with.
///
/// # Errors
/// An opcode that plain data does not need, a damaged pickle, one with too many items, or one that
/// calls a function which reaches the system.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Unpickled, Problem> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        objects: Vec::new(),
        storages: BTreeMap::new(),
        opaque: BTreeSet::new(),
        items: 0,
    };
    loop {
        let begun = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(top)) => {
                return Ok(Unpickled {
                    top,
                    objects: machine.objects,
                    storages: machine.storages,
                    opaque: machine.opaque,
                    length: machine.at,
                });
            }
            Err(Stop::Reason(reason)) => {
                return Err(Problem::Pickle { at: begun, reason });
            }
            Err(Stop::Problem(problem)) => return Err(problem),
        }
    }
}

/// Why the machine stops.
enum Stop {
    /// The pickle is damaged.
    Reason(String),
    /// Anything else.
    Problem(Problem),
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

/// The state of the machine.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
    objects: Vec<Object>,
    storages: BTreeMap<String, Rc<StorageName>>,
    opaque: BTreeSet<String>,
    /// Items made so far.
    items: usize,
}

impl<'a> Machine<'a> {
    /// Does one opcode; answers the outermost value when it was the last.
    fn step(&mut self) -> Result<Option<Value>, Stop> {
        let [opcode] = *self.take(1)? else {
            return Err("it is cut off".into());
        };
        match opcode {
            // Protocol and frames, which only say how long something is.
            0x80 => {
                let version = self.take(1)?[0];
                if version > 5 {
                    return Err(Stop::Reason(format!("protocol {version} is not known")));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            b'.' => return self.pop().map(Some),
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.marked()?;
            }
            b'2' => {
                let value = self.pop()?;
                self.push(value.clone())?;
                self.push(value)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'I' | b'L' | b'F' => self.number_line(opcode)?,
            b'J' => {
                let value = i64::from(self.unsigned(4)? as u32 as i32);
                self.push(Value::Int(value))?;
            }
            b'K' => self.unsigned_value(1)?,
            b'M' => self.unsigned_value(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Float)?;
            }
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' => self.skipped_bytes(4)?,
            b'C' => self.skipped_bytes(1)?,
            0x8e | 0x96 => self.skipped_bytes(8)?,
            b')' => self.object(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self
                    .stack
                    .len()
                    .checked_sub(count)
                    .filter(|&start| self.marks.last().is_none_or(|&mark| mark <= start))
                    .ok_or("the stack is empty")?;
                let items = self.stack.split_off(start);
                self.object(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.marked()?;
                self.object(Object::Tuple(items))?;
            }
            b']' => self.object(Object::List(Vec::new()))?,
            b'l' => {
                let items = self.marked()?;
                self.object(Object::List(items))?;
            }
            b'}' => self.object(Object::Dict(Vec::new()))?,
            b'd' => {
                let items = self.marked()?;
                self.object(Object::Dict(pairs(items)?))?;
            }
            0x8f => self.opaque("builtins.set")?,
            0x91 => {
                self.marked()?;
                self.opaque("builtins.frozenset")?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.marked()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(pairs(items)?)?;
            }
            b'p' => {
                let key = self.line_number()?;
                self.remember(key)?;
            }
            b'q' => {
                let key = self.unsigned(1)?;
                self.remember(key)?;
            }
            b'r' => {
                let key = self.unsigned(4)?;
                self.remember(key)?;
            }
            0x94 => {
                let key = self.memo.len() as u64;
                self.remember(key)?;
            }
            b'g' => {
                let key = self.line_number()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.unsigned(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.unsigned(4)?;
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err("the name of a function is no text".into());
                };
                self.global(&module, &name)?;
            }
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.call(&function, &arguments)?;
            }
            // Making an object of a class: no class makes tensors.
            0x81 => {
                let _arguments = self.pop()?;
                let class = self.pop()?;
                self.instance(&class)?;
            }
            0x92 => {
                let _keywords = self.pop()?;
                let _arguments = self.pop()?;
                let class = self.pop()?;
                self.instance(&class)?;
            }
            // The state of an object: weights are never in one.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let identity = self.pop()?;
                self.storage(&identity)?;
            }
            other => {
                return Err(Stop::Reason(format!(
                    "opcode {other:#04x} is not needed for weights and not supported"
                )));
            }
        }
        Ok(None)
    }

    /// The next bytes of the pickle.
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or("it is cut off")?;
        self.at += count;
        Ok(taken)
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<&'a str, Stop> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("it is cut off")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a line is not UTF-8".into())
    }

    /// The number on the next line.
    fn line_number(&mut self) -> Result<u64, Stop> {
        self.line()?.parse().map_err(|_| "a number is none".into())
    }

    /// An unsigned little-endian number.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Stop> {
        Ok(self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// The bytes that follow their own number.
    fn counted(&mut self, bytes: usize) -> Result<&'a [u8], Stop> {
        let length = self.unsigned(bytes)?;
        self.take(usize::try_from(length).map_err(|_| "it is cut off")?)
    }

    /// Counts items and refuses too many.
    fn count(&mut self, more: usize) -> Result<(), Stop> {
        self.items += more;
        if self.items > MOST_ITEMS {
            return Err(Stop::Problem(Problem::TooLarge {
                what: "items in its pickle",
                found: self.items as u64,
                most: MOST_ITEMS as u64,
            }));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), Stop> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Stop> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<&Value, Stop> {
        self.stack.last().ok_or_else(|| "the stack is empty".into())
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, Stop> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn number_line(&mut self, opcode: u8) -> Result<(), Stop> {
        let line = self.line()?;
        let value = match (opcode, line) {
            (b'I', "00") => Value::Bool(false),
            (b'I', "01") => Value::Bool(true),
            (b'F', _) => Value::Float,
            (_, line) => line
                .trim_end_matches('L')
                .parse()
                .map_or(Value::Opaque(Rc::from("int")), Value::Int),
        };
        self.push(value)
    }

    fn unsigned_value(&mut self, bytes: usize) -> Result<(), Stop> {
        let value = self.unsigned(bytes)? as i64;
        self.push(Value::Int(value))
    }

    /// An integer of any length in two's complement; one that does not fit 64 bits counts nothing.
    fn long(&mut self, bytes: usize) -> Result<(), Stop> {
        let bytes = self.counted(bytes)?;
        let value = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
            let mut all = [if negative { 0xff } else { 0 }; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(all))
        } else {
            Value::Opaque(Rc::from("int"))
        };
        self.push(value)
    }

    fn text(&mut self, bytes: usize) -> Result<(), Stop> {
        let text = self.counted(bytes)?;
        let value = match std::str::from_utf8(text) {
            Ok(text) => Value::Text(Rc::from(text)),
            Err(_) => Value::Opaque(Rc::from("bytes")),
        };
        self.push(value)
    }

    fn skipped_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        self.counted(bytes)?;
        self.push(Value::Opaque(Rc::from("bytes")))
    }

    /// A function or class by its name.
    fn global(&mut self, module: &str, name: &str) -> Result<(), Stop> {
        // Names can be recalled, so long ones could take more memory than the file has bytes.
        if module.len() + name.len() > MOST_NAME {
            return Err("the name of a function is too long".into());
        }
        self.push(Value::Global(Rc::from(format!("{module}.{name}"))))
    }

    /// A new list, tuple, or dictionary.
    fn object(&mut self, object: Object) -> Result<(), Stop> {
        let position = self.objects.len();
        self.objects.push(object);
        self.push(Value::Object(position))
    }

    /// Something that is skipped, under the name that it has in Python.
    fn opaque(&mut self, name: &str) -> Result<(), Stop> {
        let name = plain(name);
        if self.opaque.len() < MOST_OPAQUE {
            self.opaque.insert(name.clone());
        }
        self.push(Value::Opaque(Rc::from(name)))
    }

    /// Appends to the list on top of the stack; to what is skipped nothing is appended.
    fn append(&mut self, items: Vec<Value>) -> Result<(), Stop> {
        match self.top()?.clone() {
            Value::Object(position) => match &mut self.objects[position] {
                Object::List(list) => list.extend(items),
                Object::Tuple(_) | Object::Dict(_) => {
                    return Err("something is appended to what is no list".into());
                }
            },
            Value::Opaque(_) => {}
            _ => return Err("something is appended to what is no list".into()),
        }
        Ok(())
    }

    /// Sets items of the dictionary on top of the stack.
    fn set(&mut self, items: Vec<(Value, Value)>) -> Result<(), Stop> {
        match self.top()?.clone() {
            Value::Object(position) => match &mut self.objects[position] {
                Object::Dict(dict) => dict.extend(items),
                Object::Tuple(_) | Object::List(_) => {
                    return Err("an item is set of what is no dictionary".into());
                }
            },
            Value::Opaque(_) => {}
            _ => return Err("an item is set of what is no dictionary".into()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<(), Stop> {
        self.count(1)?;
        let value = self.top()?.clone();
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), Stop> {
        let value = self
            .memo
            .get(&key)
            .cloned()
            .ok_or("it recalls what was not remembered")?;
        self.push(value)
    }
}

/// Keys and values in turn.
fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>, Stop> {
    if !items.len().is_multiple_of(2) {
        return Err("a key has no value".into());
    }
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    Ok(pairs)
}
