//! What the hostile plugins share: the order that a test wrote into the component, and the attacks
//! that need no tensors.
//!
//! The order stands in the parameter `attack`, as `HOOK:ATTACK`. For `describe`, which is called
//! before there are settings, a test overwrites the bytes of [`ORDER`] in the component.

mod bindings;
mod described;

use std::cell::Cell;
use std::hint::black_box;

use bindings::incubate::plugin::log::{self, Level};
use bindings::incubate::plugin::metrics;
pub use bindings::incubate::plugin::types::{
    Fault, FaultCode, Parameter, Setting, SettingKind, SettingValue,
};
pub use bindings::incubate::plugin::{log as log_interface, types};
pub use described::{Described, described};

/// Bytes of the mark that a test looks for; the order follows it.
const MARK: usize = 15;

/// `HOOK:ATTACK`, padded with zeros, behind a mark.
static ORDER: [u8; 80] = *b"INCUBATE-ORDER:none:none\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Moves the cursor, changes the title and the colours of a terminal, begins a line that looks like
/// one of the host, and turns the direction of writing.
const ESCAPES: &str =
    "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\nerror: forged line\r\u{202e}backwards\u{0}";

/// More than any host should take over at once, and less than the memory of a plugin.
const HUGE: usize = 6 << 20;

thread_local! {
    static CONFIGURED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Takes the order from the settings, and attacks if it is for this hook.
pub fn configured(settings: &[Setting]) -> Result<Option<&'static str>, Fault> {
    for setting in settings {
        if let ("attack", SettingValue::Text(order)) = (setting.name.as_str(), &setting.value) {
            CONFIGURED.set(Some(order.clone().leak()));
        }
    }
    strike_or_fault("configure")
}

/// The attack for `hook`; nothing when the order is for another one.
pub fn ordered(hook: &str) -> Option<&'static str> {
    let order = CONFIGURED.get().unwrap_or_else(|| {
        let order: &'static [u8; 80] = black_box(&ORDER);
        std::str::from_utf8(&order[MARK..]).unwrap_or_default()
    });
    order
        .trim_end_matches('\0')
        .split_once(':')
        .filter(|(ordered, _)| *ordered == hook)
        .map(|(_, attack)| attack)
}

/// Carries out an attack that any hook can make, and answers the others by name.
pub fn strike(hook: &str) -> Option<&'static str> {
    let attack = ordered(hook)?;
    match attack {
        "endless-loop" => loop {
            black_box(hook);
        },
        "memory-bomb" => loop {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
        },
        "wasm-stack" => {
            black_box(down(black_box(0)));
        }
        "shadow-stack" => {
            black_box(deeper(black_box(0)));
        }
        "panic" => panic!("panicked on request"),
        "last-words" => {
            log::write(Level::Error, ESCAPES);
            panic!("panicked on request");
        }
        "log-huge" => log::write(Level::Info, &huge()),
        "log-flood" => loop {
            log::write(Level::Info, "again and again");
        },
        "log-escapes" => log::write(Level::Warning, ESCAPES),
        "metric-huge" => metrics::record(&huge(), 1.0),
        "metric-flood" => loop {
            metrics::record("again", 1.0);
        },
        "metric-escapes" => metrics::record(ESCAPES, 1.0),
        "metric-nan" => {
            metrics::record("nan", f64::NAN);
            metrics::record("infinite", f64::INFINITY);
        }
        _ => return Some(attack),
    }
    None
}

/// As [`strike`], for hooks that may answer a fault.
pub fn strike_or_fault(hook: &str) -> Result<Option<&'static str>, Fault> {
    let fault = |code, message: String, hint: Option<String>| Fault {
        code,
        message,
        hint,
    };
    match strike(hook) {
        Some("fault-escapes") => Err(fault(
            FaultCode::InvalidInput,
            format!("before {ESCAPES} after"),
            Some(ESCAPES.to_owned()),
        )),
        Some("fault-huge") => Err(fault(FaultCode::Shape, huge(), Some(huge()))),
        Some("fault-long") => Err(fault(
            FaultCode::Shape,
            "long ".repeat(10_000),
            Some("longer ".repeat(10_000)),
        )),
        Some("fault-empty") => Err(fault(FaultCode::Internal, String::new(), None)),
        Some("fault-budget") => Err(fault(
            FaultCode::Budget,
            "the host's limit, says the plugin".to_owned(),
            None,
        )),
        other => Ok(other),
    }
}

/// The answer of `save`.
pub fn saved() -> Vec<u8> {
    match strike("save") {
        Some("save-huge") => vec![7; HUGE],
        _ => Vec::new(),
    }
}

/// The answer of `restore`.
pub fn restored(_: &[u8]) -> Result<(), Fault> {
    strike_or_fault("restore").map(|_| ())
}

/// A text that is too long.
pub fn huge() -> String {
    "huge ".repeat(HUGE / 5)
}

/// Escape sequences in words that begin as a word should.
pub fn escapes() -> String {
    format!("name{ESCAPES}")
}

/// Calls itself more often than any stack of calls allows, with next to nothing on the stack in
/// memory.
fn down(depth: u64) -> u64 {
    1 + black_box(down as fn(u64) -> u64)(depth + 1)
}

/// Calls itself with much on the stack in memory.
#[expect(unconditional_recursion, reason = "the end of the stack ends it")]
fn deeper(depth: u64) -> u64 {
    let ballast = black_box([depth; 1024]);
    ballast[(depth % 1024) as usize] + deeper(depth + 1)
}
