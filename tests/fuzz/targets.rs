//! What the fuzz targets do with their bytes: each gives them to one entrance of the program that
//! files, servers, or plugins of strangers reach. A target may refuse its bytes and must not panic,
//! take memory that they do not justify, or leave the folder that it was given.
//!
//! Where a digest protects a file, it is made right first, so that what lies behind is reached.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use incubate::builder::{Manifest, Project};
use incubate::data::DataConfig;
use incubate::experiment::{Experiment, load_to_plan};
use incubate::lock::LockError;
use incubate::model::{Tensors, checkpoint, metadata_of};
use incubate::plugin::{Limits, Origin, PluginHost, Recordings, Reference, RegistryReference};
use incubate::registry::{Access, Artefact, Blob, Layer, Trust, UnitPlace, component_of, unit_of};
use incubate::run::{
    AVERAGE_FILE, NETWORK_FILE, OPTIMIZER_FILE, Overview, PARCEL_TYPE, RunFolder, Unit,
};
use incubate::training::check_weights;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[path = "contract.rs"]
pub mod contract;
#[path = "registry.rs"]
pub mod registry;

/// A target: its name, which is the name of the folder with its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 13] = [
    ("artefact", artefact),
    ("checkpoint", checkpoint_file),
    ("component", component),
    ("contract", contract::contract),
    ("experiment", experiment),
    ("idx", idx),
    ("lock", lock),
    ("picture", picture),
    ("project", project),
    ("recording", recording),
    ("reference", reference),
    ("registry", registry::registry),
    ("run", run_folder),
];

/// What stands between the files of an input that has several.
pub const BETWEEN: &[u8] = b"\n=====\n";

/// The files of an input; those that it lacks are empty.
fn files<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(bytes);
    std::array::from_fn(|index| {
        let Some(all) = rest.take() else {
            return &[][..];
        };
        let end = all
            .windows(BETWEEN.len())
            .position(|window| window == BETWEEN)
            .filter(|_| index + 1 < N);
        match end {
            Some(end) => {
                rest = Some(&all[end + BETWEEN.len()..]);
                &all[..end]
            }
            None => all,
        }
    })
}

/// Calls `inside` with a folder that is empty before; in memory where the system has such a place.
fn folder(inside: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: TempDir = {
            let memory = Path::new("/dev/shm");
            if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
        };
    }
    FOLDER.with(|place| {
        let folder = place.path().join("inside");
        fs::create_dir_all(&folder).unwrap();
        inside(&folder);
        fs::remove_dir_all(&folder).unwrap();
        // Nothing was written beside the folder.
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    });
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The JSON in `bytes` with a text or a number set; as it is when it is no JSON with that part.
fn with(bytes: &[u8], place: &[&str], text: impl Into<Value>) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return bytes.to_vec();
    };
    let found = place
        .iter()
        .try_fold(&mut value, |value, key| match key.parse::<usize>() {
            Ok(place) => value.get_mut(place),
            Err(_) => value.get_mut(*key),
        });
    match found {
        Some(found) => *found = text.into(),
        None => return bytes.to_vec(),
    }
    serde_json::to_vec(&value).unwrap()
}

/// A text as experiments are read: from a file, and from a run folder.
pub fn experiment(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = toml::from_str::<Experiment>(text);
    }
    folder(|folder| {
        let path = write(folder, "experiment.toml", bytes);
        if let Ok(resolved) = load_to_plan(path.to_str(), &[]) {
            assert!(!resolved.settings().is_empty());
        }
    });
}

/// A lock file, and the signature of a plugin beside it, which the keys in the file are asked about.
pub fn lock(bytes: &[u8]) {
    let _ = signed(bytes);
}

/// Whether a plugin is signed as a lock file demands; nothing when that cannot be read.
pub fn signed(bytes: &[u8]) -> Option<Result<(), LockError>> {
    let [file, signature] = files(bytes);
    let mut answer = None;
    folder(|folder| {
        let path = write(folder, "incubate.lock", file);
        let plugin = write(folder, "plugin.wasm", b"component");
        write(folder, "plugin.wasm.minisig", signature);
        let project = incubate::lock::Project::open(&path, Some(folder), Access::default());
        if let Ok(mut project) = project {
            let plugin = plugin.display().to_string();
            answer =
                Some(HOST.with_borrow_mut(|host| project.supply(host, &plugin, true).map(drop)));
        }
    });
    answer
}

/// Weights from elsewhere: safetensors, and PyTorch's two forms.
pub fn checkpoint_file(bytes: &[u8]) {
    let _ = metadata_of(bytes);
    let _ = Tensors::from_safetensors(bytes);
    folder(|folder| {
        let path = write(folder, "weights", bytes);
        let Ok(found) = checkpoint::read(&path) else {
            return;
        };
        for name in found.names() {
            let Ok(values) = found.values(name) else {
                continue;
            };
            // No type of a value has less than two bytes.
            assert!(values.values.len() * 2 <= bytes.len());
            assert_eq!(values.shape.iter().product::<usize>(), values.values.len());
        }
        let _ = found.sha256().unwrap();
    });
}

/// A trained unit as registries hand it out, and the same artefact where a component is expected.
pub fn artefact(bytes: &[u8]) {
    let artefact = unit_artefact(bytes);
    assert!(component_of(artefact.clone()).is_err());
    if let Ok(parcel) = unit_of("a registry", artefact) {
        let _ = check_weights(&parcel);
    }
}

/// The artefact of `unit.json`, `experiment.toml`, `run.json`, `result.json`, and weights.
pub fn unit_artefact(bytes: &[u8]) -> Artefact {
    let [description, experiment, record, result, weights] = files(bytes);
    let record = with(record, &["experiment_sha256"], sha256(experiment));
    let result = with(result, &["weights_sha256"], sha256(weights));
    let contents = [
        ("experiment.toml", experiment),
        ("run.json", &record),
        ("result.json", &result),
        ("weights.safetensors", weights),
    ];
    let mut description = description.to_vec();
    for (name, bytes) in contents {
        description = with(&description, &["files", name], sha256(bytes));
    }
    Artefact {
        config: Blob {
            media_type: PARCEL_TYPE.to_owned(),
            bytes: description,
        },
        layers: contents
            .iter()
            .map(|(name, bytes)| Layer {
                media_type: "application/wasm".to_owned(),
                title: Some((*name).to_owned()),
                bytes: bytes.to_vec(),
            })
            .collect(),
        annotations: BTreeMap::new(),
    }
}

/// The files of a run folder: `run.json`, `experiment.toml`, `result.json`, `events.jsonl`, the
/// `state.json` of a checkpoint, a lease, and the tensors of the checkpoint.
pub fn run_folder(bytes: &[u8]) {
    let [record, experiment, result, events, state, lease, tensors] = files(bytes);
    let record = with(record, &["experiment_sha256"], sha256(experiment));
    let mut state = state.to_vec();
    for name in CHECKPOINT_FILES {
        let place = ["manifest", "files", name];
        state = with(&state, &[&place[..], &["sha256"]].concat(), sha256(tensors));
        state = with(&state, &[&place[..], &["bytes"]].concat(), tensors.len());
    }
    let state = state.as_slice();
    let manifest = serde_json::from_slice::<Value>(state)
        .ok()
        .and_then(|state| state.get("manifest").map(Value::to_string))
        .unwrap_or_default();
    let state = with(state, &["sha256"], sha256(manifest.as_bytes()));
    folder(|folder| {
        write(folder, "run.json", &record);
        write(folder, "experiment.toml", experiment);
        write(folder, "units/baseline/result.json", result);
        write(folder, "units/meta/events.jsonl", events);
        write(
            folder,
            "units/meta/checkpoints/0000000004/state.json",
            &state,
        );
        let _ = Overview::of(folder);
        // An overview would watch a lease of another machine for seconds.
        write(folder, "units/meta/lease.json", lease);
        for name in CHECKPOINT_FILES {
            write(
                folder,
                &format!("units/meta/checkpoints/0000000004/{name}"),
                tensors,
            );
        }
        let Ok(Some((run, _, record))) = RunFolder::open(folder) else {
            return;
        };
        for unit in Unit::all(record.division.len().min(4)) {
            let _ = run.result(unit);
            let _ = run.weights(unit, "a test");
            if let Some(lease) = run.lease_of(unit) {
                let holder = lease.holder;
                assert!(!(holder.is_gone() && holder.is_awake()), "{holder}");
            }
            let Ok(found) = run.take_up(unit) else {
                continue;
            };
            let Some(stored) = found.newest else { continue };
            for bytes in stored.files.values() {
                let _ = Tensors::from_safetensors(bytes);
            }
            // The log is cut to what the checkpoint knows, or to its last whole line.
            let wanted = stored.state.events_bytes;
            let (log, missing) = run.event_writer_from(unit, wanted).unwrap();
            drop(log);
            assert_eq!(run.events_bytes(unit).unwrap() + missing, wanted);
        }
    });
}

/// The files of a checkpoint besides its manifest.
const CHECKPOINT_FILES: [&str; 3] = [NETWORK_FILE, OPTIMIZER_FILE, AVERAGE_FILE];

/// Recorded calls; those that ask for no more than usual are made again.
pub fn recording(bytes: &[u8]) {
    folder(|folder| {
        let path = write(folder, "calls.jsonl", bytes);
        let Ok(recordings) = Recordings::open(&path) else {
            return;
        };
        for recording in recordings.take(3) {
            let Ok(recording) = recording else { break };
            if recording.limits == Limits::default() {
                HOST.with_borrow(|host| {
                    let _ = recording.replay(host, None);
                });
            }
        }
    });
}

/// The four files of a data set: training pictures and labels, validation pictures and labels.
pub fn idx(bytes: &[u8]) {
    let files: [&[u8]; 4] = files(bytes);
    let names = [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ];
    folder(|folder| {
        for (name, bytes) in names.iter().zip(files) {
            let packed = bytes.starts_with(&[0x1f, 0x8b]);
            write(
                folder,
                &format!("{name}{}", if packed { ".gz" } else { "" }),
                bytes,
            );
        }
        let config = config("idx", folder);
        if let Ok(found) = incubate::data::open(&config) {
            assert_eq!(found.train.picture(0).unwrap().channels, 1);
        }
    });
}

/// A picture in a folder of pictures.
pub fn picture(bytes: &[u8]) {
    folder(|folder| {
        write(folder, "train/a/picture.png", bytes);
        write(folder, "val/a/picture.png", bytes);
        let found = incubate::data::open(&config("folder", folder)).unwrap();
        if let Ok(picture) = found.train.picture(0) {
            assert_eq!(
                picture.pixels.len(),
                picture.width * picture.height * picture.channels
            );
        }
    });
}

fn config(set: &str, path: &Path) -> DataConfig {
    toml::from_str(&format!(
        "set = \"{set}\"\npath = \"{}\"\nthreads = 1",
        path.display()
    ))
    .unwrap()
}

/// The files of a plugin's source: `plugin.toml`, and the record of what was built.
pub fn project(bytes: &[u8]) {
    let [manifest, built] = files(bytes);
    folder(|folder| {
        write(folder, "plugin.toml", manifest);
        write(folder, "dist/manifest.toml", built);
        if let Ok(project) = Project::open(folder) {
            let component = project.component_path();
            assert_eq!(component.parent(), Some(&*project.folder.join("dist")));
        }
        let _ = Manifest::load(folder);
    });
}

/// Names of plugins, of places in registries, and keys.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(Reference::Registry(place)) = text.parse::<Reference>() {
        let again: RegistryReference = place.repository.to_string().parse().unwrap();
        assert_eq!(again.repository, place.repository);
    }
    let _ = UnitPlace::parse(text);
    let _ = Trust::new(text, None);
}

thread_local! {
    static HOST: RefCell<PluginHost> = RefCell::new(PluginHost::new(None).unwrap());
}

/// A component.
pub fn component(bytes: &[u8]) {
    HOST.with_borrow_mut(|host| {
        let origin = Origin::Url("https://host.org/guest.wasm".to_owned());
        host.provide("https://host.org/guest.wasm", origin, bytes.to_vec());
        if let Ok(found) = host.inspect("https://host.org/guest.wasm") {
            assert!(!found.description.name.contains(['/', '\\', '.']));
        }
    });
}
