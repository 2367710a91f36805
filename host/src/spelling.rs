//! What a person probably meant by a name that nothing has.

/// The known name that `given` was probably meant to be: the one that the fewest changes of a
/// letter lead to, if they are few for its length. Of equally near ones, the first in the alphabet.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(given.len()).div_ceil(3))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_meant() {
        let known = || ["width", "depth", "heads"].into_iter();
        assert_eq!(nearest("widht", known()).as_deref(), Some("width"));
        assert_eq!(nearest("layers", known()), None);
    }
}
