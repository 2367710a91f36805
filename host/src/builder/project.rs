//! A folder with one plugin that is not written in Rust: its `plugin.toml` and where things go.
//!
//! Invariant: a `plugin.toml` that was read is complete and its values can be embedded in a
//! component as they are.

use std::path::{Path, PathBuf};

use semver::Version;
use toml::{Table, Value};

use super::metadata::Metadata;
use super::{BuildError, Language, contract};
use crate::file;
use crate::plugin::Kind;
use crate::spelling::nearest;

/// The file that describes a plugin.
pub(super) const MANIFEST: &str = "plugin.toml";

/// The keys of `plugin.toml`.
const KEYS: [&str; 9] = [
    "name",
    "version",
    "kind",
    "language",
    "description",
    "license",
    "authors",
    "source",
    "imports",
];

/// What `plugin.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginManifest {
    /// Lower case, words joined by `-`; also the name of the component's file.
    pub name: String,
    /// Version of the plugin, not of the contract.
    pub version: Version,
    /// What the plugin decides.
    pub kind: Kind,
    /// What it is written in.
    pub language: Language,
    /// One sentence.
    pub description: String,
    /// An SPDX expression, such as `MIT OR Apache-2.0`.
    pub license: String,
    /// Names, with an address in angle brackets if wanted; may be empty.
    pub authors: Vec<String>,
    /// URL of the source, if it is published.
    pub source: Option<String>,
    /// Interfaces of the contract to import besides those that every plugin of the kind may, such
    /// as `random`; for languages whose tools import a whole world.
    pub imports: Vec<String>,
}

/// A plugin's folder with what its `plugin.toml` says.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// Its `plugin.toml`.
    pub manifest: PluginManifest,
    /// Where intermediate files go: `target` in the folder.
    pub build_folder: PathBuf,
}

impl Project {
    /// Whether a folder has a `plugin.toml`.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Refuses a folder that has no source file `name`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn require_source(&self, name: &str) -> Result<(), BuildError> {
        if self.folder.join(name).is_file() {
            return Ok(());
        }
        Err(BuildError::NoSource {
            folder: self.folder.clone(),
            example: name.to_owned(),
        })
    }

    /// Reads the `plugin.toml` of `folder`.
    ///
    /// # Errors
    ///
    /// The file is missing, has an unknown key, lacks one, or has a value that cannot be used.
    pub fn open(folder: &Path) -> Result<Self, BuildError> {
        let folder = folder
            .canonicalize()
            .map_err(BuildError::file("opening", folder))?;
        let path = folder.join(MANIFEST);
        let text = file::read_text(&path).map_err(BuildError::file("reading", &path))?;
        let manifest = PluginManifest::parse(&text)
            .map_err(|detail| BuildError::PluginManifest { path, detail })?;
        Ok(Self {
            build_folder: folder.join("target"),
            folder,
            manifest,
        })
    }

    /// Where `plugin.toml` is.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join(MANIFEST)
    }

    /// Where the component goes: `dist/NAME.wasm` in the folder.
    pub fn component_path(&self) -> PathBuf {
        self.folder
            .join("dist")
            .join(format!("{}.wasm", self.manifest.name))
    }

    /// The folder with the contract's WIT files: `wit` of the project if it has one, else a copy
    /// of this program's contract, written to `target/wit`.
    ///
    /// # Errors
    ///
    /// The copy cannot be written.
    pub fn contract_folder(&self) -> Result<PathBuf, BuildError> {
        let own = self.folder.join("wit");
        if own.is_dir() {
            return Ok(own);
        }
        let copy = self.build_folder.join("wit");
        contract::write(&copy)?;
        Ok(copy)
    }
}

impl PluginManifest {
    /// Reads the text of a `plugin.toml`; the error is what is wrong and what to do.
    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(match nearest(unknown, KEYS.into_iter()) {
                Some(near) => format!("there is no key `{unknown}` (did you mean `{near}`?)"),
                None => format!(
                    "there is no key `{unknown}` (the keys are {})",
                    KEYS.join(", ")
                ),
            });
        }
        let name = required(&table, "name")?;
        check_name(&name)?;
        let version = required(&table, "version")?;
        let version = Version::parse(&version).map_err(|error| {
            format!("`version` is `{version}`: {error} (give three numbers, such as 0.1.0)")
        })?;
        let manifest = Self {
            name,
            version,
            kind: parse_kind(&required(&table, "kind")?)?,
            language: parse_language(&required(&table, "language")?)?,
            description: required(&table, "description")?,
            license: required(&table, "license")?,
            authors: texts(&table, "authors", "Ada Lovelace")?,
            source: text_of(&table, "source")?,
            imports: texts(&table, "imports", "random")?,
        };
        if table.contains_key("imports") && !manifest.language.imports_whole_worlds() {
            return Err(format!(
                "`imports` is for JavaScript and Python; a plugin in {} imports what it uses (remove \
                 `imports`)",
                manifest.language
            ));
        }
        manifest.metadata().check()?;
        Ok(manifest)
    }

    /// What a plugin says of itself, by name, each value as a text in double quotes that JavaScript
    /// and Python read alike.
    pub(super) fn description_fields(&self) -> [(&'static str, String); 3] {
        let version = self.version.to_string();
        [
            ("name", self.name.as_str()),
            ("version", &version),
            ("summary", &self.description),
        ]
        .map(|(name, text)| (name, serde_json::json!(text).to_string()))
    }

    /// What goes into the component.
    pub(super) fn metadata(&self) -> Metadata {
        Metadata {
            name: self.name.clone(),
            version: self.version.to_string(),
            description: Some(self.description.clone()),
            license: Some(self.license.clone()),
            authors: self.authors.clone(),
            source: self.source.clone(),
            language: self.language,
        }
    }
}

/// Whether `name` can name a plugin: lower-case letters, digits, and single `-` between them.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if begins && name.len() <= 64 && name.split('-').all(word) {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is no name of a plugin (use lower-case letters and digits, beginning with a \
             letter, words joined by `-`, at most 64 characters)"
        ))
    }
}

/// The kind with this name, else what is wrong with it.
pub(super) fn parse_kind(given: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::world);
    Kind::ALL
        .into_iter()
        .find(|kind| kind.world() == given)
        .ok_or_else(|| unknown("kind", given, &names))
}

/// The language with this name, else what is wrong with it.
pub(super) fn parse_language(given: &str) -> Result<Language, String> {
    let names = Language::ALL.map(Language::name);
    Language::from_name(given).ok_or_else(|| unknown("language", given, &names))
}

fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(near) => format!("there is no {what} `{given}` (did you mean `{near}`?)"),
        None => format!(
            "there is no {what} `{given}` (choose one of {})",
            known.join(", ")
        ),
    }
}

fn text_of(table: &Table, key: &str) -> Result<Option<String>, String> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(Value::String(_)) => Err(format!("`{key}` is empty (leave it out, or fill it)")),
        Some(other) => Err(format!("`{key}` is {other}, not a text in quotes")),
    }
}

fn required(table: &Table, key: &str) -> Result<String, String> {
    text_of(table, key)?.ok_or_else(|| format!("`{key}` is missing (add a line `{key} = \"…\"`)"))
}

fn texts(table: &Table, key: &str, example: &str) -> Result<Vec<String>, String> {
    let wrong = |given: &Value| {
        format!("`{key}` has {given} (give a list of texts, such as [\"{example}\"])")
    };
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| wrong(value))
            })
            .collect(),
        Some(other) => Err(wrong(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOCAL: &str = r#"
        name = "focal"
        version = "0.1.0"
        kind = "loss-hook"
        language = "c"
        description = "Focal loss"
        license = "MIT OR Apache-2.0"
        authors = ["Ada Lovelace"]
        source = "https://example.com/focal"
    "#;

    fn changed(from: &str, to: &str) -> String {
        assert!(FOCAL.contains(from), "{from}");
        PluginManifest::parse(&FOCAL.replace(from, to)).unwrap_err()
    }

    #[test]
    fn a_complete_manifest_is_read() {
        let manifest = PluginManifest::parse(FOCAL).unwrap();
        assert_eq!(manifest.name, "focal");
        assert_eq!(manifest.version, Version::new(0, 1, 0));
        assert_eq!(manifest.kind, Kind::LossHook);
        assert_eq!(manifest.language, Language::C);
        assert_eq!(manifest.authors, ["Ada Lovelace"]);
        let without = FOCAL
            .replace(r#"authors = ["Ada Lovelace"]"#, "")
            .replace(r#"source = "https://example.com/focal""#, "");
        let manifest = PluginManifest::parse(&without).unwrap();
        assert_eq!((manifest.authors.len(), manifest.source), (0, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_do() {
        for (from, to, phrases) in [
            (
                "license",
                "licence",
                &["`licence`", "did you mean `license`"][..],
            ),
            (
                "license",
                "zzzzzzzz",
                &["`zzzzzzzz`", "the keys are name, "],
            ),
            ("\"c\"", "\"pyton\"", &["no language `pyton`", "`python`"]),
            ("loss-hook", "loss", &["no kind `loss`", "loss-hook"]),
            ("0.1.0", "1", &["`version` is `1`", "0.1.0"]),
            ("\"focal\"", "\"Focal Loss\"", &["`Focal Loss` is no name"]),
            ("\"Focal loss\"", "3", &["`description` is 3"]),
            ("\"Focal loss\"", "\" \"", &["`description` is empty"]),
            (
                "[\"Ada Lovelace\"]",
                "\"Ada\"",
                &["`authors`", "list of texts"],
            ),
            (
                "license",
                "imports = [\"random\"]\nlicense",
                &["a plugin in C imports what it uses"],
            ),
            ("MIT OR Apache-2.0", "Apache 2", &["`license`", "SPDX"]),
            (
                "https://example.com/",
                "",
                &["the source is `focal`", "https://"],
            ),
        ] {
            let error = changed(from, to);
            for phrase in phrases {
                assert!(error.contains(phrase), "no `{phrase}` in: {error}");
            }
        }
        let error = PluginManifest::parse("name = \"focal\"\n").unwrap_err();
        assert!(error.starts_with("`version` is missing"), "{error}");
    }

    #[test]
    fn names_are_words_joined_by_hyphens() {
        for good in ["focal", "front-light", "top5-loss"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "a--b", "a_b", "../a", "5a", "Ä", &"a".repeat(65)] {
            assert!(check_name(bad).unwrap_err().contains("no name"), "{bad}");
        }
    }
}
