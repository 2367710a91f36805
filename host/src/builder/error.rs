//! Why plugins could not be built.

use std::io;
use std::path::PathBuf;

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
