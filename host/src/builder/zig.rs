//! Zig: the SDK for C, translated by Zig's own translator into a module named `incubate`, and its C
//! files compiled by the clang that Zig brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::language::{Lack, Language, Tool, Versions};
use super::manifest::write_whole;
use super::project::Project;
use super::{BuildError, Event, c, cargo, programs};

/// Where headers are, relative to the project's folder.
const HEADERS: [&str; 4] = [
    "-Itarget/bindings",
    "-Itarget/sdk",
    "-isystem",
    "target/sdk/include",
];

/// Safety checks stay on: a plugin that reads past a list ends with a message.
const FLAGS: [&str; 7] = [
    "-target",
    "wasm32-freestanding",
    "-mcpu=generic+bulk_memory",
    "-OReleaseSafe",
    "-fno-entry",
    "-rdynamic",
    "-fno-error-tracing",
];

/// Flags of the C files.
const C_FLAGS: [&str; 6] = [
    "-cflags",
    "-std=c17",
    "-ffreestanding",
    "-fno-math-errno",
    "-ffp-contract=off",
    "--",
];

/// How Zig is called: a program with its first arguments.
struct Zig {
    program: PathBuf,
    arguments: &'static [&'static str],
    version: String,
}

impl Zig {
    /// `zig` of the PATH, else the one of the Python package `ziglang`.
    fn find() -> Result<Self, Lack> {
        let ways: [(&str, &'static [&'static str]); 3] = [
            ("zig", &[]),
            ("python-zig", &[]),
            ("python3", &["-m", "ziglang"]),
        ];
        for (name, arguments) in ways {
            let Some(program) = programs::on_path(name) else {
                continue;
            };
            let asked: Vec<&str> = arguments.iter().copied().chain(["version"]).collect();
            if let Some(version) = programs::version(&program, &asked) {
                return Ok(Self {
                    program,
                    arguments,
                    version,
                });
            }
        }
        Err(Lack {
            missing: "no zig on the PATH, and no package ziglang of python3".to_owned(),
            install: vec![
                "pipx install ziglang".to_owned(),
                "python3 -m pip install ziglang".to_owned(),
            ],
        })
    }

    fn versions(&self) -> Versions {
        Versions {
            tools: vec![Tool {
                name: "zig".to_owned(),
                version: self.version.clone(),
                path: Some(self.program.clone()),
            }],
        }
    }

    /// A call of Zig in the project's folder.
    fn command(&self, folder: &Path, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(folder)
            .env("ZIG_LOCAL_CACHE_DIR", "target/zig")
            .args(self.arguments)
            .arg(action);
        command
    }
}

/// Zig and its version.
pub(super) fn find() -> Result<Versions, Lack> {
    Ok(Zig::find()?.versions())
}

/// Compiles `NAME.zig` with the bindings and the runtime for C.
pub(super) fn build(
    project: &Project,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<u8>, BuildError> {
    let zig = Zig::find().map_err(|lack| BuildError::Lacks {
        language: Language::Zig,
        lack,
    })?;
    report(Event::Found {
        language: Language::Zig,
        versions: zig.versions(),
    });
    let folder = &project.folder;
    let source = format!("{}.zig", project.manifest.name);
    project.require_source(&source)?;
    c::prepare(project)?;
    let module = Path::new("target").join("bindings").join("incubate.zig");
    if !folder.join(&module).exists() {
        report(Event::Step {
            what:
                "translating the bindings; the first time ever Zig compiles its translator, which \
                   takes a minute or two"
                    .to_owned(),
        });
    }
    let mut translate = zig.command(folder, "translate-c");
    translate
        .args(["target/sdk/incubate.h", "-target", "wasm32-freestanding"])
        .args(HEADERS);
    let translated = cargo::output(&mut translate)?;
    write_whole(&folder.join(&module), translated.as_bytes())?;

    let core = project.build_folder.join("module.wasm");
    let mut compile = zig.command(folder, "build-exe");
    compile
        .args(FLAGS)
        .args(HEADERS)
        .args(C_FLAGS)
        .args(c::ALONG)
        .args(["--dep", "incubate"])
        .arg(format!("-Mroot={source}"))
        .arg(format!("-Mincubate={}", module.display()))
        .arg("-femit-bin=target/module.wasm");
    let said = cargo::messages(&mut compile)?;
    if !said.is_empty() {
        report(Event::Step { what: said });
    }
    let bytes = fs::read(&core).map_err(BuildError::file("reading", &core))?;
    without_debug_information(&bytes).ok_or_else(|| BuildError::Component {
        package: project.manifest.name.clone(),
        detail: format!("{} is damaged", core.display()),
    })
}

/// The module without its DWARF, which names folders of this machine; the names of functions stay.
/// Nothing when the bytes are no module.
fn without_debug_information(module: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut kept = header.to_vec();
    while let Some((&id, after_id)) = rest.split_first() {
        let (size, content) = read_size(after_id)?;
        let (content, next) = content.split_at_checked(size)?;
        let is_debug = id == CUSTOM && {
            let (length, name) = read_size(content)?;
            name.get(..length)?.starts_with(b".debug_")
        };
        if !is_debug {
            kept.extend_from_slice(rest.get(..rest.len() - next.len())?);
        }
        rest = next;
    }
    Some(kept)
}

/// The identifier of a section that does not change what a module does.
const CUSTOM: u8 = 0;

/// A number as WebAssembly writes sizes (LEB128), and what follows it.
fn read_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut size = 0_u32;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        size |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((usize::try_from(size).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_information_is_cut_out_and_nothing_else() {
        let header = b"\0asm\x01\0\0\0";
        let names = b"\0\x06\x04name\x07";
        // A size in two bytes, as linkers write it.
        let debug = b"\0\x8d\0\x0b.debug_info\x01";
        let types = b"\x01\x01\0";
        let module = [&header[..], types, debug, names].concat();
        let kept = [&header[..], types, names].concat();
        assert_eq!(without_debug_information(&module), Some(kept.clone()));
        assert_eq!(without_debug_information(&kept), Some(kept));
        assert_eq!(without_debug_information(&module[..20]), None);
        assert_eq!(without_debug_information(b"\0asm"), None);
    }
}
