//! What a person sees of a hostile plugin is text: no escape sequence reaches the terminal.

use incubate::plugin::Kind;
use tempfile::tempdir;

use super::guests::{component, file, with_order};
use crate::command::{Answer, incubate, tiny_with};

/// Asserts that a command wrote only what a terminal shows.
#[track_caller]
fn assert_plain(answer: &Answer) {
    for text in [&answer.stdout, &answer.stderr] {
        let active = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
        assert!(!text.contains(active), "{text:?}");
        let forged = |line: &str| line.starts_with("error: forged");
        assert!(!text.lines().any(forged), "{text}");
    }
}

#[test]
fn a_run_shows_words_and_not_commands() {
    let folder = tempdir().unwrap();
    let plugin = format!("loss.plugin={}", component(Kind::LossHook));
    for (attack, status) in [
        ("compute:log-escapes", 0),
        ("compute:metric-escapes", 0),
        ("compute:fault-escapes", 11),
        ("compute:last-words", 11),
    ] {
        let attack = format!("loss.parameters.attack={attack}");
        let run = folder.path().join(&attack);
        let answer = tiny_with(&run, &[&plugin, &attack], &["--unit", "meta"]);
        assert_eq!(answer.status, status, "{}", answer.stderr);
        assert_plain(&answer);
        let events = run.join("units/meta/events.jsonl");
        let events = std::fs::read_to_string(events).unwrap();
        for letter in ["\u{1b}", "\\u001b", "\u{9b}", "\\u0000", "\u{202e}"] {
            assert!(!events.contains(letter), "{attack}: {letter:?}");
        }
    }
}

#[test]
fn an_inspection_shows_words_and_not_commands() {
    for attack in [
        "summary-escapes",
        "name-escapes",
        "version-escapes",
        "choice-escapes",
        "parameter-summary-escapes",
        "log-escapes",
        "last-words",
    ] {
        let order = format!("describe:{attack}");
        let (_folder, path) = file(&with_order(Kind::LrSchedule, &order));
        assert_plain(&incubate(&["plugin", "inspect", &path]));
        assert_plain(&incubate(&["plugin", "inspect", "--json", &path]));
    }
}
