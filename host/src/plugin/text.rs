//! Words of a plugin before they reach a person: one line, of a bounded length, without anything
//! that a terminal would carry out.
//!
//! Every text that a plugin hands to the host passes here where it enters, so that whoever prints
//! or records it later need not think of it.

/// Characters of a summary.
pub(super) const SENTENCE: usize = 500;

/// Characters of a message for the person.
pub(super) const MESSAGE: usize = 4_000;

/// Characters of a name that somebody else than a person made up.
pub(super) const NAME: usize = 120;

/// `text` on one line: control characters and characters that turn the direction of writing are
/// spelled out, line breaks and tabs become spaces, and what is beyond `most` characters is counted
/// instead of shown.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::new();
    for character in text.chars().take(most) {
        match character {
            '\n' | '\r' | '\t' => plain.push(' '),
            _ if is_active(character) => plain.extend(character.escape_unicode()),
            _ => plain.push(character),
        }
    }
    let left = text.chars().skip(most).count();
    if left > 0 {
        plain.push_str(&format!("… ({left} more characters)"));
    }
    plain
}

/// Whether a text holds anything that [`plain`] would change.
pub(super) fn is_plain(text: &str, most: usize) -> bool {
    let breaks = |character| matches!(character, '\n' | '\r' | '\t');
    text.chars().nth(most).is_none()
        && !text
            .chars()
            .any(|character| is_active(character) || breaks(character))
}

/// Whether a terminal or a writing system does something at this character instead of showing it.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_carries_out_is_left() {
        let text = "a\u{1b}[2J\u{9b}31m\u{7}\0\u{7f}\u{202e}é\nb\tc\r";
        let found = plain(text, 100);
        assert_eq!(
            found,
            "a\\u{1b}[2J\\u{9b}31m\\u{7}\\u{0}\\u{7f}\\u{202e}é b c "
        );
        assert!(is_plain(&found, 100) && !is_plain(text, 100));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(plain("ééééé", 2), "éé… (3 more characters)");
        assert_eq!(plain("éé", 2), "éé");
        assert!(is_plain("éé", 2) && !is_plain("ééé", 2));
    }
}
