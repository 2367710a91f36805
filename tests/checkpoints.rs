//! `incubate import`, `export`, and `inspect` as a person uses them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{Answer, TINY, incubate, tiny, tiny_with};

/// `import` into a run of the tiny experiment.
fn import(file: &Path, out: &Path, unit: &str, more: &[&str]) -> Answer {
    let [file, out] = [file, out].map(|path| path.to_str().unwrap());
    let mut all = vec![
        "import", file, "--out", out, "--unit", unit, "--device", "cpu",
    ];
    if !Path::new(out).join("run.json").exists() {
        all.push("digits");
        for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]) {
            all.extend(["--set", assignment]);
        }
    }
    all.extend(more);
    incubate(&all)
}

fn export(run: &Path, unit: &str, out: &Path, more: &[&str]) -> Answer {
    let [run, out] = [run, out].map(|path| path.to_str().unwrap());
    let mut all = vec!["export", run, "--unit", unit, "--out", out];
    all.extend(more);
    incubate(&all)
}

fn go_on(run: &Path, units: &[&str]) -> Answer {
    let mut all = vec!["run", "--device", "cpu", "--out", run.to_str().unwrap()];
    for unit in units {
        all.extend(["--unit", unit]);
    }
    incubate(&all)
}

fn result(run: &Path, unit: &str) -> Value {
    let file = run.join("units").join(unit).join("result.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The values of a unit's weights, without what the header says about where they come from.
fn values(run: &Path, unit: &str) -> Vec<u8> {
    let file = run.join("units").join(unit).join("weights.safetensors");
    let bytes = fs::read(file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

fn parity(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(name)
}

#[test]
fn what_was_exported_can_be_imported_and_trained_on() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny(&at("a"), &["baseline.epochs=1"]).succeeded();
    for unit in ["meta", "module.0", "module.1", "fine-tune"] {
        let file = at(&format!("{unit}.safetensors"));
        let said = export(&at("a"), unit, &file, &[]).succeeded().stdout;
        assert!(said.contains("VisionTransformer("), "{said}");
        assert!(said.contains("load_state_dict(load_file("), "{said}");
        // A file that is there is not written over.
        export(&at("a"), unit, &file, &[]).failed(4, &["it is there already"]);
    }

    let b = at("b");
    let outcome = import(&at("meta.safetensors"), &b, "meta", &["--json"]).succeeded();
    let [outcome] = outcome.json_lines().try_into().unwrap();
    assert_eq!(outcome["believed"], serde_json::json!([]));
    let (before, after) = (result(&at("a"), "meta"), result(&b, "meta"));
    for key in ["accuracy", "loss", "parameters"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(after["epochs"], 0);
    assert!(
        after["imported"]["file"]
            .as_str()
            .unwrap()
            .ends_with("meta.safetensors")
    );
    assert_eq!(values(&b, "meta"), values(&at("a"), "meta"));
    import(&at("meta.safetensors"), &b, "meta", &[]).failed(4, &["is finished in", "already"]);

    // A module trained inside the imported meta model is the module of the first run.
    go_on(&b, &["module.0"]).succeeded();
    assert_eq!(values(&b, "module.0"), values(&at("a"), "module.0"));

    // A hybrid shows the meta model that its module was incubated in.
    import(&at("module.1.safetensors"), &b, "module.1", &[]).succeeded();
    assert_eq!(values(&b, "module.1"), values(&at("a"), "module.1"));
    assert_eq!(
        result(&b, "module.1")["built_from"]["meta"],
        after["weights_sha256"]
    );
    let table = go_on(&b, &["assemble", "fine-tune"]).succeeded().stdout;
    assert_eq!(values(&b, "fine-tune"), values(&at("a"), "fine-tune"));
    assert!(table.contains("meta model (imported)"), "{table}");
    assert!(!table.contains("incubation, in sequence"), "{table}");
}

#[test]
fn a_module_of_another_meta_model_is_not_imported() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny_with(&at("a"), &[], &["--unit", "meta", "--unit", "module.0"]).succeeded();
    tiny_with(&at("b"), &["seed=5"], &["--unit", "meta"]).succeeded();
    export(&at("a"), "module.0", &at("hybrid.safetensors"), &[]).succeeded();
    import(&at("hybrid.safetensors"), &at("b"), "module.0", &[]).failed(
        4,
        &["stage 1 of the file, which was frozen while module 0 was incubated, is of another meta model"],
    );
    // The file of the unit itself names its meta model.
    let unit = at("a/units/module.0/weights.safetensors");
    import(&unit, &at("b"), "module.0", &[]).failed(
        4,
        &["the file says that it was incubated in the meta model with sha256"],
    );
    assert!(!at("b/units/module.0/result.json").exists());
    // A meta model must be the one of the modules that are there.
    fs::remove_dir_all(at("a/units/meta")).unwrap();
    import(
        &at("b/units/meta/weights.safetensors"),
        &at("a"),
        "meta",
        &[],
    )
    .failed(4, &["unit `module.0` was incubated in the meta model"]);
    // A module alone is believed, with a warning.
    let hybrid = read_hybrid(&at("b"), &at("target.safetensors"));
    let said = import(&hybrid, &at("b"), "module.1", &["--no-eval"]).succeeded();
    assert!(
        said.stderr
            .contains("does not say in which meta model module 1"),
        "{}",
        said.stderr
    );
    assert!(
        said.stdout.contains("validation accuracy -, loss -"),
        "{}",
        said.stdout
    );
    assert_eq!(result(&at("b"), "module.1")["accuracy"], Value::Null);
    let table = go_on(&at("b"), &["meta"]).succeeded().stdout;
    assert!(table.contains("hybrid 1: 1 [2] (imported)"), "{table}");
}

/// A whole target network of the tiny experiment, with nothing that says where it comes from.
fn read_hybrid(run: &Path, file: &Path) -> PathBuf {
    go_on(run, &["baseline"]).succeeded();
    export(run, "baseline", file, &[]).succeeded();
    file.to_path_buf()
}

#[test]
fn what_does_not_fit_the_experiment_is_refused_before_anything_is_written() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let meta = parity("meta_checkpoint.pth");
    import(&meta, &at("run"), "meta", &[])
        .failed(2, &["meta_checkpoint.pth", "[1, 1, 1] by stage"]);
    import(&meta, &at("run"), "module.7", &[]).failed(2, &["there is no unit `module.7`"]);
    import(&at("nothing.pth"), &at("run"), "meta", &[]).failed(2, &["cannot read it"]);
    assert!(!at("run/units").exists());
    tiny_with(&at("run"), &[], &["--unit", "meta"]).succeeded();
    let file = at("meta.safetensors");
    export(&at("run"), "meta", &file, &["--layout", "stages"]).succeeded();
    import(&file, &at("run"), "module.0", &[])
        .failed(2, &["module 0 of this run has 2 blocks", "[1, 1]"]);
    let more = ["--set", "model.heads=4", "--set", "meta.epochs=3"];
    import(&file, &at("other"), "meta", &more).failed(2, &["has heads 2, and the experiment's 4"]);
    export(&at("run"), "fine-tune", &at("x.safetensors"), &[]).failed(4, &["needs `fine-tune`"]);
    export(&at("run"), "meta", &at("x.pth"), &[]).failed(2, &["must end in `.safetensors`"]);
    export(&at("none"), "meta", &at("x.safetensors"), &[]).failed(4, &["holds no run"]);
}

/// Pictures of the size that the reference implementation's recorded network takes.
fn pictures(folder: &Path) -> PathBuf {
    let pictures = folder.join("pictures");
    for part in ["train", "val"] {
        for class in 0..10 {
            let path = pictures.join(part).join(format!("class{class}"));
            fs::create_dir_all(&path).unwrap();
            for picture in 0..2 {
                let mut image = image::RgbImage::new(16, 16);
                image.put_pixel(class, picture, image::Rgb([255, 0, 9]));
                image.save(path.join(format!("{picture}.png"))).unwrap();
            }
        }
    }
    pictures
}

/// The tensors of one stage of a file, by stage-local name.
fn stage(bytes: &[u8], prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .filter_map(|(name, view)| {
            let local = name.strip_prefix(prefix)?;
            Some((local.to_owned(), view.data().to_vec()))
        })
        .collect()
}

#[test]
fn checkpoints_of_the_reference_implementation_go_on_here() {
    let folder = tempdir().unwrap();
    let path = format!("data.path={}", pictures(folder.path()).display());
    let run = folder.path().join("run");
    let file = folder.path().join("reference.toml");
    fs::write(
        &file,
        "name = \"reference\"\n[data]\nset = \"folder\"\n\
         [model]\nimage_size = 16\npatch_size = 4\nwidth = 24\nheads = 2\ndepth = 7\n\
         [partition]\nplugin = \"explicit\"\nmodules = 3\n\
         [partition.parameters]\ndepths = [2, 3, 2]\n[training]\nbatch = 10\n",
    )
    .unwrap();
    let import = |name: &str, unit: &str| {
        incubate(&[
            "import",
            parity(name).to_str().unwrap(),
            file.to_str().unwrap(),
            "--set",
            &path,
            "--device",
            "cpu",
            "--out",
            run.to_str().unwrap(),
            "--unit",
            unit,
        ])
    };
    let said = import("meta_checkpoint.pth", "meta").succeeded();
    assert!(
        said.stderr
            .contains("does not say how many attention heads"),
        "{}",
        said.stderr
    );
    for index in 0..3 {
        let unit = format!("module.{index}");
        // A hybrid of another module does not have these blocks.
        let other = format!("module_{}_checkpoint.pth", (index + 1) % 3);
        import(&other, &unit).failed(2, &[&format!("module {index} of this run has")]);
        import(&format!("module_{index}_checkpoint.pth"), &unit).succeeded();
        let ours = fs::read(run.join("units").join(&unit).join("weights.safetensors")).unwrap();
        let expected = fs::read(parity(&format!("module_{index}_after_5.safetensors"))).unwrap();
        assert_eq!(
            stage(&ours, ""),
            stage(&expected, &format!("stages.{index}.")),
            "{unit}"
        );
    }
    go_on(&run, &["assemble"]).succeeded();
    let assembled = fs::read(run.join("units/assemble/weights.safetensors")).unwrap();
    for index in 0..3 {
        let prefix = format!("stages.{index}.");
        let expected = fs::read(parity(&format!("module_{index}_after_5.safetensors"))).unwrap();
        assert_eq!(stage(&assembled, &prefix), stage(&expected, &prefix));
    }
}

#[test]
fn a_checkpoint_is_inspected_without_running_it() {
    let file = parity("module_0_checkpoint.pth");
    let shown = incubate(&["inspect", file.to_str().unwrap()])
        .succeeded()
        .stdout;
    for phrase in [
        "Vision Transformer, 30,802 parameters in 56 tensors of type F32",
        "torch (zip), weights under `model_stages`",
        "4 in stages of 2+1+1",
        "16 × 16, 3 channels, patches of 4 × 4",
        "model (take them with `--weights`)",
        "epoch (a number)",
        "not in the file",
    ] {
        assert!(shown.contains(phrase), "no `{phrase}` in: {shown}");
    }
    let [shown] = incubate(&[
        "inspect",
        file.to_str().unwrap(),
        "--weights",
        "model",
        "--json",
    ])
    .succeeded()
    .json_lines()
    .try_into()
    .unwrap();
    assert_eq!(shown["weights"], "model");
    assert_eq!(shown["dimensions"]["stages"], serde_json::json!([2, 1, 1]));
    assert_eq!(shown["parameters"], 30_802);
    assert_eq!(shown["heads"], Value::Null);
    assert_eq!(shown["tensors"].as_array().unwrap().len(), 56);
    incubate(&["inspect", file.to_str().unwrap(), "--weights", "ema"]).failed(
        2,
        &["has no weights under `ema` (there are: `model`, `model_stages`)"],
    );
}
