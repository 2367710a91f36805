//! Teachers and weighted sums, from an experiment to the record of its run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::command::{TINY, incubate, tiny, tiny_with};

/// An assignment of the terms of the modules' loss.
fn terms(list: &str) -> String {
    format!("module.loss.terms=[{list}]")
}

fn read(path: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn result(run: &Path, unit: &str) -> Value {
    read(run.join("units").join(unit).join("result.json"))
}

/// The events of a unit of this kind.
fn events(run: &Path, unit: &str, kind: &str) -> Vec<Value> {
    let file = run.join("units").join(unit).join("events.jsonl");
    let lines = fs::read_to_string(file).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == kind)
        .collect()
}

/// Trains meta model and modules.
fn modules(run: &Path, set: &[&str]) {
    for unit in ["meta", "module.0", "module.1"] {
        tiny_with(run, set, &["--unit", unit]).succeeded();
    }
}

#[test]
fn a_hook_that_asks_a_teacher_is_refused_without_one() {
    let here = tempdir().unwrap();
    let run = here.path().join("run");
    tiny(&run, &["module.loss.plugin=distillation"]).failed(
        10,
        &[
            "`module.loss`",
            "imports `incubate:plugin/teacher`, and phase `module` has no teacher",
            "`[module] teacher = \"meta\"`",
        ],
    );
    let list = "{ plugin = \"cross-entropy\" }, { plugin = \"distillation\" }";
    tiny(&run, &[&terms(list)]).failed(10, &["`module.loss.1`", "has no teacher"]);
    tiny(&run, &["loss.plugin=imitation", "training.teacher=meta"])
        .failed(2, &["`meta.teacher`", "cannot teach itself"]);
    tiny(
        &run,
        &["module.loss.on_failure={ fallback = \"distillation\" }"],
    )
    .failed(10, &["`module.loss.on_failure`", "asks a teacher"]);
    // Where features of the meta model are, and nowhere else.
    tiny(
        &run,
        &["fine-tune.loss.plugin=imitation", "fine-tune.teacher=meta"],
    )
    .failed(11, &["unit `fine-tune`", "name it in `[module.loss]`"]);
    assert!(!run.join("units/fine-tune/result.json").exists());
}

#[test]
fn a_sum_is_weighted_and_its_terms_are_told() {
    let here = tempdir().unwrap();
    let run = here.path().join("run");
    let list = "{ plugin = \"imitation\", until = 0.5 }, \
                { plugin = \"cross-entropy\", weight = 0, final_weight = 3, parameters = { smoothing = 0.1 } }";
    let set = [terms(list), "module.teacher=meta".to_owned()];
    modules(&run, &[&set[0], &set[1]]);
    for unit in ["module.0", "module.1"] {
        let updates = events(&run, unit, "update");
        let told: Vec<Vec<(String, f64)>> = updates
            .iter()
            .map(|update| {
                let terms = update["terms"].as_array().unwrap().iter();
                let each = terms.map(|term| {
                    let role = term["role"].as_str().unwrap().to_owned();
                    (role, term["weight"].as_f64().unwrap())
                });
                each.collect()
            })
            .collect();
        let term = |role: &str, weight: f64| (role.to_owned(), weight);
        assert_eq!(
            told,
            [
                vec![term("loss.0", 1.0)],
                vec![term("loss.0", 1.0), term("loss.1", 1.0)],
                vec![term("loss.1", 2.0)],
                vec![term("loss.1", 3.0)],
            ]
        );
        for update in &updates {
            let terms = update["terms"].as_array().unwrap().iter();
            let sum: f64 = terms
                .map(|term| term["weight"].as_f64().unwrap() * term["loss"].as_f64().unwrap())
                .sum();
            let loss = update["loss"].as_f64().unwrap();
            assert!((sum - loss).abs() < 1e-5, "{sum} {loss}");
        }
        let costs = events(&run, unit, "plugin-cost");
        let roles: Vec<&Value> = costs.iter().map(|cost| &cost["role"]).collect();
        let last = &roles[roles.len() - 3..];
        assert_eq!(last, ["schedule", "loss.0", "loss.1"]);
    }
    let plugins = &read(run.join("run.json"))["plugins"];
    assert_eq!(plugins["module.loss.0"]["name"], "imitation");
    assert_eq!(plugins["module.loss.1"]["name"], "cross-entropy");
    assert!(plugins["module.loss"].is_null() && plugins["meta.loss"].is_object());
}

#[test]
fn a_sum_of_one_is_the_loss_itself_and_halves_make_a_whole() {
    let here = tempdir().unwrap();
    let train = |name: &str, loss: &str| {
        let run = here.path().join(name);
        modules(&run, &[loss]);
        // The files of weights also say which plugins made them, and so differ.
        let of = |unit: &str| result(&run, unit)["loss"].clone();
        (of("module.0"), of("module.1"))
    };
    let alone = train("alone", "module.loss.plugin=cross-entropy");
    // The digits' own experiment smooths its labels.
    let plugin = "plugin = \"cross-entropy\", parameters = { smoothing = 0.1 }";
    assert_eq!(alone, train("one", &terms(&format!("{{ {plugin} }}"))));
    // Halving and adding is exact in binary fractions.
    let half = format!("{{ {plugin}, weight = 0.5 }}");
    assert_eq!(alone, train("halves", &terms(&format!("{half}, {half}"))));
    assert_ne!(
        alone,
        train(
            "another",
            &terms("{ plugin = \"cross-entropy\", weight = 2 }, { plugin = \"focal\" }")
        )
    );
}

#[test]
fn what_is_computed_is_counted() {
    let here = tempdir().unwrap();
    let macs = |name: &str, set: &[&str]| {
        let run = here.path().join(name);
        modules(&run, set);
        ["module.0", "module.1"].map(|unit| {
            let result = result(&run, unit);
            ["forward_macs", "backward_macs"].map(|key| result[key].as_u64().unwrap())
        })
    };
    let plain = macs("plain", &[]);
    let meta = "module.teacher=meta";
    let taught = macs("taught", &["module.loss.plugin=distillation", meta]);
    let imitated = macs("imitated", &["module.loss.plugin=imitation", meta]);
    let half = terms("{ plugin = \"cross-entropy\" }, { plugin = \"distillation\", until = 0.5 }");
    let halved = macs("halved", &[&half, meta]);
    let extra = taught[0][0] - plain[0][0];
    assert!(extra > 0);
    for module in [0, 1] {
        // The same meta model saw the same pictures, for features or for logits.
        assert_eq!(taught[module][0] - plain[module][0], extra);
        assert_eq!(imitated[module][0], taught[module][0]);
        assert_eq!(halved[module][0] - plain[module][0], extra / 2);
        assert_eq!(taught[module][1], plain[module][1]);
        assert_eq!(halved[module][1], plain[module][1]);
    }
    // Behind module 0 nothing is differentiated; module 1 is the last.
    assert!(imitated[0][1] < plain[0][1]);
    assert_eq!(imitated[1][1], plain[1][1]);
}

#[test]
fn a_teacher_and_features_in_bfloat16_teach_what_they_teach_in_float32() {
    let here = tempdir().unwrap();
    let list = terms("{ plugin = \"distillation\" }, { plugin = \"imitation\", weight = 0.5 }");
    let losses = |precision: &str| -> Vec<f64> {
        let run = here.path().join(precision);
        let precision = format!("module.precision={precision}");
        let set = [&list, "module.teacher=meta", &precision, "module.epochs=2"];
        for unit in ["meta", "module.0"] {
            tiny_with(&run, &set, &["--unit", unit]).succeeded();
        }
        let updates = events(&run, "module.0", "update").into_iter();
        updates
            .map(|update| update["loss"].as_f64().unwrap())
            .collect()
    };
    let (whole, half) = (losses("float32"), losses("bfloat16"));
    assert_eq!(whole.len(), 8);
    assert_ne!(whole, half, "nothing was computed in bfloat16");
    for (whole, half) in whole.iter().zip(&half) {
        assert!((whole - half).abs() < 1e-3 * whole, "{whole} {half}");
    }
    // A plan says what it leaves out.
    let text = tiny_plan(&[&list, "module.teacher=meta"]);
    assert!(
        text.contains("the teacher of `module` are in no cost"),
        "{text}"
    );
}

/// What `plan` says about the tiny experiment.
fn tiny_plan(set: &[&str]) -> String {
    let mut arguments = vec!["plan", "digits", "--device", "cpu"];
    for assignment in TINY.iter().chain(set) {
        arguments.extend(["--set", assignment]);
    }
    incubate(&arguments).succeeded().stdout
}

#[test]
fn a_checkpoint_teaches_when_it_fits() {
    let here = tempdir().unwrap();
    let (first, run) = (here.path().join("first"), here.path().join("run"));
    tiny_with(&first, &[], &["--unit", "meta"]).succeeded();
    let weights = here.path().join("teacher.safetensors");
    fs::copy(first.join("units/meta/weights.safetensors"), &weights).unwrap();
    let teacher = format!("baseline.teacher={}", weights.display());
    let distil = "baseline.loss.plugin=distillation";
    let epochs = "baseline.epochs=1";
    tiny_with(&run, &[&teacher, distil, epochs], &["--unit", "baseline"]).succeeded();
    let teachers = &read(run.join("run.json"))["teachers"];
    assert_eq!(
        teachers["baseline"],
        result(&first, "meta")["weights_sha256"]
    );

    // The same run with another file in its place.
    fs::write(
        &weights,
        fs::read(first.join("units/meta/weights.safetensors")).unwrap(),
    )
    .unwrap();
    tiny_with(&run, &[&teacher, distil, epochs], &["--unit", "baseline"]).succeeded();
    let second = here.path().join("second");
    tiny_with(&second, &["seed=5"], &["--unit", "meta"]).succeeded();
    fs::copy(second.join("units/meta/weights.safetensors"), &weights).unwrap();
    tiny_with(&run, &[&teacher, distil, epochs], &["--unit", "baseline"])
        .failed(4, &["the teacher of `baseline` changed"]);

    let absent = here.path().join("absent.pth");
    let absent = format!("baseline.teacher={}", absent.display());
    tiny(&here.path().join("c"), &[&absent, distil, epochs]).failed(2, &["absent.pth"]);
    let smaller = [&*teacher, distil, epochs, "model.patch_size=4"];
    tiny_with(&here.path().join("d"), &smaller, &["--unit", "baseline"]).succeeded();
    let other = format!(
        "baseline.teacher={}/tests/parity/meta_checkpoint.pth",
        env!("CARGO_MANIFEST_DIR")
    );
    tiny(&here.path().join("e"), &[&other, distil, epochs]).failed(
        2,
        &["`baseline.teacher`", "attention heads", "heads = NUMBER"],
    );
    let headed =
        other.replace("baseline.teacher=", "baseline.teacher={ weights = \"") + "\", heads = 2 }";
    tiny(&here.path().join("e"), &[&headed, distil, epochs]).failed(
        2,
        &[
            "`baseline.teacher`",
            "which cannot teach here",
            "it takes pictures of",
        ],
    );
}

#[test]
fn sums_that_cannot_be_meant_are_refused() {
    let here = tempdir().unwrap();
    let run = here.path().join("run");
    let one = "plugin = \"cross-entropy\"";
    for (list, phrases) in [
        (
            format!("{{ {one}, weight = -1 }}"),
            ["terms[0].weight", "not negative"],
        ),
        (
            format!("{{ {one}, from = 0.5, until = 0.5 }}"),
            ["terms[0].from", "less than `until`"],
        ),
        (
            format!("{{ {one}, until = 0.5 }}"),
            ["module.loss.terms", "no term has a weight after 50 %"],
        ),
        (format!("{{ {one}, wieght = 1 }}"), ["wieght", "weight"]),
        (String::new(), ["module.loss", "`terms` is empty"]),
    ] {
        tiny(&run, &[&terms(&list)]).failed(2, &phrases);
    }
    tiny(
        &run,
        &[&terms(&format!("{{ {one} }}")), "module.loss.plugin=focal"],
    )
    .failed(2, &["module.loss", "names a `plugin` and `terms`"]);
}
