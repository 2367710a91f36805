//! What `incubate plan` counts, beside the figures that are published; the experiments that are part of
//! the program, and `incubate init`.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use crate::command::incubate;

/// What is published about a network on ImageNet-1K with four modules.
struct Published {
    experiment: &'static str,
    parameters: u64,
    meta_parameters: u64,
    /// As the paper's table prints it.
    macs: &'static str,
    /// The products of matrices alone.
    products: u64,
    /// The cost table of the method, in blocks: one epoch of the meta model, of all modules (ideally,
    /// and as the reference implementation computes it), the heaviest module, all as shares of an
    /// epoch end to end, and 300 + 100 + 100 epochs beside 300 (as the reference implementation).
    meta: f64,
    modules: f64,
    modules_reference: f64,
    heaviest: f64,
    recipe: f64,
}

const PUBLISHED: [Published; 3] = [
    Published {
        experiment: "imagenet-vit-base",
        parameters: 86_567_656,
        meta_parameters: 29_864_680,
        macs: "17.6 G",
        products: 17_563_828_224,
        meta: 0.333,
        modules: 1.50,
        modules_reference: 1.67,
        heaviest: 0.417,
        recipe: 1.22,
    },
    Published {
        experiment: "imagenet-vit-large",
        parameters: 304_326_632,
        meta_parameters: 52_402_152,
        macs: "61.6 G",
        products: 61_554_712_576,
        meta: 0.167,
        modules: 1.25,
        modules_reference: 1.33,
        heaviest: 0.333,
        recipe: 0.94,
    },
    Published {
        experiment: "imagenet-vit-huge",
        parameters: 631_922_920,
        meta_parameters: 81_062_120,
        macs: "167.4 G",
        products: 167_295_109_120,
        meta: 0.125,
        modules: 1.19,
        modules_reference: 1.25,
        heaviest: 0.3125,
        recipe: 0.875,
    },
];

/// Asks for a plan as JSON.
fn plan(experiment: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["plan", experiment, "--device", "cpu", "--json"];
    arguments.extend(more);
    incubate(&arguments).succeeded().json_lines().remove(0)
}

/// Whether a number is what a table with this many decimals prints.
fn printed(value: &Value, table: f64) -> bool {
    let value = value.as_f64().unwrap();
    let decimals = table
        .to_string()
        .split_once('.')
        .map_or(0, |parts| parts.1.len());
    // A table rounds at its last digit.
    (value - table).abs() <= 0.5 * 10_f64.powi(-(decimals as i32)) + 1e-9
}

#[test]
fn plans_agree_with_what_is_published() {
    for published in PUBLISHED {
        let name = published.experiment;
        let plan = &plan(name, &[])["plan"];
        let [target, meta] = [0, 1].map(|index| &plan["networks"][index]);
        assert_eq!(target["parameters"], published.parameters, "{name}");
        assert_eq!(meta["parameters"], published.meta_parameters, "{name}");
        assert_eq!(target["forward_macs"], published.products, "{name}");
        let ratios = &plan["ratios"];
        for (what, value, table) in [
            (
                "meta",
                &ratios["units"][0]["picture"]["blocks"],
                published.meta,
            ),
            (
                "modules",
                &ratios["modules"]["picture"]["blocks"],
                published.modules,
            ),
            (
                "modules (reference)",
                &ratios["modules"]["picture"]["blocks_reference"],
                published.modules_reference,
            ),
            (
                "heaviest",
                &ratios["heaviest"]["picture"]["blocks"],
                published.heaviest,
            ),
            (
                "recipe (reference)",
                &ratios["incubation"]["blocks_reference"],
                published.recipe,
            ),
        ] {
            assert!(
                printed(value, table),
                "{name}, {what}: {value}, not {table}"
            );
        }
        // More operations than 64 bits can count.
        let units = plan["units"].as_array().unwrap();
        let total = |unit: &Value| unit["total_macs"].as_f64().unwrap();
        let baseline = total(units.last().unwrap());
        let whole = published.products as f64 * 3.0 * 625.0 * 2048.0 * 300.0;
        assert!((baseline / whole - 1.0).abs() < 0.01, "{name}: {baseline}");
        // The patch embedding is cheap to differentiate and the rest is nearly all blocks.
        let macs = ratios["incubation"]["macs_reference"].as_f64().unwrap();
        assert!((macs - published.recipe).abs() < 0.03, "{name}: {macs}");
        // Meta, the heaviest module, and fine-tuning, one after the other.
        let chain = published.meta + (published.heaviest + 1.0) / 3.0;
        let longest = ratios["longest_chain"]["blocks"].as_f64().unwrap();
        assert!((longest - chain).abs() < 0.001, "{name}: {longest}");
    }
}

#[test]
fn a_plan_prints_the_published_digits() {
    for published in PUBLISHED {
        let text = incubate(&["plan", published.experiment, "--device", "cpu"])
            .succeeded()
            .stdout;
        let line = |start: &str| {
            text.lines()
                .find(|line| line.starts_with(start))
                .unwrap_or_else(|| panic!("no `{start}` in:\n{text}"))
                .to_owned()
        };
        let target = line("target network");
        assert!(target.ends_with(published.macs), "{target}");
        assert!(line("note: there is no folder").contains("`/data/imagenet`"));
        assert!(line("note: there is no folder").contains("1,281,167 training"));
        line("incubation, in parallel");
    }
}

#[test]
fn activations_that_are_not_kept_save_memory_and_cost_a_forward_pass() {
    let kept = plan("imagenet-vit-base", &[]);
    let again = plan(
        "imagenet-vit-base",
        &["--set", "training.checkpoint_activations=true"],
    );
    let units = |plan: &Value| plan["plan"]["units"].as_array().unwrap().clone();
    for (kept, again) in units(&kept).iter().zip(units(&again)) {
        let name = kept["unit"].as_str().unwrap();
        let number = |unit: &Value, key: &str| unit[key].as_u64().unwrap();
        assert!(
            3 * number(&again, "memory_bytes") < 2 * number(kept, "memory_bytes"),
            "{name}"
        );
        let more = number(&again, "backward_macs") - number(kept, "backward_macs");
        // A block of ViT-B: 12 n d² + 2 n² d with n = 197 tokens of width d = 768.
        let block: u64 = 12 * 197 * 768 * 768 + 2 * 197 * 197 * 768;
        let blocks = match name {
            "meta" => 4,
            "module.0" => 6,
            "module.1" => 5,
            "module.2" => 4,
            "module.3" => 3,
            _ => 12,
        };
        assert_eq!(more, blocks * block, "{name}");
    }
}

#[test]
fn pictures_of_other_sizes_cost_what_is_published() {
    // The deep networks for 32 pixels have their published parameters with a head of 1,000 classes.
    for (experiment, parameters, macs) in [
        ("cifar-deit-tiny-32", 14_451_112, 972_824_064_u64),
        ("cifar-deit-tiny-128", 57_158_056, 3_888_950_784),
    ] {
        let plan = plan(experiment, &["--set", "data.expected.classes=1000"]);
        let target = &plan["plan"]["networks"][0];
        assert_eq!(target["parameters"], parameters, "{experiment}");
        assert_eq!(target["forward_macs"], macs, "{experiment}");
    }
    for (experiment, size, macs) in [
        ("imagenet-vit-base", 384, "55.5 G"),
        ("imagenet-vit-huge", 392, "545.3 G"),
    ] {
        let size = format!("model.image_size={size}");
        let arguments = ["plan", experiment, "--device", "cpu", "--set", &size];
        let text = incubate(&arguments).succeeded().stdout;
        let target = text
            .lines()
            .find(|line| line.starts_with("target"))
            .unwrap();
        assert!(target.ends_with(macs), "{target}");
    }
}

#[test]
fn every_experiment_of_the_program_can_be_written_and_planned() {
    let folder = tempdir().unwrap();
    let list = incubate(&["init", "--list"]).succeeded().stdout;
    let names: Vec<&str> = list
        .lines()
        .skip(2)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"imagenet-vit-huge"), "{list}");
    assert!(names.len() >= 7, "{list}");
    for name in names {
        let file = folder.path().join(format!("my {name}.toml"));
        let path = file.to_str().unwrap();
        let answer = incubate(&["init", name, "--out", path]).succeeded();
        let next = format!("incubate plan '{path}'");
        assert!(answer.stdout.contains(&next), "{}", answer.stdout);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{name} begins with what it is");
        let edit = text.contains("/data/");
        assert_eq!(
            answer.stdout.contains("Edit it:"),
            edit,
            "{}",
            answer.stdout
        );
        // What is written is what the name stands for, and complete but for the pictures.
        let missing = "data.path=/nowhere";
        let more: &[&str] = if name == "digits" {
            &[]
        } else {
            &["--set", missing]
        };
        let (written, named) = (plan(path, more), plan(name, more));
        assert_eq!(written["plan"], named["plan"], "{name}");
        let notes = written["notes"].to_string();
        assert_eq!(notes.contains("/nowhere"), name != "digits", "{notes}");
        if name != "digits" {
            incubate(&["run", path, "--set", missing]).failed(3, &["/nowhere", "does not exist"]);
        }
    }
}

#[test]
fn init_writes_over_nothing() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    incubate(&["init", "digits", "--out", path]).failed(2, &["mine.toml", "is there already"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    incubate(&["init", "digit"]).failed(2, &["did you mean `digits`?", "fashion-mnist"]);
    incubate(&["init"]).failed(2, &["NAME"]);
}

#[test]
fn a_data_set_with_other_numbers_than_expected_is_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let path = file.to_str().unwrap();
    incubate(&["init", "digits", "--out", path]).succeeded();
    let set = |value: &str| {
        let expected =
            format!("data.expected={{ classes = 10, train = {value}, validation = 359 }}");
        incubate(&["plan", path, "--device", "cpu", "--set", &expected])
    };
    set("1438").succeeded();
    set("1437").failed(3, &["expected.train", "1437", "digits has 1438"]);
}
