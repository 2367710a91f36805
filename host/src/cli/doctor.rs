//! `incubate doctor`: what works on this machine, and how to install what is missing.
//!
//! It fails only when the host itself does not work: a missing toolchain is a note, since nobody
//! needs them all.

use std::path::{Path, PathBuf};
use std::{env, fs, io, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{print, print_json, sandbox};
use crate::builder::{Lack, Language, Versions};
use crate::device::{self, DeviceChoice};
use crate::phase::Phase;
use crate::plugin::{CONTRACT, Context, Grants, Group, Kind, Limits, Moment, Schedule};
use crate::random::Seed;

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Examination {
    version: &'static str,
    contract: String,
    cpu: Cpu,
    /// What can train, the CPU first.
    devices: Vec<String>,
    device: String,
    /// What a built-in plugin answered in the sandbox, or why it did not.
    sandbox: Finding,
    plugin_cache: Finding,
    registry_credentials: Finding,
    languages: Vec<Toolchain>,
}

#[derive(Debug, Serialize)]
struct Cpu {
    architecture: &'static str,
    threads: usize,
    /// The vector instructions that the kernels ask for.
    vectors: Vec<&'static str>,
}

/// One thing that works or does not.
#[derive(Debug, Serialize)]
struct Finding {
    works: bool,
    what: String,
}

#[derive(Debug, Serialize)]
struct Toolchain {
    language: Language,
    found: Option<Versions>,
    lack: Option<Lack>,
}

/// Looks at everything and shows it.
pub(super) fn doctor(as_json: bool) -> Result<()> {
    let sandbox = sandbox();
    let works = sandbox.works;
    let problem = sandbox.what.clone();
    let examination = Examination {
        version: env!("CARGO_PKG_VERSION"),
        contract: format!("incubate:plugin@{CONTRACT}"),
        cpu: cpu(),
        devices: devices(),
        device: device::choose(DeviceChoice::Auto, false)
            .map_or_else(|error| error.to_string(), |chosen| chosen.name),
        sandbox,
        plugin_cache: plugin_cache(sandbox::compiled_folder()),
        registry_credentials: registry_credentials(),
        languages: Language::ALL.map(toolchain).into(),
    };
    if as_json {
        print_json(&examination)?;
    } else {
        show(&examination)?;
    }
    if works {
        return Ok(());
    }
    Err(anyhow::anyhow!(problem).context("plugins do not run on this machine"))
}

fn show(examination: &Examination) -> Result<()> {
    let line = |finding: Option<bool>, what: &str, text: &str| {
        let mark = match finding {
            Some(true) => "works",
            Some(false) => "fails",
            None => "-",
        };
        print(&format!("{mark:<6} {what:<22} {text}"))
    };
    let Examination {
        version,
        contract,
        cpu,
        ..
    } = examination;
    line(
        Some(true),
        "incubate",
        &format!("{version}, contract {contract}"),
    )?;
    line(
        Some(true),
        "processor",
        &format!(
            "{}, {} threads, {}",
            cpu.architecture,
            cpu.threads,
            if cpu.vectors.is_empty() {
                "no vector instructions that are used".to_owned()
            } else {
                cpu.vectors.join(" ")
            }
        ),
    )?;
    line(
        Some(true),
        "devices",
        &format!(
            "{}; training takes {}",
            examination.devices.join(", "),
            examination.device
        ),
    )?;
    for (what, finding) in [
        ("sandbox", &examination.sandbox),
        ("plugin cache", &examination.plugin_cache),
        ("registry credentials", &examination.registry_credentials),
    ] {
        line(Some(finding.works), what, &finding.what)?;
    }
    for toolchain in &examination.languages {
        let name = format!("plugins in {}", toolchain.language);
        match (&toolchain.found, &toolchain.lack) {
            (Some(versions), _) => line(Some(true), &name, &versions.to_string())?,
            (None, Some(lack)) => {
                line(None, &name, &lack.missing)?;
                for (index, command) in lack.install.iter().enumerate() {
                    let word = if index == 0 { "install:" } else { "or:" };
                    print(&format!("{:<30}{word:<9}{command}", ""))?;
                }
            }
            (None, None) => line(None, &name, "")?,
        }
    }
    Ok(())
}

fn toolchain(language: Language) -> Toolchain {
    match language.find() {
        Ok(versions) => Toolchain {
            language,
            found: Some(versions),
            lack: None,
        },
        Err(lack) => Toolchain {
            language,
            found: None,
            lack: Some(lack),
        },
    }
}

fn cpu() -> Cpu {
    Cpu {
        architecture: env::consts::ARCH,
        threads: thread::available_parallelism().map_or(1, usize::from),
        vectors: vectors(),
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> Vec<&'static str> {
    let mut found = Vec::new();
    if is_x86_feature_detected!("avx2") {
        found.push("avx2");
    }
    if is_x86_feature_detected!("fma") {
        found.push("fma");
    }
    if is_x86_feature_detected!("avx512f") {
        found.push("avx512f");
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> Vec<&'static str> {
    if cfg!(target_feature = "neon") {
        vec!["neon"]
    } else {
        Vec::new()
    }
}

fn devices() -> Vec<String> {
    let adapters = device::list();
    let adapters = adapters
        .iter()
        .map(|adapter| format!("{} {adapter}", adapter.device()));
    ["cpu".to_owned()].into_iter().chain(adapters).collect()
}

/// Has a built-in schedule answer a rate.
fn sandbox() -> Finding {
    match answer_of_a_plugin() {
        Ok(what) => Finding { works: true, what },
        Err(error) => Finding {
            works: false,
            what: super::failure::chain(&error),
        },
    }
}

fn answer_of_a_plugin() -> Result<String> {
    let host = sandbox::plugin_host()?;
    let plugin = host.load(
        "constant",
        Kind::LrSchedule,
        &Grants::none(),
        &Limits::default(),
    )?;
    let context = Context {
        seed: Seed(0),
        phase: Phase::Meta,
    };
    let settings = plugin.settings(&std::collections::BTreeMap::new())?;
    let rate = Schedule::new(&plugin, &settings, context)?.rate(&Moment {
        update: 0,
        updates: 1,
        epoch: 0.0,
        epochs: 1,
        base_rate: 0.5,
        group: Group {
            name: "decay",
            index: 0,
        },
    })?;
    anyhow::ensure!(
        rate == 0.5,
        "the built-in schedule `constant` answers {rate} instead of 0.5"
    );
    Ok("the built-in schedule `constant` answers".to_owned())
}

/// Whether compiled plugins can be kept: a file can be made in the folder, or where it will be.
fn plugin_cache(folder: Option<PathBuf>) -> Finding {
    let Some(folder) = folder else {
        return Finding {
            works: false,
            what: "no home folder, so plugins are compiled at every start (set XDG_CACHE_HOME)"
                .to_owned(),
        };
    };
    let there = folder.ancestors().find(|ancestor| ancestor.exists());
    match tempfile::tempfile_in(there.unwrap_or(Path::new("/"))) {
        Ok(_) => Finding {
            works: true,
            what: folder.display().to_string(),
        },
        Err(error) => Finding {
            works: false,
            what: format!(
                "{} cannot be written: {error} (plugins are compiled at every start; set \
                 XDG_CACHE_HOME to another folder)",
                folder.display()
            ),
        },
    }
}

/// Whether the file with the credentials of registries can be used; none is needed for public ones.
fn registry_credentials() -> Finding {
    let path = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"));
    let Some(path) = path else {
        return Finding {
            works: true,
            what: "none, and no home folder (public registries need none)".to_owned(),
        };
    };
    match credentials(&path) {
        Ok(what) => Finding { works: true, what },
        Err(error) => Finding {
            works: false,
            what: format!(
                "{} (repair it, or remove it and log in again with `docker login`)",
                super::failure::chain(&error)
            ),
        },
    }
}

fn credentials(path: &Path) -> Result<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(format!(
                "none in {} (public registries need none)",
                path.display()
            ));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let count = value
        .get("auths")
        .and_then(serde_json::Value::as_object)
        .map_or(0, serde_json::Map::len);
    Ok(format!(
        "{} ({count} {})",
        path.display(),
        if count == 1 { "registry" } else { "registries" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_counted_and_a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(credentials(&path).unwrap().starts_with("none in "));
        fs::write(&path, r#"{ "auths": { "example.com": {} } }"#).unwrap();
        assert!(credentials(&path).unwrap().ends_with("(1 registry)"));
        fs::write(&path, "{").unwrap();
        let error = credentials(&path).unwrap_err();
        assert!(
            error.to_string().contains("config.json is no JSON"),
            "{error}"
        );
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_failure_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        assert!(plugin_cache(Some(folder.path().join("a/b"))).works);
        assert!(!plugin_cache(None).works);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let finding = plugin_cache(Some(file.join("plugins")));
        assert!(
            !finding.works && finding.what.contains("XDG_CACHE_HOME"),
            "{finding:?}"
        );
    }
}
