//! Bad input: one clear error, a documented exit status, and nothing lost.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::command::{incubate, tiny, tiny_with};

/// A component of the faulty corpus.
fn faulty(name: &str) -> String {
    format!("{}/tests/plugins/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_missing_experiment_names_the_built_in_ones() {
    incubate(&["run", "no-such.toml"]).failed(2, &["no-such.toml", "digits", "fashion-mnist"]);
}

#[test]
fn an_experiment_that_is_not_toml_says_where() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("broken.toml");
    fs::write(&file, "name = \"x\"\n[meta\nepochs = 3\n").unwrap();
    incubate(&["plan", file.to_str().unwrap()]).failed(2, &["broken.toml", "line 2"]);
}

#[test]
fn a_missing_key_is_named_with_how_to_give_it() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("short.toml");
    fs::write(&file, "[data]\nset = \"digits\"\n[model]\nwidth = 16\n").unwrap();
    incubate(&["plan", file.to_str().unwrap()]).failed(
        2,
        &["`model.patch_size` is missing", "--set model.patch_size="],
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let set = |assignment: &str| incubate(&["plan", "--set", assignment]);
    set("training.bach=3").failed(2, &["`training.bach`", "--set", "did you mean `batch`?"]);
    set("fine-tune.epoch=3").failed(2, &["`fine-tune.epoch`", "did you mean `epochs`?"]);
    set("dta.set=digits").failed(2, &["`dta", "did you mean `data`?"]);
    set("model.widht=3").failed(2, &["`model.widht`", "did you mean `width`?"]);
    set("loss.parameters.smothing=0.1").failed(10, &["smothing", "smoothing", "cross-entropy"]);
}

#[test]
fn a_value_of_the_wrong_type_or_range_names_the_key() {
    let set = |assignment: &str| incubate(&["plan", "--set", assignment]);
    set("meta.epochs=many").failed(2, &["meta.epochs", "a number of epochs"]);
    set("meta.epochs=0").failed(2, &["meta.epochs", "at least one epoch"]);
    set("meta.epochs=equal-compute").failed(2, &["meta.epochs", "only the baseline"]);
    set("training.rate=-1").failed(2, &["meta.rate", "-1"]);
    set("training.accumulation=7").failed(2, &["accumulation", "does not divide the batch of 64"]);
    set("training.batch=100000").failed(2, &["batch", "training pictures"]);
    set("model.heads=5").failed(2, &["width", "heads", "5"]);
    set("model.preset=vit-hug").failed(2, &["vit-hug", "did you mean `vit-huge`?"]);
    set("loss.parameters.smoothing=2.0").failed(10, &["smoothing", "2"]);
    set("nonsense").failed(2, &["nonsense", "key=value"]);
}

#[test]
fn a_name_leads_to_no_folder_elsewhere_and_moves_no_cursor() {
    let folder = tempdir().unwrap();
    let outside = folder.path().join("outside");
    for name in ["../../outside", outside.to_str().unwrap(), "", "a\u{1b}[2J"] {
        let name = format!("name={name}");
        let answer = incubate(&["run", "digits", "--device", "cpu", "--set", &name]);
        answer.failed(2, &["`name` is"]);
        assert!(!answer.stderr.contains('\u{1b}'), "{:?}", answer.stderr);
    }
    assert!(!outside.exists());
}

#[test]
fn a_schedule_that_does_not_fit_its_phase_is_refused_before_anything_is_trained() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        "fine-tune.schedule.plugin=wsd",
        "fine-tune.schedule.parameters.warmup=9up",
    ];
    let phrases = ["`fine-tune.schedule`", "wsd", "longer than the phase"];
    tiny(&run, &settings).failed(10, &phrases);
    assert!(!run.exists());
}

#[test]
fn more_modules_than_blocks_are_refused() {
    incubate(&["plan", "--set", "partition.modules=9"])
        .failed(2, &["partition.modules", "9", "8 blocks"]);
}

#[test]
fn missing_data_says_what_was_expected() {
    // A plan needs no pictures where the experiment says how many there are.
    let set = ["run", "fashion-mnist", "--set", "data.path=/no/such/folder"];
    incubate(&set).failed(3, &["/no/such/folder", "dataset-fashion-mnist"]);
}

#[test]
fn pictures_of_another_size_than_the_models_are_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny(&run, &["model.image_size=16"]).failed(3, &["8", "16", "resize"]);
    assert!(!run.exists());
}

#[test]
fn a_partition_that_breaks_a_rule_is_refused() {
    let plan = |fault: &str| {
        let plugin = format!("partition.plugin={}", faulty("faulty-partition"));
        let fault = format!("partition.parameters.fault={fault}");
        incubate(&["plan", "--device", "cpu", "--set", &plugin, "--set", &fault])
    };
    for (fault, phrases) in [
        ("does-not-sum", &["faulty-partition", "blocks"][..]),
        ("zero-depth", &["faulty-partition", "module"]),
        ("meta-too-deep", &["faulty-partition", "meta"]),
        ("wrong-count", &["faulty-partition", "modules"]),
        ("trap", &["faulty-partition", "panic"]),
    ] {
        plan(fault).failed(10, phrases);
    }
    incubate(&[
        "plan",
        "--set",
        "partition.plugin=explicit",
        "--set",
        "partition.parameters.depths=[3, 3]",
    ])
    .failed(10, &["explicit", "depths"]);
}

#[test]
fn a_schedule_that_answers_no_rate_stops_the_run_with_its_place() {
    let folder = tempdir().unwrap();
    for fault in ["nan", "negative", "infinite"] {
        let plugin = format!("schedule.plugin={}", faulty("faulty-schedule"));
        // A bare `nan` is a number in TOML.
        let assignment = format!("schedule.parameters.fault=\"{fault}\"");
        let answer = tiny(&folder.path().join(fault), &[&plugin, &assignment]);
        answer.failed(
            11,
            &["unit `meta`, epoch 0, update 0", "faulty-schedule", "rate"],
        );
    }
}

#[test]
fn a_loss_that_cannot_be_used_stops_the_run_with_its_place() {
    let folder = tempdir().unwrap();
    let run = |fault: &str| {
        let plugin = format!("loss.plugin={}", faulty("faulty-loss"));
        let assignment = format!("loss.parameters.fault={fault}");
        tiny(&folder.path().join(fault), &[&plugin, &assignment])
    };
    let place = "unit `meta`, epoch 0, update 0";
    run("not-scalar").failed(11, &[place, "faulty-loss", "[50, 10]"]);
    run("not-finite").failed(20, &[place, "faulty-loss", "rate"]);
    run("detached").failed(11, &[place, "faulty-loss", "gradient"]);
    run("trap").failed(11, &[place, "faulty-loss", "panic"]);
    run("endless-loop").failed(12, &[place, "faulty-loss", "limit"]);
    run("leaks-handles").failed(12, &[place, "faulty-loss", "handles"]);
}

#[test]
fn plugins_that_do_not_fit_are_refused_before_anything_runs() {
    let folder = tempdir().unwrap();
    let refused = |assignment: String, phrases: &[&str]| {
        let run = folder.path().join("run");
        tiny(&run, &[&assignment]).failed(10, phrases);
        assert!(!run.exists(), "the run folder was made all the same");
    };
    refused(
        "loss.plugin=cosine".into(),
        &["cosine", "learning-rate schedule", "loss hook"],
    );
    refused(
        "loss.plugin=cros-entropy".into(),
        &["cros-entropy", "cross-entropy"],
    );
    refused("loss.plugin=./no/such.wasm".into(), &["no/such.wasm"]);
    refused(
        format!("loss.plugin={}", faulty("faulty-next-contract")),
        &["0.2.0", "0.1.1"],
    );
    refused(
        format!("schedule.plugin={}", faulty("faulty-ungranted")),
        &["wasi:clocks/wall-clock"],
    );
    refused(
        format!("loss.plugin={}", faulty("faulty-read-back")),
        &["`[loss.grants]`", "read-back = \"why"],
    );
    let text = folder.path().join("text.wasm");
    fs::write(&text, "not wasm").unwrap();
    refused(
        format!("loss.plugin={}", text.display()),
        &["text.wasm", "component"],
    );
}

#[test]
fn a_folder_of_another_experiment_is_not_touched() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let other = tiny_with(&run, &["training.rate=5e-4"], &["--unit", "meta"]);
    other.failed(4, &["another experiment", "meta.rate", "0.0005", "--out"]);
    let strange = folder.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("thesis.txt"), "years of work").unwrap();
    tiny(&strange, &[]).failed(4, &["not a run folder", "--out"]);
    assert_eq!(fs::read_dir(&strange).unwrap().count(), 1);
}

#[test]
fn damaged_files_of_a_run_are_named() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let weights = run.join("units/meta/weights.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    tiny_with(&run, &[], &["--unit", "module.0"])
        .failed(4, &["weights.safetensors", "damaged", "sha256"]);
    fs::write(run.join("run.json"), "{").unwrap();
    tiny_with(&run, &[], &["--unit", "module.0"]).failed(4, &["run.json", "damaged"]);
}

#[test]
fn a_unit_whose_needs_are_open_says_which() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "module.1"]).failed(4, &["module.1", "`meta`", "--unit meta"]);
    tiny_with(&run, &[], &["--unit", "assemble"]).failed(4, &["assemble", "`module.0`"]);
    tiny_with(&run, &[], &["--unit", "module.7"]).failed(2, &["module.7", "fine-tune"]);
}

#[test]
fn modules_of_another_meta_model_are_not_assembled() {
    let folder = tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for (run, seed) in [(&one, "seed=1"), (&other, "seed=2")] {
        for unit in ["meta", "module.0", "module.1"] {
            tiny_with(run, &[seed], &["--unit", unit]).succeeded();
        }
    }
    for file in ["weights.safetensors", "result.json"] {
        let path = Path::new("units/module.1").join(file);
        fs::copy(other.join(&path), one.join(&path)).unwrap();
    }
    tiny_with(&one, &["seed=1"], &["--unit", "assemble"])
        .failed(4, &["module 1", "another meta model", "sha256"]);
}

#[test]
fn a_corrupt_picture_is_named() {
    let folder = tempdir().unwrap();
    for part in ["train", "val"] {
        for class in ["cat", "dog"] {
            let class = folder.path().join(part).join(class);
            fs::create_dir_all(&class).unwrap();
            for index in 0..4 {
                image::RgbImage::new(8, 8)
                    .save(class.join(format!("{index}.png")))
                    .unwrap();
            }
        }
    }
    fs::write(folder.path().join("train/dog/2.png"), "not a picture").unwrap();
    let path = format!("data.path={}", folder.path().display());
    let out = folder.path().join("run");
    let more = [
        "data.set=folder",
        &path,
        "data.train_limit=8",
        "model.image_size=8",
        "training.batch=4",
    ];
    tiny(&out, &more).failed(3, &["train/dog/2.png"]);
}

#[test]
fn a_device_that_is_not_there_says_what_to_do() {
    incubate(&["run", "--device", "tpu"]).failed(2, &["tpu", "cpu"]);
    if cfg!(not(feature = "wgpu")) {
        let folder = tempdir().unwrap();
        let out = folder.path().join("run");
        incubate(&["run", "--device", "wgpu", "--out", out.to_str().unwrap()])
            .failed(30, &["--features wgpu"]);
    }
}
