//! What the backend finds out about a device, which of its kernels are fastest for each operation and
//! size, and where that is kept.

use burn_cubecl::cubecl::config::cache::CacheConfig;
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use burn_cubecl::cubecl::environment;

use crate::cache::cache_folder;

/// Lets the backend keep its tuning where this user's caches are, unless a `cubecl.toml` names a place:
/// what it would take by itself depends on the folder in which the program was started. Answers what a
/// person should know when nothing was kept before.
pub(super) fn keep() -> Option<String> {
    let found = "the first updates measure which kernels suit this device, which can take minutes";
    if !cfg!(feature = "tuning-cache") {
        return Some(format!(
            "{found}, in every process (a build with --features tuning-cache does it once per machine)"
        ));
    }
    let config = CubeClRuntimeConfig::get();
    if matches!(config.environment.path, CacheConfig::Target) {
        let Some(folder) = cache_folder() else {
            return Some(format!(
                "{found}, and there is no home folder to keep that in (set XDG_CACHE_HOME)"
            ));
        };
        let folder = folder.join("kernels");
        // Every change of place makes the backend read again.
        if environment::root() != folder {
            environment::set_root(folder);
        }
    }
    let path = environment::path();
    (!path.exists()).then(|| {
        format!(
            "{found}; it is kept in {}, once per machine",
            path.display()
        )
    })
}
