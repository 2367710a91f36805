//! From a workspace of plugins in Rust, or the folder of one in another language, to components,
//! and the comparison with those that are there.

use std::fs;
use std::path::{Path, PathBuf};

use super::guests::{self, Guest};
use super::manifest::{BuiltComponent, Manifest, ToolchainVersions, write_whole};
use super::toolchain::Toolchain;
use super::{BuildError, Language, Project, Versions, cargo, component};

/// What the builder is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The compiler was chosen.
    Toolchain {
        /// Its versions.
        versions: ToolchainVersions,
        /// True when the standard library is compiled along, which takes minutes the first time.
        builds_std: bool,
    },
    /// The toolchain of a language other than Rust was found.
    Found {
        /// The language.
        language: Language,
        /// Its tools.
        versions: Versions,
    },
    /// Something that takes time begins, or a tool had something to say.
    Step {
        /// What, for a person.
        what: String,
    },
    /// A library was compiled, or was found compiled.
    Compiled {
        /// Its name.
        library: String,
    },
    /// A component was made.
    Component {
        /// Its record.
        component: BuiltComponent,
    },
}

/// The answer of [`check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The recorded toolchain gives the committed bytes.
    Equal {
        /// Components that were compared.
        components: usize,
    },
    /// Another toolchain was found, whose bytes need not be equal.
    NotCompared {
        /// The toolchain of the committed components.
        recorded: ToolchainVersions,
        /// The toolchain of the rebuilt ones.
        found: ToolchainVersions,
        /// Folder of the rebuilt components, `NAME.wasm` each.
        rebuilt: PathBuf,
    },
}

/// Builds the plugin of a folder with a `plugin.toml` into `dist/NAME.wasm`, or every plugin of the
/// cargo workspace `folder`, which are recorded in `dist/manifest.toml`.
///
/// # Errors
///
/// No compiler for WebAssembly, no plugin in the folder, a compile error, a plugin that is not
/// written for a world, or metadata that cannot be embedded.
pub fn build(
    folder: &Path,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<BuiltComponent>, BuildError> {
    let folder = real_folder(folder)?;
    if Project::is_at(&folder) {
        let project = Project::open(&folder)?;
        let (component, bytes) = project_component(&project, report)?;
        write_whole(&project.component_path(), &bytes)?;
        report(Event::Component {
            component: component.clone(),
        });
        return Ok(vec![component]);
    }
    require_workspace(&folder)?;
    let built = Build::of(&folder, false, report)?;
    for (component, bytes) in &built.components {
        write_whole(&folder.join(&component.file), bytes)?;
    }
    let manifest = built.manifest();
    manifest.save(&folder)?;
    Ok(manifest.components)
}

/// Builds again what [`build`] builds and compares the bytes with the components that are there. In
/// a cargo workspace dependencies are locked, and bytes are compared only if the toolchain is the
/// recorded one. The rebuilt components stay in `target/rebuilt`.
///
/// # Errors
///
/// As [`build`]; also components that differ.
pub fn check(folder: &Path, report: &mut dyn FnMut(Event)) -> Result<Check, BuildError> {
    let folder = real_folder(folder)?;
    if Project::is_at(&folder) {
        return check_project(&Project::open(&folder)?, report);
    }
    require_workspace(&folder)?;
    let recorded = Manifest::load(&folder)?;
    let built = Build::of(&folder, true, report)?;
    let rebuilt = folder.join("target").join("rebuilt");
    if rebuilt.exists() {
        fs::remove_dir_all(&rebuilt).map_err(BuildError::file("removing", &rebuilt))?;
    }
    for (component, bytes) in &built.components {
        write_whole(&rebuilt.join(format!("{}.wasm", component.name)), bytes)?;
    }
    let found = built.manifest();
    if recorded.toolchain != found.toolchain {
        return Ok(Check::NotCompared {
            recorded: recorded.toolchain,
            found: found.toolchain,
            rebuilt,
        });
    }
    let names = differences(&folder, &recorded, &found);
    if names.is_empty() {
        return Ok(Check::Equal {
            components: found.components.len(),
        });
    }
    Err(BuildError::Differ {
        folder,
        names,
        rebuilt,
    })
}

fn check_project(project: &Project, report: &mut dyn FnMut(Event)) -> Result<Check, BuildError> {
    let language = project.manifest.language;
    if !language.is_reproducible() {
        return Err(BuildError::NotReproducible { language });
    }
    let path = project.component_path();
    let present = fs::read(&path).map_err(BuildError::file("reading", &path))?;
    let (component, bytes) = project_component(project, report)?;
    let rebuilt = project.build_folder.join("rebuilt").join(&component.file);
    write_whole(&rebuilt, &bytes)?;
    if present == bytes {
        return Ok(Check::Equal { components: 1 });
    }
    Err(BuildError::OtherBytes {
        component: path,
        rebuilt,
    })
}

/// The component of a folder with a `plugin.toml`, with its metadata inside.
fn project_component(
    project: &Project,
    report: &mut dyn FnMut(Event),
) -> Result<(BuiltComponent, Vec<u8>), BuildError> {
    let manifest = &project.manifest;
    let built = manifest.language.build(project, report)?;
    let bytes = component::finish(&built, &manifest.metadata())?;
    let file = PathBuf::from("dist").join(format!("{}.wasm", manifest.name));
    Ok((BuiltComponent::new(&manifest.name, file, &bytes), bytes))
}

fn require_workspace(folder: &Path) -> Result<(), BuildError> {
    if folder.join("Cargo.toml").is_file() {
        return Ok(());
    }
    Err(BuildError::NoProject {
        folder: folder.to_owned(),
    })
}

/// The components in memory, by name.
struct Build {
    versions: ToolchainVersions,
    components: Vec<(BuiltComponent, Vec<u8>)>,
}

impl Build {
    fn of(folder: &Path, locked: bool, report: &mut dyn FnMut(Event)) -> Result<Self, BuildError> {
        let guests = guests::find(folder)?;
        let toolchain = Toolchain::find()?;
        report(Event::Toolchain {
            versions: toolchain.versions.clone(),
            builds_std: toolchain.from_source.is_some(),
        });
        let packages: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        let modules = cargo::compile(&toolchain, folder, &packages, locked, &mut |library| {
            report(Event::Compiled {
                library: library.to_owned(),
            });
        })?;
        let mut components = Vec::new();
        for guest in &guests {
            let module = modules
                .get(&guest.id)
                .ok_or_else(|| BuildError::CargoAnswer {
                    detail: format!("no module for the package {}", guest.name),
                })?;
            let (component, bytes) = encode(guest, module)?;
            report(Event::Component {
                component: component.clone(),
            });
            components.push((component, bytes));
        }
        Ok(Self {
            versions: toolchain.versions,
            components,
        })
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            toolchain: self.versions.clone(),
            components: self
                .components
                .iter()
                .map(|(component, _)| component.clone())
                .collect(),
        }
    }
}

fn encode(guest: &Guest, module: &Path) -> Result<(BuiltComponent, Vec<u8>), BuildError> {
    let core = fs::read(module).map_err(BuildError::file("reading", module))?;
    let bytes = component::finish(&core, &guest.metadata)?;
    let file = guest.folder.join(format!("{}.wasm", guest.name));
    Ok((BuiltComponent::new(&guest.name, file, &bytes), bytes))
}

/// Names of components that are missing, unknown, or other than recorded, with the reason.
fn differences(folder: &Path, recorded: &Manifest, found: &Manifest) -> Vec<String> {
    let mut names = Vec::new();
    for component in &found.components {
        let committed = fs::read(folder.join(&component.file))
            .map(|bytes| BuiltComponent::new(&component.name, component.file.clone(), &bytes));
        let entry = recorded
            .components
            .iter()
            .find(|entry| entry.name == component.name);
        let reason = match (committed, entry) {
            (Err(_), _) => "file is missing",
            (Ok(_), None) => "not in the manifest",
            (Ok(committed), _) if committed != *component => "other bytes",
            (Ok(_), Some(entry)) if entry != component => "other digest in the manifest",
            _ => continue,
        };
        names.push(format!("{} ({reason})", component.name));
    }
    for entry in &recorded.components {
        let known = |component: &BuiltComponent| component.name == entry.name;
        if !found.components.iter().any(known) {
            names.push(format!("{} (has no source)", entry.name));
        }
    }
    names
}

fn real_folder(folder: &Path) -> Result<PathBuf, BuildError> {
    folder
        .canonicalize()
        .map_err(BuildError::file("opening", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(components: &[(&str, &[u8])]) -> Manifest {
        Manifest {
            toolchain: ToolchainVersions {
                compiler: String::new(),
                linker: String::new(),
                cargo: String::new(),
            },
            components: components
                .iter()
                .map(|(name, bytes)| {
                    BuiltComponent::new(name, PathBuf::from(format!("dist/{name}.wasm")), bytes)
                })
                .collect(),
        }
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("same", b"1"),
            ("bytes", b"2"),
            ("unlisted", b"3"),
            ("digest", b"4"),
        ] {
            let path = folder.path().join(format!("dist/{name}.wasm"));
            write_whole(&path, bytes).unwrap();
        }
        let recorded = manifest(&[
            ("same", b"1"),
            ("bytes", b"2"),
            ("digest", b"0"),
            ("gone", b"5"),
        ]);
        let found = manifest(&[
            ("same", b"1"),
            ("bytes", b"0"),
            ("unlisted", b"3"),
            ("digest", b"4"),
            ("absent", b"6"),
        ]);
        assert_eq!(
            differences(folder.path(), &recorded, &found),
            [
                "bytes (other bytes)",
                "unlisted (not in the manifest)",
                "digest (other digest in the manifest)",
                "absent (file is missing)",
                "gone (has no source)",
            ]
        );
    }
}
