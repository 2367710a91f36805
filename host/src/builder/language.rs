//! The languages that plugins are built from. Each is a module with two functions: `find`, which
//! says what of its toolchain is here, and `build`, which makes a component or a core module.
//!
//! Invariant: no toolchain is installed behind a person's back; what is missing is named together
//! with the command that installs it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::project::Project;
use super::{BuildError, Event, c, javascript, python, rust, zig};

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with the SDK in `plugins/sdk`.
    Rust,
    /// C, freestanding.
    C,
    /// JavaScript, with an interpreter inside the component.
    JavaScript,
    /// Python, with an interpreter inside the component.
    Python,
    /// Zig, through the C bindings.
    Zig,
}

/// One program or library of a toolchain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// What it is called, such as `clang-19`.
    pub name: String,
    /// The version it gives, such as `19.1.7`; empty when it gives none.
    pub version: String,
    /// Where it is, when it is a file.
    pub path: Option<PathBuf>,
}

/// The tools of a language that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// In the order in which they are used.
    pub tools: Vec<Tool>,
}

/// What is missing to build plugins in a language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What was looked for and not found, as a fragment of a sentence.
    pub missing: String,
    /// Commands that install it; any one of them is enough.
    pub install: Vec<String>,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 5] = [
        Self::Rust,
        Self::C,
        Self::JavaScript,
        Self::Python,
        Self::Zig,
    ];

    /// The name in `plugin.toml` and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::Zig => "zig",
        }
    }

    /// Whether the tools make a component import every interface of its world, used or not.
    pub(super) const fn imports_whole_worlds(self) -> bool {
        matches!(self, Self::JavaScript | Self::Python)
    }

    /// Whether the same source gives the same bytes again; the tools of interpreters put what was
    /// random while they ran into the component.
    pub(super) const fn is_reproducible(self) -> bool {
        !matches!(self, Self::JavaScript | Self::Python)
    }

    /// The language with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.name() == name)
    }

    /// The tools that building needs.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn find(self) -> Result<Versions, Lack> {
        match self {
            Self::Rust => rust::find(),
            Self::C => c::find(),
            Self::JavaScript => javascript::find(),
            Self::Python => python::find(),
            Self::Zig => zig::find(),
        }
    }

    /// Builds a project with a `plugin.toml`: the bytes of a component, or of a core module that
    /// says in a custom section which world it was written for.
    pub(super) fn build(
        self,
        project: &Project,
        report: &mut dyn FnMut(Event),
    ) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Rust => Err(BuildError::RustWithPluginManifest {
                path: project.manifest_path(),
            }),
            Self::C => c::build(project, report),
            Self::JavaScript => javascript::build(project, report),
            Self::Python => python::build(project, report),
            Self::Zig => zig::build(project, report),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
            Self::Zig => "Zig",
        })
    }
}

impl fmt::Display for Versions {
    /// `clang-19 19.1.7, wasm-ld-19 19.1.7`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, tool) in self.tools.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(formatter, "{comma}{}", tool.name)?;
            if !tool.version.is_empty() {
                write!(formatter, " {}", tool.version)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Lack {
    /// `no clang … (install it with …)`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.missing)?;
        let quoted: Vec<String> = self
            .install
            .iter()
            .map(|command| format!("`{command}`"))
            .collect();
        if !quoted.is_empty() {
            write!(
                formatter,
                " (install it with {})",
                quoted.join(", or with ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_languages_are_one_to_one() {
        for language in Language::ALL {
            assert_eq!(Language::from_name(language.name()), Some(language));
            let written = toml::Value::try_from(language).unwrap();
            assert_eq!(written.as_str(), Some(language.name()));
        }
        assert_eq!(Language::from_name("Rust"), None);
    }

    #[test]
    fn a_lack_says_every_way_to_install() {
        let lack = Lack {
            missing: "no clang on the PATH".to_owned(),
            install: vec![
                "apt-get install clang".to_owned(),
                "brew install llvm".to_owned(),
            ],
        };
        assert_eq!(
            lack.to_string(),
            "no clang on the PATH (install it with `apt-get install clang`, or with `brew install llvm`)"
        );
    }
}
