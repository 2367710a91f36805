//! C: freestanding, with bindings that are generated from the contract and a small runtime.
//!
//! Nothing of an operating system is linked, so nothing but the contract can be imported. What a
//! plugin needs of the C library (memory, a few string functions, `exp`, `log`, `pow`, `cos`) is
//! compiled along from `plugins/sdk-c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::WorldKey;

use super::language::{Lack, Language, Tool, Versions};
use super::manifest::write_whole;
use super::project::{PluginManifest, Project};
use super::{BuildError, Event, cargo, contract, programs};
use crate::plugin::Kind;

/// The runtime and the headers, by path below `target/sdk`.
const SDK: [(&str, &str); 8] = [
    (
        "incubate.h",
        include_str!("../../../plugins/sdk-c/incubate.h"),
    ),
    (
        "runtime.c",
        include_str!("../../../plugins/sdk-c/runtime.c"),
    ),
    (
        "mathematics.c",
        include_str!("../../../plugins/sdk-c/mathematics.c"),
    ),
    ("words.c", include_str!("../../../plugins/sdk-c/words.c")),
    (
        "include/math.h",
        include_str!("../../../plugins/sdk-c/include/math.h"),
    ),
    (
        "include/stdlib.h",
        include_str!("../../../plugins/sdk-c/include/stdlib.h"),
    ),
    (
        "include/string.h",
        include_str!("../../../plugins/sdk-c/include/string.h"),
    ),
    (
        "README.md",
        include_str!("../../../plugins/sdk-c/README.md"),
    ),
];

/// What is compiled along with every plugin, relative to its folder.
pub(super) const ALONG: [&str; 5] = [
    "target/sdk/runtime.c",
    "target/sdk/words.c",
    "target/sdk/mathematics.c",
    "target/bindings/plugin.c",
    "target/bindings/plugin_component_type.o",
];

/// The name of the bindings in every world, so that one header serves all kinds.
const BINDINGS: &str = "plugin";

/// Flags of every compilation. Without bulk memory, `memcpy` would be compiled to a call of itself;
/// with contraction, a machine with fused multiply-add would round otherwise.
const FLAGS: [&str; 14] = [
    "--target=wasm32-unknown-unknown",
    "-std=c17",
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-nostdlibinc",
    "-fno-math-errno",
    "-mbulk-memory",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Itarget/bindings",
    "-Itarget/sdk",
];

/// Flags of the linker. The stack lies below everything else, so that a stack that runs over ends
/// the call instead of changing data.
const LINK_FLAGS: [&str; 4] = [
    "-Wl,--no-entry",
    "-Wl,--strip-debug",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
];

/// The compiler and the linker.
struct Toolchain {
    clang: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    fn find() -> Result<Self, Lack> {
        let install = || vec!["apt-get install --no-install-recommends clang-19 lld-19".to_owned()];
        let candidates = programs::numbered("clang");
        let Some(clang) = candidates.iter().find(|clang| compiles_for_wasm(clang)) else {
            let missing = if candidates.is_empty() {
                "no clang on the PATH".to_owned()
            } else {
                let names: Vec<String> = candidates
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                format!("no clang for wasm32 (without it: {})", names.join(", "))
            };
            return Err(Lack {
                missing,
                install: install(),
            });
        };
        // The linker of the same release reads what the compiler writes.
        let file = clang.file_name().unwrap_or_default().to_string_lossy();
        let same = programs::on_path(&file.replace("clang", "wasm-ld"));
        let linker = same.or_else(|| programs::numbered("wasm-ld").into_iter().next());
        match linker {
            Some(linker) => Ok(Self {
                clang: clang.clone(),
                linker,
            }),
            None => Err(Lack {
                missing: format!("{} is here, and no wasm-ld on the PATH", clang.display()),
                install: install(),
            }),
        }
    }

    fn versions(&self) -> Versions {
        let tool = |path: &Path| Tool {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            version: programs::version(path, &["--version"]).unwrap_or_default(),
            path: Some(path.to_owned()),
        };
        Versions {
            tools: vec![tool(&self.clang), tool(&self.linker)],
        }
    }
}

fn compiles_for_wasm(clang: &Path) -> bool {
    cargo::output(Command::new(clang).arg("--print-targets"))
        .is_ok_and(|targets| targets.contains("wasm32"))
}

/// The newest clang that compiles for WebAssembly, and its linker.
pub(super) fn find() -> Result<Versions, Lack> {
    Ok(Toolchain::find()?.versions())
}

/// Compiles every C file of the folder and of its `src` with the bindings and the runtime.
pub(super) fn build(
    project: &Project,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<u8>, BuildError> {
    let toolchain = Toolchain::find().map_err(|lack| BuildError::Lacks {
        language: Language::C,
        lack,
    })?;
    report(Event::Found {
        language: Language::C,
        versions: toolchain.versions(),
    });
    prepare(project)?;
    let sources = sources(&project.folder)?;
    let module = project.build_folder.join("module.wasm");
    let mut command = Command::new(&toolchain.clang);
    // Relative paths, so that the bytes do not depend on where the folder lies.
    command
        .current_dir(&project.folder)
        .args(FLAGS)
        .args(["-isystem", "target/sdk/include"])
        .args(sources)
        .args(ALONG)
        .arg(format!("-fuse-ld={}", toolchain.linker.display()))
        .args(LINK_FLAGS)
        .arg("-o")
        .arg(&module);
    let said = cargo::messages(&mut command)?;
    if !said.is_empty() {
        report(Event::Step { what: said });
    }
    fs::read(&module).map_err(BuildError::file("reading", &module))
}

/// Writes what a project is compiled with to its build folder: `bindings` from the contract, and
/// `sdk`, the runtime with its headers.
pub(super) fn prepare(project: &Project) -> Result<(), BuildError> {
    let bindings = project.build_folder.join("bindings");
    for (name, bytes) in generate(&project.contract_folder()?, project.manifest.kind)? {
        write_whole(&bindings.join(name), &bytes)?;
    }
    let header = manifest_header(&project.manifest);
    write_whole(&bindings.join("manifest.h"), header.as_bytes())?;
    for (name, text) in SDK {
        write_whole(
            &project.build_folder.join("sdk").join(name),
            text.as_bytes(),
        )?;
    }
    Ok(())
}

/// What plugin.toml says, for the plugin's answer to `describe`.
fn manifest_header(manifest: &PluginManifest) -> String {
    let literal = |text: &str| {
        let mut literal = String::from("\"");
        for letter in text.chars() {
            match letter {
                '"' | '\\' => literal.extend(['\\', letter]),
                '\n' => literal.push_str("\\n"),
                // Two question marks would begin a trigraph.
                '?' => literal.push_str("\\?"),
                other => literal.push(other),
            }
        }
        literal + "\""
    };
    format!(
        "// Written by `incubate plugin build` from plugin.toml.\n#pragma once\n\n\
         #define PLUGIN_NAME {}\n#define PLUGIN_VERSION {}\n#define PLUGIN_DESCRIPTION {}\n",
        literal(&manifest.name),
        literal(&manifest.version.to_string()),
        literal(&manifest.description),
    )
}

/// The bindings of a kind: `plugin.h`, `plugin.c`, and an object with the type of the world.
fn generate(folder: &Path, kind: Kind) -> Result<Vec<(String, Vec<u8>)>, BuildError> {
    let failed = |detail: String| BuildError::Contract {
        folder: folder.to_owned(),
        detail,
    };
    let (mut resolve, package) = contract::read(folder)?;
    let world = resolve
        .select_world(&[package], Some(kind.world()))
        .map_err(|error| failed(format!("{error:#}")))?;
    // `loss_inputs_t` instead of `incubate_plugin_loss_inputs_t`.
    let items = &resolve.worlds[world];
    let rename = items
        .imports
        .keys()
        .chain(items.exports.keys())
        .filter_map(|key| match key {
            WorldKey::Interface(interface) => Some((
                resolve.name_world_key(key),
                resolve.interfaces[*interface].name.clone()?,
            )),
            WorldKey::Name(_) => None,
        })
        .collect();
    let options = wit_bindgen_c::Opts {
        rename,
        rename_world: Some(BINDINGS.to_owned()),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| failed(format!("{error:#}")))?;
    Ok(files
        .iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect())
}

/// The C files of the folder and of its `src`, relative to it, in the order of their names.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = Vec::new();
    for below in ["", "src"] {
        for entry in folder
            .join(below)
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = Path::new(below).join(entry.file_name());
            if path.extension().is_some_and(|extension| extension == "c") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(BuildError::NoSource {
            folder: folder.to_owned(),
            example: "plugin.c".to_owned(),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_bindings_of_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        contract::write(folder.path()).unwrap();
        for kind in Kind::ALL {
            let files = generate(folder.path(), kind).unwrap();
            let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["plugin.c", "plugin.h", "plugin_component_type.o"]);
        }
    }

    #[test]
    fn sources_are_c_files_of_the_folder_and_of_src() {
        let folder = tempfile::tempdir().unwrap();
        let error = sources(folder.path()).unwrap_err();
        assert!(matches!(error, BuildError::NoSource { .. }), "{error}");
        fs::create_dir_all(folder.path().join("src")).unwrap();
        for name in ["b.c", "a.h", "src/a.c"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = sources(folder.path()).unwrap();
        assert_eq!(found, [PathBuf::from("b.c"), PathBuf::from("src/a.c")]);
    }
}
