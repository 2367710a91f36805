//! Finds a compiler that can build for `wasm32-unknown-unknown`.
//!
//! Two kinds are known: one with the target's standard library installed (as rustup installs it),
//! and one with the source of the standard library, which is then built along (as Debian's
//! `rustc-web` with `rust-web-src`).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::manifest::ToolchainVersions;
use super::{BuildError, cargo};

/// The target of plugins: no system interface at all.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler with what it needs beside it.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) rustc: PathBuf,
    /// Present when the standard library is built along.
    pub(super) from_source: Option<FromSource>,
    pub(super) versions: ToolchainVersions,
}

/// What is needed to build the standard library.
#[derive(Debug)]
pub(super) struct FromSource {
    pub(super) linker: PathBuf,
    /// Folder with `library/`, as the compiler names it.
    pub(super) source: PathBuf,
}

impl Toolchain {
    /// Looks at the compiler of the PATH, then at the one of the distribution.
    pub(super) fn find() -> Result<Self, BuildError> {
        Self::find_among(&["rustc", "/usr/bin/rustc"])
    }

    /// The first of `compilers` that can build for the target.
    fn find_among(compilers: &[&str]) -> Result<Self, BuildError> {
        let cargo_version = first_line(&cargo::program(), &["--version"])?;
        let mut looked_at = Vec::new();
        for rustc in compilers.iter().map(PathBuf::from) {
            let Ok(version) = first_line(rustc.as_os_str(), &["--version"]) else {
                looked_at.push(format!("{} (does not run)", rustc.display()));
                continue;
            };
            let versions = |linker| ToolchainVersions {
                compiler: version.clone(),
                linker,
                cargo: cargo_version.clone(),
            };
            if has_installed_target(&rustc) {
                return Ok(Self {
                    versions: versions("of the compiler".to_owned()),
                    rustc,
                    from_source: None,
                });
            }
            match FromSource::find(&rustc) {
                Ok(from_source) => {
                    return Ok(Self {
                        versions: versions(linker_version(&from_source.linker)?),
                        rustc,
                        from_source: Some(from_source),
                    });
                }
                Err(lack) => looked_at.push(format!("{} ({version}: {lack})", rustc.display())),
            }
        }
        Err(BuildError::NoCompiler {
            looked_at: looked_at.join(", "),
        })
    }

    /// Sets compiler, linker, and flags of a `cargo build`.
    pub(super) fn configure(&self, command: &mut Command, workspace: &Path) {
        command.env("RUSTC", &self.rustc);
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace));
        if let Some(from_source) = &self.from_source {
            // The flag `-Zbuild-std` is not stable; this permits it in a stable compiler.
            command.env("RUSTC_BOOTSTRAP", "1");
            command.env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                &from_source.linker,
            );
            command.arg("-Zbuild-std=std,panic_abort");
        }
    }

    /// Flags that map every folder of this machine to a fixed name; the last that fits wins.
    fn flags(&self, workspace: &Path) -> OsString {
        let mut mapped = Vec::new();
        if let Some(home) = cargo::home() {
            let registry = home.join("registry").join("src");
            mapped.push((home, "/cargo"));
            // One folder for each index, whose name depends on its address.
            for index in fs::read_dir(registry).into_iter().flatten().flatten() {
                mapped.push((index.path(), "/cargo/registry"));
            }
        }
        if let Some(from_source) = &self.from_source {
            if let Ok(real) = from_source.source.canonicalize() {
                mapped.push((real, "/rust"));
            }
            mapped.push((from_source.source.clone(), "/rust"));
        }
        // A package may be used by its path beside the workspace, as the examples use the SDK.
        if let Some(repository) = repository(workspace) {
            mapped.push((repository.to_owned(), "/repository"));
        }
        mapped.push((workspace.to_owned(), "/plugins"));
        let mut flags = OsString::new();
        for (path, name) in mapped {
            if !flags.is_empty() {
                flags.push("\u{1f}");
            }
            flags.push("--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(name);
        }
        flags
    }
}

impl FromSource {
    /// The source of the compiler's standard library and a linker, or what is missing.
    fn find(rustc: &Path) -> Result<Self, String> {
        let sysroot = first_line(rustc.as_os_str(), &["--print", "sysroot"])
            .map_err(|error| error.to_string())?;
        let rustlib = Path::new(&sysroot).join("lib/rustlib");
        let source = rustlib.join("src/rust");
        if !source.join("library/std/Cargo.toml").is_file() {
            return Err(format!("neither {TARGET} nor the source of std installed"));
        }
        let own = bundled_linkers(&rustlib);
        let linker = own
            .into_iter()
            .chain(newest_wasm_linker(Path::new("/usr/bin")))
            .next()
            .ok_or("no linker; install lld-22")?;
        Ok(Self { linker, source })
    }
}

/// The folder above `workspace` that git looks after.
fn repository(workspace: &Path) -> Option<&Path> {
    let mut folders = workspace.ancestors();
    folders.find(|folder| folder.join(".git").exists())
}

fn has_installed_target(rustc: &Path) -> bool {
    let Ok(folder) = first_line(
        rustc.as_os_str(),
        &["--print", "target-libdir", "--target", TARGET],
    ) else {
        return false;
    };
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// `rust-lld` as rustup ships it with every compiler.
fn bundled_linkers(rustlib: &Path) -> Vec<PathBuf> {
    fs::read_dir(rustlib)
        .into_iter()
        .flatten()
        .flatten()
        .map(|target| target.path().join("bin/rust-lld"))
        .filter(|linker| linker.is_file())
        .collect()
}

/// `wasm-ld-NUMBER` with the largest number, else `wasm-ld`.
fn newest_wasm_linker(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let rest = name.to_str()?.strip_prefix("wasm-ld")?;
            let number = match rest.strip_prefix('-') {
                Some(number) => number.parse().ok()?,
                None if rest.is_empty() => 0_u32,
                None => return None,
            };
            Some((number, entry.path()))
        })
        .max()
        .map(|(_, path)| path)
}

fn linker_version(linker: &Path) -> Result<String, BuildError> {
    let bundled = linker.ends_with("rust-lld");
    let arguments: &[&str] = if bundled {
        &["-flavor", "wasm", "--version"]
    } else {
        &["--version"]
    };
    first_line(linker.as_os_str(), arguments)
}

fn first_line(program: &std::ffi::OsStr, arguments: &[&str]) -> Result<String, BuildError> {
    let output = cargo::output(Command::new(program).args(arguments))?;
    Ok(output.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_compiler_both_ways_to_install_one_are_named() {
        let error = Toolchain::find_among(&["/no/rustc", "cargo"]).unwrap_err();
        let text = error.to_string();
        for part in [
            "rustup target add wasm32-unknown-unknown",
            "apt-get install --no-install-recommends rustc-web rust-web-src lld-22",
            "/no/rustc (does not run)",
            "cargo (cargo 1.",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_newest_linker_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["wasm-ld", "wasm-ld-9", "wasm-ld-22", "wasm-ld.old", "ld"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = newest_wasm_linker(folder.path()).unwrap();
        assert_eq!(found, folder.path().join("wasm-ld-22"));
        assert_eq!(newest_wasm_linker(&folder.path().join("missing")), None);
    }

    fn toolchain() -> Toolchain {
        Toolchain {
            rustc: PathBuf::from("rustc"),
            from_source: Some(FromSource {
                linker: PathBuf::from("/usr/bin/wasm-ld"),
                source: PathBuf::from("/usr/lib/rustlib/src/rust"),
            }),
            versions: ToolchainVersions {
                compiler: String::new(),
                linker: String::new(),
                cargo: String::new(),
            },
        }
    }

    #[test]
    fn packages_beside_the_workspace_are_mapped_with_their_repository() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().join("examples/rust");
        fs::create_dir_all(&workspace).unwrap();
        assert_eq!(repository(&workspace), repository(folder.path()));
        fs::create_dir(folder.path().join(".git")).unwrap();
        let flags = toolchain().flags(&workspace);
        let found: Vec<&str> = flags.to_str().unwrap().split('\u{1f}').rev().collect();
        let mapped =
            |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
        assert_eq!(found[0], mapped(&workspace, "/plugins"));
        assert_eq!(found[1], mapped(folder.path(), "/repository"));
    }

    #[test]
    fn the_workspace_is_mapped_last_so_that_it_wins() {
        let flags = toolchain().flags(Path::new("/home/someone/plugins"));
        let flags = flags.to_str().unwrap();
        assert!(
            flags.contains("--remap-path-prefix=/usr/lib/rustlib/src/rust=/rust"),
            "{flags}"
        );
        assert!(
            flags.ends_with("--remap-path-prefix=/home/someone/plugins=/plugins"),
            "{flags}"
        );
    }
}
