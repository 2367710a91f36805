//! Names: what a person probably meant by one that nothing has, and how to write one for a shell.

/// The known name that `given` was probably meant to be: the one that the fewest changes of a
/// letter lead to, if they are few for its length. Of equally near ones, the first in the alphabet.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(given.len()).div_ceil(3))
        .map(|(_, name)| name.to_owned())
}

/// The end of an error about an unknown name: `; did you mean …?`, or nothing.
pub(crate) fn did_you_mean(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// A word as a shell takes it literally: quoted unless that changes nothing.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        word.to_owned()
    } else if word.starts_with('-') {
        format!("'./{}'", word.replace('\'', r"'\''"))
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{nearest, shell_word};

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("runs/a.b/units/meta"), "runs/a.b/units/meta");
        assert_eq!(shell_word("my runs/it's"), r"'my runs/it'\''s'");
        assert_eq!(shell_word("-x"), "'./-x'");
    }

    #[test]
    fn only_a_near_name_is_meant() {
        let known = || ["width", "depth", "heads"].into_iter();
        assert_eq!(nearest("widht", known()).as_deref(), Some("width"));
        assert_eq!(nearest("layers", known()), None);
    }
}
