//! Rust: the compiler for WebAssembly, which `toolchain` finds, as the other languages show theirs.

use super::BuildError;
use super::language::{Lack, Tool, Versions};
use super::toolchain::Toolchain;

/// The compiler, its linker, and cargo.
pub(super) fn find() -> Result<Versions, Lack> {
    let install = || {
        [
            "rustup target add wasm32-unknown-unknown",
            "apt-get install --no-install-recommends rustc-web rust-web-src lld-22",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let toolchain = Toolchain::find().map_err(|error| match error {
        BuildError::NoCompiler { looked_at } => Lack {
            missing: format!("no compiler for wasm32-unknown-unknown; looked at {looked_at}"),
            install: install(),
        },
        BuildError::Start { .. } => Lack {
            missing: "no cargo on the PATH".to_owned(),
            install: vec![
                "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh".to_owned(),
            ],
        },
        other => Lack {
            missing: other.to_string(),
            install: install(),
        },
    })?;
    let tool = |name: &str, line: &str| Tool {
        name: name.to_owned(),
        version: line.to_owned(),
        path: None,
    };
    let versions = &toolchain.versions;
    let mut tools = vec![
        Tool {
            name: "rustc".to_owned(),
            version: without_name(&versions.compiler, "rustc").to_owned(),
            path: Some(toolchain.rustc.clone()),
        },
        tool("cargo", without_name(&versions.cargo, "cargo")),
    ];
    if let Some(from_source) = &toolchain.from_source {
        tools.push(Tool {
            path: Some(from_source.linker.clone()),
            ..tool("linker", &versions.linker)
        });
    }
    Ok(Versions { tools })
}

/// `1.95.0 (…)` of `rustc 1.95.0 (…)`.
fn without_name<'a>(line: &'a str, name: &str) -> &'a str {
    line.strip_prefix(name).unwrap_or(line).trim()
}
