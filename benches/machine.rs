//! The machine that a bench ran on, and what was measured there.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

/// What a reader needs to judge a time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// As the system calls it.
    processor: String,
    /// Of its vector and matrix instructions, those that decide about speed.
    instructions: Vec<String>,
    cores: usize,
    memory_gib: u64,
    system: String,
    /// What other work the machine had in the last minute, in cores.
    load: f64,
    /// The sources, with `-dirty` where they had changes.
    commit: String,
}

const INSTRUCTIONS: [&str; 9] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "asimd",
];

impl Machine {
    /// This one.
    pub(crate) fn here() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
        let processor = read("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").or_else(|| field("Features"));
        let flags = flags.unwrap_or_default();
        let has = |name: &&str| flags.split_whitespace().any(|flag| flag == *name);
        let memory = read("/proc/meminfo")?;
        let total = memory.lines().find_map(|line| {
            let value = line.strip_prefix("MemTotal:")?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        });
        let load = read("/proc/loadavg")?;
        let load = load.split_whitespace().next();
        Ok(Self {
            processor: field("model name").unwrap_or_else(|| "unknown".to_owned()),
            instructions: INSTRUCTIONS
                .iter()
                .filter(|name| has(name))
                .map(|name| (*name).to_owned())
                .collect(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: total.context("/proc/meminfo has no MemTotal")? >> 20,
            system: read("/proc/version")?
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            load: load
                .and_then(|load| load.parse().ok())
                .context("/proc/loadavg has no number")?,
            commit: commit()?,
        })
    }

    /// Its cores.
    pub(crate) const fn cores(&self) -> usize {
        self.cores
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} ({}), {} cores, {} GiB, {}; load before: {:.1}; commit {}",
            self.processor,
            self.instructions.join(", "),
            self.cores,
            self.memory_gib,
            self.system,
            self.load,
            self.commit,
        )
    }
}

fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .context("git says which commit this is")
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    // What was measured before in the same run is no other program.
    let same = git(&["diff", "--quiet", "HEAD", "--", ".", ":!benches/results"])?;
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    Ok(if same.status.success() {
        head
    } else {
        format!("{head}-dirty")
    })
}

/// What Linux says of this process's memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// The most that was there at one time.
    pub(crate) peak: u64,
    /// What is there.
    pub(crate) now: u64,
}

impl Memory {
    /// Of this process.
    pub(crate) fn here() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next());
            let kibibytes: u64 = value
                .with_context(|| format!("/proc/self/status has no {name}"))?
                .parse()?;
            Ok(kibibytes << 10)
        };
        Ok(Self {
            peak: field("VmHWM:")?,
            now: field("VmRSS:")?,
        })
    }
}
