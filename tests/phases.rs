//! How phases begin and end: starts, other weights, other sizes, and what a phase has for its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{TINY, incubate, tiny_with};
use crate::registry::sha256;

fn result(run: &Path, unit: &str) -> Value {
    let file = run.join("units").join(unit).join("result.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn weights_path(run: &Path, unit: &str) -> String {
    let file = run.join("units").join(unit).join("weights.safetensors");
    file.to_str().unwrap().to_owned()
}

/// Shape and bytes of every tensor.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

/// The tensors of a unit, and the metadata of its file.
fn weights(run: &Path, unit: &str) -> (Tensors, Value) {
    let bytes = fs::read(weights_path(run, unit)).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = serde_json::to_value(header.metadata().clone().unwrap()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file
        .iter()
        .map(|(name, view)| {
            (
                name.to_owned(),
                (view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    (tensors, metadata)
}

/// The names in which two units' tensors differ.
fn different(left: &Path, left_unit: &str, right: &Path, right_unit: &str) -> Vec<String> {
    let (left, _) = weights(left, left_unit);
    let (right, _) = weights(right, right_unit);
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        right.keys().collect::<Vec<_>>()
    );
    let names = left
        .into_iter()
        .filter(|(name, tensor)| right[name] != *tensor);
    names.map(|(name, _)| name).collect()
}

/// The plan of the tiny experiment, by unit.
fn plan(more: &[&str]) -> BTreeMap<String, Value> {
    let mut arguments = vec!["plan", "digits", "--device", "cpu", "--json"];
    for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]).chain(more) {
        arguments.extend(["--set", assignment]);
    }
    let answer = incubate(&arguments).succeeded();
    let units = answer.json_lines()[0]["plan"]["units"].clone();
    let units = units.as_array().unwrap().iter();
    units
        .map(|unit| (unit["unit"].as_str().unwrap().to_owned(), unit.clone()))
        .collect()
}

/// The units of a run that are finished.
fn finished(run: &Path) -> Vec<String> {
    let mut units: Vec<String> = fs::read_dir(run.join("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    units.sort();
    units
}

/// Settings under which a module is trained for an epoch and does not change.
const STILL: [&str; 3] = [
    "module.rate=0",
    "module.schedule.plugin=constant",
    "meta.rate=0.01",
];

#[test]
fn a_module_starts_as_the_experiment_says() {
    let folder = tempdir().unwrap();
    let loss = |start: &str, unit: &str| {
        let run = folder.path().join(start);
        let start = format!("module.start={start}");
        let settings = [&STILL[..], &[&start]].concat();
        if !run.exists() {
            let units = ["--unit", "meta", "--unit", "module.0", "--unit", "module.1"];
            tiny_with(&run, &settings, &units).succeeded();
        }
        assert_eq!(
            result(&run, "module.1")["built_from"]["meta"],
            result(&run, "meta")["weights_sha256"]
        );
        let recorded = fs::read_to_string(run.join("experiment.toml")).unwrap();
        assert!(recorded.contains(&start.replace("module.start=", "start = \"")));
        result(&run, unit)["loss"].as_f64().unwrap()
    };
    let meta = loss("random", "meta");
    for module in ["module.0", "module.1"] {
        let grown = loss("grown", module);
        assert!((grown - meta).abs() < 1e-6, "{module}: {grown} and {meta}");
        let (random, copies) = (loss("random", module), loss("copies", module));
        assert!((random - meta).abs() > 1e-4, "{module}: {random}");
        assert!((copies - meta).abs() > 1e-4, "{module}: {copies}");
        assert!((copies - random).abs() > 1e-4, "{module}: {copies}");
    }
}

#[test]
fn a_start_that_a_phase_cannot_have_is_refused() {
    let folder = tempdir().unwrap();
    for (setting, phrases) in [
        (
            "meta.start=copies",
            ["`meta.start`", "`copies`", "`random`"],
        ),
        (
            "fine-tune.start=grown",
            ["`fine-tune.start`", "`grown`", "`assembled`"],
        ),
        (
            "module.start=assembled",
            ["`module.start`", "`random`", "`grown`"],
        ),
    ] {
        tiny_with(&folder.path().join("run"), &[setting], &[]).failed(2, &phrases);
    }
}

#[test]
fn some_modules_can_stay_meta() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        "assembly.meta=[1]",
        "fine-tune.rate=0",
        "fine-tune.schedule.plugin=constant",
    ];
    let answer = tiny_with(&run, &settings, &[]).succeeded();
    assert!(
        answer.stdout.contains("assembled: 2 1"),
        "{}",
        answer.stdout
    );
    assert!(
        answer.stdout.contains("incubation, in parallel"),
        "{}",
        answer.stdout
    );
    assert_eq!(
        finished(&run),
        ["assemble", "baseline", "fine-tune", "meta", "module.0"]
    );
    let assembled = result(&run, "assemble");
    assert_eq!(
        assembled["built_from"]["meta"],
        result(&run, "meta")["weights_sha256"]
    );
    assert_eq!(
        assembled["built_from"]["module.0"],
        result(&run, "module.0")["weights_sha256"]
    );
    let (tensors, metadata) = weights(&run, "assemble");
    assert_eq!(metadata["incubate.depths"], "[2,1]");
    let (meta, _) = weights(&run, "meta");
    let (module, _) = weights(&run, "module.0");
    for (name, tensor) in &tensors {
        let from = match name.strip_prefix("stages.0.") {
            Some(local) => &module[local],
            None => &meta[name],
        };
        assert!(tensor == from, "{name}");
    }
    // What is counted follows: the hybrid around module 0 is the assembled network.
    let planned = plan(&settings);
    assert!(!planned.contains_key("module.1"));
    assert_eq!(planned["fine-tune"]["depths"], serde_json::json!([2, 1]));
    assert_eq!(planned["baseline"]["depths"], serde_json::json!([2, 2]));
    for (unit, planned) in &planned {
        assert_eq!(
            planned["parameters"],
            result(&run, unit)["parameters"],
            "{unit}"
        );
    }
    assert_eq!(
        assembled["parameters"],
        result(&run, "module.0")["parameters"]
    );
    assert_eq!(
        assembled["parameters"],
        result(&run, "fine-tune")["parameters"]
    );
    assert!(different(&run, "assemble", &run, "fine-tune").is_empty());
    let scored = incubate(&[
        "eval",
        run.to_str().unwrap(),
        "--unit",
        "fine-tune",
        "--json",
    ]);
    let scored = &scored.succeeded().json_lines()[0];
    assert_eq!(scored["loss"], result(&run, "fine-tune")["loss"]);
    // The module that stays can be incubated all the same, when it is asked for.
    tiny_with(&run, &settings, &["--unit", "module.1"]).succeeded();

    let other = folder.path().join("other");
    tiny_with(&other, &["assembly.meta=[2]"], &[]).failed(2, &["`assembly.meta`", "0 to 1"]);
    tiny_with(&other, &["assembly.metas=[1]"], &[]).failed(2, &["assembly.metas", "`meta`"]);
}

#[test]
fn fine_tuning_takes_pictures_of_its_own_size() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        "data.resize=true",
        "fine-tune.image_size=16",
        "fine-tune.rate=0",
        "fine-tune.schedule.plugin=constant",
    ];
    let answer = tiny_with(&run, &settings, &[]).succeeded();
    let says = "the position embedding for pictures of 8 pixels is interpolated for 16 pixels";
    assert!(answer.stderr.contains(says), "{}", answer.stderr);
    let (assembled, small) = weights(&run, "assemble");
    let (tuned, large) = weights(&run, "fine-tune");
    let size = |metadata: &Value| -> Value {
        let model: Value =
            serde_json::from_str(metadata["incubate.model"].as_str().unwrap()).unwrap();
        model["image_size"].clone()
    };
    assert_eq!((size(&small), size(&large)), (8.into(), 16.into()));
    let patch = assembled["stages.0.patch_embed.proj.weight"].0[2];
    let tokens = |side: usize| vec![1, 1 + (side / patch).pow(2), 16];
    assert_eq!(assembled["stages.0.pos_embed"].0, tokens(8));
    assert_eq!(tuned["stages.0.pos_embed"].0, tokens(16));
    assert_eq!(
        different(&run, "assemble", &run, "fine-tune"),
        ["stages.0.pos_embed"]
    );
    // Score, plan, and exchange are those of the larger network.
    let scored = incubate(&[
        "eval",
        run.to_str().unwrap(),
        "--unit",
        "fine-tune",
        "--json",
    ]);
    let scored = &scored.succeeded().json_lines()[0];
    assert_eq!(scored["loss"], result(&run, "fine-tune")["loss"]);
    let planned = plan(&settings);
    let macs = |unit: &str| planned[unit]["forward_macs"].as_u64().unwrap();
    assert!(macs("fine-tune") > 3 * macs("baseline"));
    assert_eq!(
        planned["fine-tune"]["parameters"],
        result(&run, "fine-tune")["parameters"]
    );
    assert_eq!(
        planned["fine-tune"]["total_macs"].as_u64().unwrap(),
        ["forward_macs", "backward_macs"]
            .map(|key| result(&run, "fine-tune")[key].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    );
    let parcel = folder.path().join("parcel");
    let parcel = parcel.to_str().unwrap();
    incubate(&["unit", "push", run.to_str().unwrap(), "fine-tune", parcel]).succeeded();
    let out = folder.path().join("other");
    incubate(&["unit", "pull", parcel, "--out", out.to_str().unwrap()]).succeeded();

    let refused = folder.path().join("refused");
    for (setting, phrases) in [
        ("fine-tune.image_size=16", ["8", "16"]),
        (
            "module.image_size=16",
            ["`module.image_size`", "`model.image_size`"],
        ),
        ("fine-tune.image_size=15", ["15", "multiple"]),
    ] {
        let answer = tiny_with(&refused, &[setting], &[]);
        assert!([2, 3].contains(&answer.status), "{answer:?}");
        answer.failed(answer.status, &phrases);
    }
}

/// A data set of 3 classes with grey pictures of 8 x 8 pixels.
fn three_classes(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (part, count) in [("train", 60_u32), ("t10k", 30)] {
        let mut images = 0x0803_u32.to_be_bytes().to_vec();
        let mut labels = 0x0801_u32.to_be_bytes().to_vec();
        images.extend([count, 8, 8].into_iter().flat_map(u32::to_be_bytes));
        labels.extend(count.to_be_bytes());
        for picture in 0..count {
            labels.push((picture % 3) as u8);
            images.extend((0..64).map(|pixel| (pixel * (picture % 3 + 1) * 5 + picture) as u8));
        }
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn a_trained_network_goes_on_with_other_classes() {
    let folder = tempdir().unwrap();
    let source = folder.path().join("source");
    tiny_with(&source, &[], &["--unit", "baseline"]).succeeded();
    let file = weights_path(&source, "baseline");
    let data = folder.path().join("three");
    three_classes(&data);
    let path = format!("data.path={}", data.display());
    let settings = [
        "data.set=idx",
        &path,
        "data.train_limit=60",
        "data.validation_limit=30",
        "training.batch=20",
        "fine-tune.rate=0",
        "fine-tune.schedule.plugin=constant",
        &format!("fine-tune.start={file}"),
        &format!("baseline.start={file}"),
        "baseline.epochs=1",
    ];
    let run = folder.path().join("transfer");
    // Neither meta model nor modules are part of this run, and any unit runs alone.
    let answer = tiny_with(&run, &settings, &["--unit", "fine-tune"]).succeeded();
    assert!(answer.stderr.contains(&file), "{}", answer.stderr);
    let says =
        "the classifier begins with random weights: it has 3 classes here, and 10 in the file";
    assert!(answer.stderr.contains(says), "{}", answer.stderr);
    assert_eq!(finished(&run), ["fine-tune"]);
    tiny_with(&run, &settings, &[]).succeeded();
    assert_eq!(finished(&run), ["baseline", "fine-tune"]);
    assert_eq!(
        result(&run, "fine-tune")["built_from"]["start"],
        sha256(&fs::read(&file).unwrap())
    );
    assert_eq!(
        different(&source, "baseline", &run, "fine-tune"),
        ["stages.1.head.bias", "stages.1.head.weight"]
    );
    let (tuned, _) = weights(&run, "fine-tune");
    assert_eq!(tuned["stages.1.head.weight"].0, [3, 16]);
    assert!(
        tuned["stages.1.head.weight"]
            .1
            .iter()
            .any(|byte| *byte != 0)
    );
    assert!(different(&source, "baseline", &run, "baseline").len() > 2);

    // Anything else that differs is refused by name before anything is trained.
    let refused = folder.path().join("refused");
    let answer = tiny_with(
        &refused,
        &[
            &format!("meta.start={file}"),
            "model.width=32",
            "model.depth=6",
        ],
        &["--unit", "meta"],
    );
    let phrases = [
        "`meta.start`",
        &file,
        "depth 4 in the file and 2 here",
        "width 16 in the file and 32 here",
    ];
    answer.failed(2, &phrases);
    assert!(!refused.exists());
    let start = ["fine-tune.start=nowhere.pth"];
    tiny_with(&refused, &start, &[]).failed(2, &["`fine-tune.start`", "nowhere.pth"]);
}

#[test]
fn a_meta_model_can_be_one_of_before_and_of_other_pictures() {
    let folder = tempdir().unwrap();
    let source = folder.path().join("source");
    tiny_with(&source, &[], &["--unit", "meta"]).succeeded();
    let start = format!("meta.start={}", weights_path(&source, "meta"));
    let run = folder.path().join("as-it-is");
    let units = ["--unit", "meta", "--unit", "module.0"];
    tiny_with(&run, &[&start, "meta.epochs=0"], &units).succeeded();
    assert!(different(&source, "meta", &run, "meta").is_empty());
    assert_eq!(
        result(&run, "meta")["loss"],
        result(&source, "meta")["loss"]
    );
    assert_eq!(result(&run, "meta")["updates"], 0);

    let run = folder.path().join("larger");
    let settings = [
        &start,
        "meta.epochs=0",
        "data.resize=true",
        "model.image_size=16",
    ];
    let answer = tiny_with(&run, &settings, &["--unit", "meta"]).succeeded();
    assert!(
        answer.stderr.contains("is interpolated for 16 pixels"),
        "{}",
        answer.stderr
    );
    assert_eq!(
        different(&source, "meta", &run, "meta"),
        ["stages.0.pos_embed"]
    );

    let none = folder.path().join("none");
    tiny_with(&none, &["meta.epochs=0"], &[]).failed(2, &["`meta.epochs`", "file"]);
}

#[test]
fn meta_modules_have_the_depths_that_are_listed() {
    let folder = tempdir().unwrap();
    let settings = |plugin: &str| {
        let mut settings = vec![
            "model.depth=7".to_owned(),
            "partition.modules=3".to_owned(),
            "module.start=grown".to_owned(),
            format!("partition.plugin={plugin}"),
            "partition.parameters.meta_depths=[1, 2, 1]".to_owned(),
        ];
        settings.extend(STILL.map(ToOwned::to_owned));
        if plugin == "explicit" {
            settings.push("partition.parameters.depths=[2, 3, 2]".to_owned());
        }
        settings
    };
    let run = folder.path().join("run");
    let explicit = settings("explicit");
    let explicit: Vec<&str> = explicit.iter().map(String::as_str).collect();
    let answer = tiny_with(&run, &explicit, &[]).succeeded();
    for title in [
        "hybrid 0: [2] 2 1",
        "hybrid 1: 1 [3] 1",
        "hybrid 2: 1 2 [2]",
    ] {
        assert!(answer.stdout.contains(title), "{}", answer.stdout);
    }
    let meta = result(&run, "meta")["loss"].as_f64().unwrap();
    for module in 0..3 {
        let grown = result(&run, &format!("module.{module}"))["loss"]
            .as_f64()
            .unwrap();
        assert!(
            (grown - meta).abs() < 1e-6,
            "module {module}: {grown} and {meta}"
        );
    }
    // Put together, grown modules that have not learned yet are the meta model as well.
    let assembled = result(&run, "assemble")["loss"].as_f64().unwrap();
    assert!((assembled - meta).abs() < 1e-6, "{assembled} and {meta}");
    for plugin in ["uniform", "balanced"] {
        let other = settings(plugin);
        let other: Vec<&str> = other.iter().map(String::as_str).collect();
        let depths = plan(&other)["meta"]["depths"].clone();
        assert_eq!(depths, serde_json::json!([1, 2, 1]), "{plugin}");
        let listed = "partition.parameters.meta_depths=[1, 2]";
        let wrong: Vec<&str> = other
            .iter()
            .map(|one| {
                if one.contains("meta_depths") {
                    listed
                } else {
                    one
                }
            })
            .collect();
        tiny_with(&folder.path().join(plugin), &wrong, &[])
            .failed(10, &["`meta_depths` has 2 entries", "3 modules"]);
    }
}

#[test]
fn every_phase_has_its_own_recipe() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let phases = [
        ("meta", "2", "50", "constant", "0.1"),
        ("module", "1", "40", "step", "0.2"),
        ("fine-tune", "3", "25", "cosine", "0.3"),
        ("baseline", "4", "20", "constant", "0.4"),
    ];
    let mut settings = Vec::new();
    for (index, (phase, epochs, batch, schedule, smoothing)) in phases.iter().enumerate() {
        settings.push(format!("{phase}.epochs={epochs}"));
        settings.push(format!("{phase}.batch={batch}"));
        settings.push(format!("{phase}.schedule.plugin={schedule}"));
        settings.push(format!("{phase}.loss.parameters.smoothing={smoothing}"));
        settings.push(format!("{phase}.augmentation.flip={}", index % 2 == 0));
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    tiny_with(&run, &settings, &[]).succeeded();
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let text = fs::read_to_string(run.join("experiment.toml")).unwrap();
    let experiment: Value = toml::from_str(&text).unwrap();
    for (index, (phase, epochs, batch, schedule, smoothing)) in phases.into_iter().enumerate() {
        let unit = if phase == "module" { "module.1" } else { phase };
        let (epochs, batch): (u64, u64) = (epochs.parse().unwrap(), batch.parse().unwrap());
        let trained = result(&run, unit);
        assert_eq!(trained["epochs"], epochs, "{unit}");
        assert_eq!(trained["updates"], epochs * (200 / batch), "{unit}");
        assert_eq!(
            record["plugins"][format!("{phase}.schedule")]["name"],
            schedule
        );
        let settings = &experiment[phase];
        let own: f64 = smoothing.parse().unwrap();
        assert_eq!(settings["loss"]["parameters"]["smoothing"], own, "{phase}");
        let flip = if index % 2 == 0 { 0.5 } else { 0.0 };
        assert_eq!(settings["augmentation"]["flip"], flip, "{phase}");
    }
    let refused = folder.path().join("refused");
    for (setting, phrases) in [
        ("fine-tune.epoch=3", ["`fine-tune.epoch`", "`epochs`"]),
        ("module.statr=copies", ["`module.statr`", "`start`"]),
        (
            "meta.augmentation.flop=true",
            ["`meta.augmentation.flop`", "`flip`"],
        ),
        (
            "baseline.image_sise=8",
            ["`baseline.image_sise`", "`image_size`"],
        ),
    ] {
        tiny_with(&refused, &[setting], &[]).failed(2, &phrases);
    }
}
