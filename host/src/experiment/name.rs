//! The name of an experiment. A run folder is named after it and terminals show it, and an experiment can be
//! a stranger's.

use std::path::{Component, Path};

use crate::plugin::plain;

/// Characters of a name.
const MOST: usize = 200;

/// What is wrong with a name, and what to do; nothing when it leads to a folder below the one of all runs,
/// and shows as it is.
pub(crate) fn wrong_name(name: &str) -> Option<&'static str> {
    let below = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !below {
        Some(
            "but a run folder has to lie in `runs` under this name (use words, without `..` or a `/` before them)",
        )
    } else if plain(name, MOST) != name {
        Some(
            "but it is longer than 200 characters, or has some that no terminal shows (use letters, digits, and hyphens)",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_folder_below() {
        for good in [
            "digits",
            "vit-b 16",
            "team/digits",
            "Blüten",
            "a..b",
            "v0.1",
        ] {
            assert_eq!(wrong_name(good), None, "{good}");
        }
        for bad in ["", "..", "../digits", "a/../../b", "/tmp/digits", "./a"] {
            assert!(wrong_name(bad).unwrap().contains("`runs`"), "{bad}");
        }
        for bad in ["a\u{1b}[2Jb", "a\nb", "a\u{202e}b", &"a".repeat(201)] {
            assert!(wrong_name(bad).unwrap().contains("characters"), "{bad:?}");
        }
    }
}
