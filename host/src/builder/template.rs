//! New plugins: the folders of the tested examples, with another name.
//!
//! Invariant: nothing is written over. A template is compiled into this program, so a person with
//! nothing but the program begins with what its tests have built.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::write_whole;
use super::{BuildError, Language, contract, project, rust_sdk};
use crate::plugin::Kind;

/// The files of one example.
struct Template {
    language: Language,
    kind: Kind,
    /// Path below the example's folder, and text.
    files: &'static [(&'static str, &'static str)],
}

/// An example by its files; the folder is `plugins/examples/LANGUAGE/KIND`.
macro_rules! template {
    ($language:ident, $kind:ident, $folder:literal, $($file:literal)+) => {
        Template {
            language: Language::$language,
            kind: Kind::$kind,
            files: &[$((
                $file,
                include_str!(concat!("../../../plugins/examples/", $folder, "/", $file)),
            )),+],
        }
    };
}

/// Every template. The description in a new `plugin.toml` is that of the example.
const TEMPLATES: &[Template] = &[
    template!(Rust, LossHook, "rust/loss-hook", "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs"),
    template!(Rust, LrSchedule, "rust/lr-schedule", "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs"),
    template!(Rust, PartitionScheme, "rust/partition-scheme", "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs"),
    template!(C, LossHook, "c/loss-hook", "plugin.toml" "README.md" "focal.c"),
    template!(C, LrSchedule, "c/lr-schedule", "plugin.toml" "README.md" "poly.c"),
    template!(C, PartitionScheme, "c/partition-scheme", "plugin.toml" "README.md" "front-light.c"),
    template!(JavaScript, LossHook, "javascript/loss-hook", "plugin.toml" "README.md" "package.json" "package-lock.json" "plugin.js"),
    template!(JavaScript, LrSchedule, "javascript/lr-schedule", "plugin.toml" "README.md" "package.json" "package-lock.json" "plugin.js"),
    template!(JavaScript, PartitionScheme, "javascript/partition-scheme", "plugin.toml" "README.md" "package.json" "package-lock.json" "plugin.js"),
    template!(Python, LossHook, "python/loss-hook", "plugin.toml" "README.md" "requirements.txt" "plugin.py"),
    template!(Python, LrSchedule, "python/lr-schedule", "plugin.toml" "README.md" "requirements.txt" "plugin.py"),
    template!(Python, PartitionScheme, "python/partition-scheme", "plugin.toml" "README.md" "requirements.txt" "plugin.py"),
    template!(Zig, LossHook, "zig/loss-hook", "plugin.toml" "README.md" "focal.zig"),
    template!(Zig, LrSchedule, "zig/lr-schedule", "plugin.toml" "README.md" "poly.zig"),
    template!(Zig, PartitionScheme, "zig/partition-scheme", "plugin.toml" "README.md" "front-light.zig"),
];

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// A name that no plugin can have.
    #[error("{0}")]
    Name(String),
    /// The folder is there already.
    #[error(
        "{folder} exists already, and nothing is written over (choose another name, or another \
         folder with --out)",
        folder = folder.display()
    )]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// No example of the kind in the language.
    #[error("there is no template of a {kind} in {language} (there is one in {others})")]
    NoTemplate {
        /// The kind that was asked for.
        kind: Kind,
        /// The language that was asked for.
        language: Language,
        /// The languages that have one.
        others: String,
    },
    /// The folder could not be written.
    #[error(transparent)]
    Write(#[from] BuildError),
}

/// The kind with this name, such as `loss-hook`.
///
/// # Errors
///
/// There is none; the error names the nearest.
pub fn parse_kind(name: &str) -> Result<Kind, String> {
    project::parse_kind(name)
}

/// The language with this name, such as `javascript`.
///
/// # Errors
///
/// There is none; the error names the nearest.
pub fn parse_language(name: &str) -> Result<Language, String> {
    project::parse_language(name)
}

/// Writes a new plugin to `folder`, which must not exist: its source, `plugin.toml`, the contract
/// in `wit`, and a README. Gives the files, relative to the folder.
///
/// # Errors
///
/// The name cannot be used, the folder exists or cannot be written, or there is no such template.
pub fn create(
    name: &str,
    kind: Kind,
    language: Language,
    folder: &Path,
) -> Result<Vec<PathBuf>, NewError> {
    project::check_name(name).map_err(NewError::Name)?;
    let template = find(kind, language)?;
    make(folder)?;
    let mut written = Vec::new();
    for (path, text) in template.renamed(name).into_iter().chain(template.brought()) {
        write_whole(&folder.join(&path), text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn find(kind: Kind, language: Language) -> Result<&'static Template, NewError> {
    let of_kind = || TEMPLATES.iter().filter(|template| template.kind == kind);
    of_kind()
        .find(|template| template.language == language)
        .ok_or_else(|| NewError::NoTemplate {
            kind,
            language,
            others: of_kind()
                .map(|template| template.language.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Makes the folder, which must be new.
fn make(folder: &Path) -> Result<(), NewError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(BuildError::file("making", parent))?;
    }
    fs::create_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NewError::Exists {
            folder: folder.to_owned(),
        },
        _ => BuildError::file("making", folder)(error).into(),
    })
}

impl Template {
    /// The name that the example has.
    const fn example(&self) -> &'static str {
        match self.kind {
            Kind::LossHook => "focal",
            Kind::LrSchedule => "poly",
            Kind::PartitionScheme => "front-light",
        }
    }

    /// The files of a plugin `name`.
    fn renamed(&self, name: &str) -> Vec<(PathBuf, String)> {
        let example = self.example();
        let mut files: Vec<(PathBuf, String)> = self
            .files
            .iter()
            .map(|&(path, text)| {
                let path = PathBuf::from(path.replace(example, name));
                let text = match path.to_str() {
                    Some(project::MANIFEST) => own_manifest(text, example, name),
                    Some("README.md") => renamed(text, example, name) + &self.ending(name),
                    // The SDK comes along.
                    Some("Cargo.toml") => renamed(text, example, name)
                        .replace("path = \"../../../sdk\"", "path = \"sdk\""),
                    _ => renamed(text, example, name),
                };
                (path, text)
            })
            .collect();
        let installed = match self.language {
            Language::JavaScript => "/node_modules/\n",
            Language::Python => "/.venv/\n__pycache__/\n",
            Language::Rust | Language::C | Language::Zig => "",
        };
        let ignored = format!("/target/\n/dist/\n{installed}");
        files.push((".gitignore".into(), ignored));
        files
    }

    /// What comes along with the files of the example: the contract, for Rust inside the SDK.
    fn brought(&self) -> Vec<(PathBuf, String)> {
        if self.language == Language::Rust {
            return rust_sdk::files()
                .map(|(path, text)| (Path::new("sdk").join(path), text.to_owned()))
                .collect();
        }
        contract::FILES
            .into_iter()
            .map(|(file, text)| (Path::new(self.contract()).join(file), text.to_owned()))
            .collect()
    }

    /// The folder with the contract.
    const fn contract(&self) -> &'static str {
        match self.language {
            Language::Rust => "sdk/wit",
            _ => "wit",
        }
    }

    /// How an experiment uses the plugin, for the end of the README.
    fn ending(&self, name: &str) -> String {
        let section = match self.kind {
            Kind::LossHook => "loss",
            Kind::LrSchedule => "schedule",
            Kind::PartitionScheme => "partition",
        };
        format!(
            "
Try it in an experiment:

```console
$ incubate run digits --set {section}.plugin=./dist/{name}.wasm
```

`{contract}/` is the contract that the plugin is built for. `incubate plugin build --watch` builds
again whenever a file changes.
",
            contract = self.contract()
        )
    }
}

/// The example's `plugin.toml` for a plugin of somebody else: no authors, no address yet.
fn own_manifest(text: &str, example: &str, name: &str) -> String {
    let mut own = String::new();
    for line in text.lines() {
        let line = match line.split_once(" = ").map_or("", |(key, _)| key) {
            "name" => line.replace(example, name),
            "version" => "version = \"0.1.0\"".to_owned(),
            "authors" => "authors = []".to_owned(),
            "source" => continue,
            _ => line.to_owned(),
        };
        own.push_str(&line);
        own.push('\n');
    }
    own + "# The address of the source, once it is published.\n# source = \"https://…\"\n"
}

/// The text with the name of the example replaced where it is the plugin's name: in quotation marks
/// of any kind, in a path, or as a heading. In a sentence, as in "the focal loss", it stays. As an
/// identifier, with `_` for `-`, it is replaced everywhere, if that is another word.
fn renamed(text: &str, example: &str, name: &str) -> String {
    let identifier = |words: &str| words.replace('-', "_");
    let text = if example.contains('-') {
        replace_words(text, &identifier(example), |_, _| Some(identifier(name)))
    } else {
        text.to_owned()
    };
    replace_words(&text, example, |before, after| {
        if after.starts_with("::") {
            return Some(identifier(name));
        }
        let quoted = |side: Option<char>| matches!(side, Some('`' | '"' | '\'' | '/'));
        let heading = before == "# " || before.ends_with("\n# ");
        let file = after
            .strip_prefix('.')
            .is_some_and(|ending| ending.starts_with(|first: char| first.is_ascii_alphabetic()));
        (quoted(before.chars().next_back()) || quoted(after.chars().next()) || heading || file)
            .then(|| name.to_owned())
    })
}

/// Replaces `word` where it is no part of a longer one and `replacement`, which sees the text before
/// and after, gives something else.
fn replace_words(
    text: &str,
    word: &str,
    replacement: impl Fn(&str, &str) -> Option<String>,
) -> String {
    let belongs = |side: Option<char>| {
        side.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
    };
    let mut replaced = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices(word) {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        if belongs(before.chars().next_back()) || belongs(after.chars().next()) {
            continue;
        }
        if let Some(other) = replacement(before, after) {
            replaced.push_str(&text[done..at]);
            replaced.push_str(&other);
            done = at + word.len();
        }
    }
    replaced + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Project;

    #[test]
    fn a_name_is_replaced_where_it_is_a_name() {
        for (text, expected) in [
            ("# focal\n\nLoss `focal`", "# my-loss\n\nLoss `my-loss`"),
            ("the focal loss, Focal loss", "the focal loss, Focal loss"),
            (
                "dist/focal.wasm and focal.c",
                "dist/my-loss.wasm and my-loss.c",
            ),
            ("name = \"focal\"", "name = \"my-loss\""),
            (
                "use focal::loss; focal_loss()",
                "use my_loss::loss; focal_loss()",
            ),
            ("it is focal.\nbifocal.c", "it is focal.\nbifocal.c"),
        ] {
            assert_eq!(renamed(text, "focal", "my-loss"), expected);
        }
        assert_eq!(
            renamed("`front-light` front_light::a", "front-light", "last-heavy"),
            "`last-heavy` last_heavy::a"
        );
    }

    #[test]
    fn every_template_gives_a_project_of_its_kind_with_the_new_name() {
        for template in TEMPLATES {
            let folder = tempfile::tempdir().unwrap();
            let new = folder.path().join("deep").join("plugin");
            let files = create("my-own", template.kind, template.language, &new).unwrap();
            assert!(files.contains(&PathBuf::from("README.md")), "{files:?}");
            let worlds = Path::new(template.contract()).join("worlds.wit");
            assert!(files.contains(&worlds), "{files:?}");
            for file in files {
                let text = fs::read_to_string(new.join(&file)).unwrap();
                let file = file.to_str().unwrap();
                assert!(!file.contains(template.example()), "{file}");
                if file != "README.md" && !file.starts_with("wit/") && !file.starts_with("sdk/") {
                    let old = format!("\"{}\"", template.example());
                    assert!(!text.contains(&old), "{file}: {text}");
                }
            }
            let readme = fs::read_to_string(new.join("README.md")).unwrap();
            assert!(readme.starts_with("# my-own\n"), "{readme}");
            assert!(readme.contains("dist/my-own.wasm"), "{readme}");
            if template.language == Language::Rust {
                let manifest = fs::read_to_string(new.join("Cargo.toml")).unwrap();
                assert!(manifest.contains("path = \"sdk\""), "{manifest}");
                assert!(!manifest.contains("../"), "{manifest}");
            } else {
                let manifest = Project::open(&new).unwrap().manifest;
                assert_eq!(manifest.name, "my-own");
                assert_eq!(
                    (manifest.kind, manifest.language),
                    (template.kind, template.language)
                );
                assert_eq!((manifest.authors.len(), manifest.source), (0, None));
            }
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let error = create("a", Kind::LossHook, Language::C, folder.path()).unwrap_err();
        assert!(matches!(error, NewError::Exists { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let new = folder.path().join("new");
        let error = create("A b", Kind::LossHook, Language::C, &new).unwrap_err();
        assert!(matches!(error, NewError::Name(_)), "{error}");
        assert!(!new.exists());
    }
}
