//! The architecture's invariants, checked over the source text.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may contain `unsafe`.
const UNSAFE_FILES: [&str; 6] = [
    "host/src/allocator.rs",
    "host/src/kernels/matrix.rs",
    "host/src/kernels/tiles.rs",
    "host/src/kernels/tiles/pack.rs",
    "host/src/plugin/cache.rs",
    "plugins/hostile/loss/src/forged.rs",
];

/// Source files are shorter than this.
const MOST_LINES: usize = 600;

/// Files of tests, which are lists more than they are machines, are shorter than this.
const MOST_TEST_LINES: usize = 1000;

/// Words that must not stand in the code of a part of the tree.
struct Rule {
    /// What the rule says, for the message.
    says: &'static str,
    /// Where the rule holds: prefixes of paths.
    within: &'static [&'static str],
    /// Prefixes of paths below those that are exempt.
    except: &'static [&'static str],
    /// Whether comments and unit tests are under the rule, too.
    everything: bool,
    /// What must not be there.
    words: &'static [&'static str],
}

const RULES: [Rule; 8] = [
    Rule {
        says: "only the command line prints",
        within: &["host/src/"],
        except: &["host/src/cli/", "host/src/main.rs"],
        everything: false,
        words: &[
            "println!",
            "print!(",
            "anstream",
            "io::stdout",
            "io::stderr",
            "indicatif",
        ],
    },
    Rule {
        says: "only the run folder writes files of a run; the builder writes plugins, the cache \
               compiled code, the lock and the store fetched plugins, the data what was measured and \
               shown, output what a person named",
        within: &["host/src/"],
        except: &[
            "host/src/run/",
            "host/src/builder/",
            "host/src/plugin/cache.rs",
            "host/src/lock/",
            "host/src/registry/",
            "host/src/output.rs",
            "host/src/data/statistics.rs",
        ],
        everything: false,
        words: &[
            "File::create",
            "OpenOptions",
            "fs::write",
            "fs::rename",
            "fs::remove",
            "fs::copy",
            "create_dir",
            "remove_dir",
            "remove_file",
            ".persist(",
            "NamedTempFile",
            "tempdir(",
        ],
    },
    Rule {
        says: "the model knows nothing of plugins",
        within: &["host/src/model/"],
        except: &[],
        everything: true,
        words: &["plugin", "wasm"],
    },
    Rule {
        says: "plugins know nothing of the backend",
        within: &["host/src/plugin/"],
        except: &[],
        everything: false,
        words: &["burn"],
    },
    Rule {
        says: "wasmtime stays inside host/src/plugin",
        within: &["host/src/", "tests/", "benches/"],
        except: &["host/src/plugin/", "tests/tidy.rs"],
        everything: false,
        words: &["wasmtime"],
    },
    Rule {
        says: "the GPU backend stays inside host/src/device (and the kernels' fallback for it)",
        within: &["host/src/"],
        except: &["host/src/device/", "host/src/kernels/"],
        everything: false,
        words: &[
            "feature = \"wgpu\"",
            "feature = \"cuda\"",
            "burn_cubecl",
            "Device::wgpu",
            "Device::cuda",
            "Device::default",
        ],
    },
    Rule {
        says: "what trains uploads and reads through host/src/device, where that is counted",
        within: &[
            "host/src/model/",
            "host/src/optimizer/",
            "host/src/training/",
        ],
        // The bench of plugins measures on the CPU.
        except: &["host/src/training/bench.rs"],
        everything: false,
        words: &[
            "into_data",
            "to_data",
            "into_scalar(",
            "into_scalar::",
            "from_data",
            "from_floats",
            "from_ints",
            ".sync()",
            ".execute(",
            "execute_async",
        ],
    },
    Rule {
        says: "nothing is left undone or switched off",
        within: &[""],
        except: &["tests/tidy.rs"],
        everything: true,
        words: &["todo!", "unimplemented!", "#[ignore", "FIXME", "TODO"],
    },
];

fn under(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// The line without its comment. A `//` inside a text ends the line too early, which only makes
/// the rules weaker there.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// Every violation in one file, as `file:line: rule`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tests_file = path.ends_with("/tests.rs");
    let tests_begin = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_end().ends_with('{'))
        .unwrap_or(lines.len());
    let mut found = Vec::new();
    for rule in &RULES {
        if !under(path, rule.within) || under(path, rule.except) {
            continue;
        }
        let (end, part): (usize, fn(&str) -> &str) = if rule.everything {
            (lines.len(), |line| line)
        } else if tests_file {
            (0, code)
        } else {
            (tests_begin, code)
        };
        for (index, line) in lines[..end].iter().enumerate() {
            if let Some(word) = rule.words.iter().find(|word| part(line).contains(**word)) {
                found.push(format!("{path}:{}: `{word}`: {}", index + 1, rule.says));
            }
        }
    }
    for (index, line) in lines.iter().enumerate() {
        let keyword = "unsafe";
        let code = code(line);
        let word = code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        if path == "tests/tidy.rs" || !word.clone().any(|word| word == keyword) {
            continue;
        }
        if !UNSAFE_FILES.contains(&path) {
            found.push(format!(
                "{path}:{}: `{keyword}` only in {UNSAFE_FILES:?}",
                index + 1
            ));
        }
        // What an `unsafe fn` does is explained at its blocks, and its contract at the trait.
        let documented = code.contains("unsafe fn")
            || lines[index.saturating_sub(5)..=index]
                .iter()
                .any(|line| line.contains("// SAFETY: ") || line.contains("/// # Safety"));
        if !documented {
            found.push(format!(
                "{path}:{}: `{keyword}` without `// SAFETY: `",
                index + 1
            ));
        }
    }
    let most = if tests_file || path.starts_with("tests/") {
        MOST_TEST_LINES
    } else {
        MOST_LINES
    };
    if lines.len() >= most {
        found.push(format!(
            "{path}:{}: a file like this is shorter than {most} lines; split it by subject",
            lines.len()
        ));
    }
    let purpose = lines.first().is_some_and(|line| line.starts_with("//!"));
    if !purpose && !tests_file {
        found.push(format!(
            "{path}:1: a source file begins with `//!` and its purpose"
        ));
    }
    let stem = path.rsplit('/').next().unwrap_or(path);
    if ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"].contains(&stem) {
        found.push(format!("{path}:1: a file is named for its subject"));
    }
    found
}

/// The Rust files below `folder`, build outputs left out.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_invariants() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["benches", "host", "plugins", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 40, "only {} source files found", files.len());
    let mut found = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let path = file.strip_prefix(root).expect("a file below the root");
        let path = path.to_string_lossy().replace('\\', "/");
        found.extend(violations(&path, &text));
    }
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_rule_can_be_broken() {
    let broken = [
        ("host/src/run/folder.rs", "println!()"),
        ("host/src/training/phase.rs", "let mut out = io::stdout();"),
        ("host/src/training/phase.rs", "fs::write(path, text)"),
        ("host/src/data/idx.rs", "file.persist(path)"),
        ("host/src/model/network.rs", "// asks the plugin"),
        ("host/src/plugin/host.rs", "use burn::tensor::Tensor;"),
        ("host/src/training/phase.rs", "use wasmtime::Store;"),
        ("tests/run.rs", "use wasmtime::Store;"),
        ("host/src/cli/run.rs", "let device = Device::wgpu(kind);"),
        ("host/src/cli/run.rs", "use burn_cubecl::cubecl;"),
        (
            "host/src/training/metrics.rs",
            "let data = loss.into_data();",
        ),
        (
            "host/src/model/dropout.rs",
            "Tensor::from_data(mask, device)",
        ),
        ("host/src/optimizer/adamw.rs", "device.sync().unwrap();"),
        ("plugins/uniform/src/lib.rs", "todo!()"),
        ("tests/run.rs", "#[ignore]"),
        ("host/src/data/idx.rs", "// SAFETY: none\nunsafe { read() }"),
        ("host/src/allocator.rs", "unsafe { read() }"),
        ("host/src/data/helpers.rs", "fn read() {}"),
    ];
    for (path, line) in broken {
        let found = violations(path, &format!("//! A purpose.\n{line}\n"));
        assert_eq!(found.len(), 1, "{path}, {line}: {found:?}");
    }
    let long = format!("//! A purpose.\n{}", "\n".repeat(MOST_LINES));
    assert_eq!(violations("host/src/run/folder.rs", &long).len(), 1);
    assert_eq!(
        violations("host/src/run/folder.rs", "fn read() {}\n").len(),
        1
    );
}

#[test]
fn unit_tests_may_write_files() {
    let text = "//! A purpose.\n#[cfg(test)]\nmod tests {\n    fs::write(path, text)\n}\n";
    assert!(violations("host/src/data/idx.rs", text).is_empty());
    let text = "//! A purpose.\nfs::write(path, text)\n";
    assert!(violations("host/src/data/loader/tests.rs", text).is_empty());
    assert!(!violations("host/src/data/loader.rs", text).is_empty());
}

#[test]
fn only_its_own_feature_turns_on_kernels_that_crash_software_adapters() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(path).expect("the manifest");
    let lines = manifest.lines().filter(|line| !line.starts_with('#'));
    let found: Vec<_> = lines.filter(|line| line.contains("vulkan")).collect();
    assert_eq!(
        found,
        [r#"vulkan = ["wgpu", "burn/vulkan"]"#],
        "Cargo.toml: burn's `vulkan` compiles kernels to SPIR-V, on which Mesa's software driver \
         ends the process (see host/src/device/gpu.rs, which refuses it for the feature `vulkan`)"
    );
}
