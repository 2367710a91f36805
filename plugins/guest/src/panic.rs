//! The message of a panic, which a trap alone would lose.

use std::sync::Once;

use crate::log::{self, Level};

/// Sends the message and place of every panic to the host, which shows it as the reason of the
/// trap that follows.
///
/// Call it first in `describe` and `configure`: one of them is the first call into an instance.
pub fn report_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            log::write(Level::Error, &panic.to_string());
        }));
    });
}
