//! Why plugins could not be built.

use std::io;
use std::path::PathBuf;

use super::{Lack, Language};

/// An error of the builder.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder could not be read or written.
    #[error("{action} {path} failed: {source}", path = path.display())]
    File {
        /// What was tried, as in "reading".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("`{program}` could not be started: {source} (is it installed and on the PATH?)")]
    Start {
        /// The program as it was called.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{program}` failed:\n{output}")]
    Program {
        /// The program with its first argument.
        program: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A plugin uses an interface that its `plugin.toml` does not ask for.
    #[error(
        "the plugin imports `{name}`, and {path} does not (write `{line}` to it):\n{output}",
        path = path.display()
    )]
    NotAskedFor {
        /// The plugin's `plugin.toml`.
        path: PathBuf,
        /// The interface.
        name: String,
        /// The line to write.
        line: String,
        /// The end of what the tool wrote.
        output: String,
    },
    /// No compiler for WebAssembly was found.
    #[error(
        "no compiler for wasm32-unknown-unknown was found (install one with \
         `rustup target add wasm32-unknown-unknown`, or on Debian with \
         `apt-get install --no-install-recommends rustc-web rust-web-src lld-22`); looked at {looked_at}"
    )]
    NoCompiler {
        /// Each compiler that was looked at and what it lacks.
        looked_at: String,
    },
    /// The folder belongs to a workspace whose root is elsewhere.
    #[error(
        "{folder} is part of the workspace {root}; build the workspace: `incubate plugin build {root}`",
        folder = folder.display(),
        root = root.display()
    )]
    NotTheRoot {
        /// The folder that was asked for.
        folder: PathBuf,
        /// The root of its workspace.
        root: PathBuf,
    },
    /// The folder holds no source of a plugin.
    #[error(
        "{folder} has neither plugin.toml nor Cargo.toml (name the folder of a plugin, or make one \
         with `incubate plugin new`)",
        folder = folder.display()
    )]
    NoProject {
        /// The folder that was asked for.
        folder: PathBuf,
    },
    /// A `plugin.toml` that cannot be used.
    #[error("{path} cannot be used: {detail}", path = path.display())]
    PluginManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        detail: String,
    },
    /// A `plugin.toml` for Rust, which is described by `Cargo.toml`.
    #[error(
        "{path} says `language = \"rust\"`, and a plugin in Rust is described by its Cargo.toml \
         (remove plugin.toml, and build the folder that has the Cargo.toml)",
        path = path.display()
    )]
    RustWithPluginManifest {
        /// The file.
        path: PathBuf,
    },
    /// No source file of the plugin's language.
    #[error(
        "{folder} has no source to compile (write the plugin to a file `{example}` in it)",
        folder = folder.display()
    )]
    NoSource {
        /// The plugin's folder.
        folder: PathBuf,
        /// A file that would be compiled.
        example: String,
    },
    /// A part of a language's toolchain is missing.
    #[error("a plugin in {language} cannot be built here: {lack}")]
    Lacks {
        /// The language.
        language: Language,
        /// What is missing, and how to install it.
        lack: Lack,
    },
    /// WIT files that cannot be used.
    #[error(
        "the contract in {folder} cannot be used: {detail} (remove the folder to build for the \
         contract of this program)",
        folder = folder.display()
    )]
    Contract {
        /// The folder with the WIT files.
        folder: PathBuf,
        /// What the parser or the generator said.
        detail: String,
    },
    /// Metadata that cannot be embedded.
    #[error("the metadata of {package} cannot be embedded: {detail}")]
    Metadata {
        /// The package or plugin.
        package: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A component whose source gives other bytes at every build.
    #[error(
        "a plugin in {language} cannot be compared with its source: the tools of {language} give \
         other bytes at every build (trust the digest of a component instead)"
    )]
    NotReproducible {
        /// The language.
        language: Language,
    },
    /// A component that is not what its source gives here.
    #[error(
        "{component} is not what its source gives here (if the compiler is the one that built it, \
         build again and keep the result; the rebuilt component is {rebuilt})",
        component = component.display(),
        rebuilt = rebuilt.display()
    )]
    OtherBytes {
        /// The component that is there.
        component: PathBuf,
        /// The rebuilt one.
        rebuilt: PathBuf,
    },
    /// Nothing in the folder is a plugin.
    #[error(
        "{folder} has no plugin; a plugin is a package whose library has crate-type \"cdylib\"",
        folder = folder.display()
    )]
    NoPlugins {
        /// The folder that was asked for.
        folder: PathBuf,
    },
    /// Cargo answered something that this builder does not understand.
    #[error("cargo's answer could not be read: {detail} (is this a cargo from 2024 or later?)")]
    CargoAnswer {
        /// What is missing or malformed.
        detail: String,
    },
    /// A core module is no component of the contract.
    #[error(
        "{package} was compiled, and could not be made a component: {detail} \
         (does it export a world of the contract with `wit_bindgen::generate!`?)"
    )]
    Component {
        /// The package.
        package: String,
        /// What the encoder said.
        detail: String,
    },
    /// The record of the components could not be understood.
    #[error(
        "{path} could not be read: {detail} (write it anew with `incubate plugin build`)",
        path = path.display()
    )]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Committed components are not what their source gives.
    #[error(
        "built from source with the recorded compiler, these components differ from the committed \
         ones: {names} (commit the result of `incubate plugin build {folder}`; the rebuilt \
         components are in {rebuilt})",
        names = names.join(", "),
        folder = folder.display(),
        rebuilt = rebuilt.display()
    )]
    Differ {
        /// The workspace of the plugins.
        folder: PathBuf,
        /// Names with the kind of difference.
        names: Vec<String>,
        /// Where the rebuilt components are.
        rebuilt: PathBuf,
    },
}

impl BuildError {
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
