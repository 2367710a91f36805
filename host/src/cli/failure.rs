//! Saying what went wrong: in words, or with `--json` as one JSON object. Both go to standard error,
//! so that standard output has data alone.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Error;

use super::exit::{self, Class};
use super::shown;

/// Shows an error; answers the exit status.
pub(super) fn show(error: &Error) -> ExitCode {
    let class = exit::class(error);
    let text = chain(error);
    if wants_json() {
        write_json(class, &text);
    } else {
        let text = shown(&text);
        let mut stderr = anstream::stderr().lock();
        let style = anstyle::AnsiColor::Red.on_default().bold();
        // Standard error may be closed; the exit status still tells.
        let _ = if class.is_stop() {
            writeln!(stderr, "{text}")
        } else {
            writeln!(stderr, "{style}error{style:#}: {text}")
        };
    }
    class.into()
}

/// Shows what is wrong with the arguments; answers the exit status.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if wants_json() {
        let text = error.to_string();
        let text = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        write_json(exit::USAGE, text);
    } else {
        // As above.
        let _ = error.print();
    }
    exit::USAGE.into()
}

/// One line about an error.
fn write_json(class: Class, message: &str) {
    let line = serde_json::json!({
        "event": "error",
        "class": class.name,
        "status": class.status,
        "message": message,
    });
    // As above.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Whether the command was given `--json`, as far as that can be said of arguments that may be wrong.
fn wants_json() -> bool {
    std::env::args_os()
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json")
}

/// The causes of an error on one line. Errors of this program say what their cause says, so a
/// cause whose words are already there is left out.
pub(super) fn chain(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}
