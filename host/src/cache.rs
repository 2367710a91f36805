//! Where this user keeps what can be made or fetched again.

use std::path::PathBuf;

/// The user's folder for what can be made or fetched again, if there is one.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("incubate"))
}
