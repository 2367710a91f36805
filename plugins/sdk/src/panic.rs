//! The message of a panic, which a trap alone would lose.

use std::sync::Once;

use crate::log;

/// Sends the message and place of every panic to the host, which shows it as the reason of the
/// trap that follows.
///
/// The export macros call it first in `describe` and `configure`: one of them is the first call into
/// an instance. A plugin on the bare bindings calls it there itself.
pub fn report_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
    });
}
