//! Checkpoints as `torch.save` writes them, read here, and files of `incubate export`, loaded there:
//! the same pictures have the same logits on both sides.

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use incubate::model::checkpoint::{Checkpoint, Format, Layout, Unseen, read, read_key};
use incubate::model::{Architecture, Network, Noise, VitConfig, load_network, load_stage};
use incubate::phase::Phase;
use incubate::random::Seed;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::job::{Floats, floats};
use super::{answer, python, script};
use crate::command::{incubate, tiny};

/// The largest difference of a logit.
const TOLERANCE: f32 = 1e-5;

fn config() -> VitConfig {
    VitConfig {
        image_size: 12,
        patch_size: 4,
        channels: 3,
        classes: 7,
        width: 24,
        depth: 4,
        heads: 3,
        mlp_ratio: 2,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    }
}

fn logits(network: &Network, (shape, values): &(Vec<usize>, Vec<f32>)) -> Vec<f32> {
    let shape: [usize; 4] = shape.as_slice().try_into().unwrap();
    let images = TensorData::new(values.clone(), shape);
    let images = Tensor::from_data(images, &Device::flex().autodiff());
    let logits = network.forward(images, &Noise::off()).logits;
    logits.inner().into_data().iter::<f32>().collect()
}

#[track_caller]
fn same(name: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let difference = ours
        .iter()
        .zip(theirs)
        .map(|(one, other)| (one - other).abs())
        .fold(0.0, f32::max);
    assert!(
        difference <= TOLERANCE,
        "{name}: logits differ by {difference}"
    );
    let largest = theirs
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.05, "{name}: logits of {largest} prove nothing");
}

/// The checkpoints that PyTorch writes, and its answers.
fn written(folder: &Path) -> Floats {
    let mut model = json!(config());
    model["stages"] = json!([1, 2, 1]);
    fs::write(folder.join("model.json"), model.to_string()).unwrap();
    answer(
        python()
            .arg(script("checkpoint.py"))
            .arg("write")
            .arg(folder),
    );
    floats(&fs::read(folder.join("answers.safetensors")).unwrap(), "")
}

#[test]
fn checkpoints_of_pytorch_have_the_same_logits_here() {
    let folder = tempdir().unwrap();
    let answers = written(folder.path());
    let images = &answers["images"];
    let unseen = Unseen {
        heads: 3,
        layer_norm_eps: 1e-6,
    };
    let open = |name: &str, key| -> Checkpoint {
        read_key(&folder.path().join(format!("{name}.pth")), key).unwrap()
    };
    let check = |name: &str, key, expected: &str| {
        let checkpoint = open(name, key);
        let architecture = checkpoint.architecture(Some(unseen)).unwrap();
        assert_eq!(architecture, Architecture::Vit(config()), "{name}");
        for depths in [&[4][..], &[1, 3], &[2, 1, 1]] {
            let network = checkpoint.network(&architecture, depths, &Device::flex());
            same(
                name,
                &logits(&network.unwrap(), images),
                &answers[expected].1,
            );
        }
        checkpoint
    };
    assert_eq!(check("flat", None, "float").format(), Format::Torch);
    assert_eq!(check("legacy", None, "float").format(), Format::TorchLegacy);
    check("strided-legacy", None, "float");
    for name in ["protocol4", "parameters", "strided", "double", "wrapped"] {
        assert_eq!(check(name, None, "float").layout(), Layout::Flat, "{name}");
    }
    check("half", None, "half");
    check("bfloat16", None, "bfloat16");

    let deit = check("deit", None, "float");
    assert_eq!(
        (deit.key(), deit.other_weights()),
        ("model", &["model_ema".to_owned()][..])
    );
    let others: Vec<&str> = deit
        .not_read()
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(
        others,
        [
            "optimizer",
            "lr_scheduler",
            "epoch",
            "scaler",
            "args",
            "meter"
        ]
    );
    for skipped in ["argparse.Namespace", "pathlib.PosixPath", "__main__.Meter"] {
        assert!(
            deit.skipped().iter().any(|name| name == skipped),
            "{skipped}"
        );
    }
    check("deit", Some("model_ema"), "averaged");
    check("wrapped", Some("state_dict_ema"), "averaged");
    check("averaged", None, "averaged");

    for name in ["reference", "twice"] {
        let checkpoint = check(name, None, "float");
        assert_eq!(checkpoint.layout(), Layout::Stages, "{name}");
        assert_eq!(checkpoint.dimensions().stages, [1, 2, 1], "{name}");
    }
    // Single stages, put together.
    let network =
        Architecture::Vit(config()).network(&[1, 2, 1], Seed(0), Phase::Meta, &Device::flex());
    let stages = network.unwrap().into_stages();
    let stages = stages.into_iter().enumerate().map(|(index, stage)| {
        open(&format!("stage-{index}"), None)
            .fill_stage(stage, 0)
            .unwrap()
    });
    let network = Network::from_stages(stages.collect());
    same("stages", &logits(&network, images), &answers["float"].1);
}

#[test]
fn what_is_no_plain_vision_transformer_is_refused_by_what_was_found() {
    let folder = tempdir().unwrap();
    written(folder.path());
    let cases = [
        (
            "whole",
            "a Python object `vit.Stage` instead of tensors by name",
        ),
        (
            "distilled",
            "a distilled DeiT, which has a second class token and a second head: it has `dist_token`",
        ),
        (
            "no-class-token",
            "without class token: it has `pos_embed`, and no `cls_token`",
        ),
        ("whole-numbers", "has values of type I64"),
        (
            "two-networks",
            "no weights under `model` (there are: `student`, `teacher`)",
        ),
    ];
    for (name, phrase) in cases {
        let path = folder.path().join(format!("{name}.pth"));
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains(phrase), "no `{phrase}` in: {message}");
        incubate(&["inspect", path.to_str().unwrap()]).failed(2, &[phrase]);
    }
}

/// Writes pictures for PyTorch and loads an exported file there; answers the logits.
fn loaded(folder: &Path, file: &Path, model: &Value, images: &(Vec<usize>, Vec<f32>)) -> Vec<f32> {
    fs::write(folder.join("model.json"), model.to_string()).unwrap();
    let bytes: Vec<u8> = images
        .1
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, images.0.clone(), &bytes).unwrap();
    fs::write(
        folder.join("images.safetensors"),
        serialize([("images", view)], None).unwrap(),
    )
    .unwrap();
    let judges = answer(
        python()
            .arg(script("checkpoint.py"))
            .arg("load")
            .args([folder, file]),
    );
    assert!(judges.contains("torch"), "loaded by {judges}");
    floats(&fs::read(folder.join("answers.safetensors")).unwrap(), "")["logits"]
        .1
        .clone()
}

#[test]
fn pytorch_loads_an_exported_file_strictly_and_has_the_same_logits() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny(&run, &["module.epochs=1"]).succeeded();
    let weights =
        |unit: &str| fs::read(run.join("units").join(unit).join("weights.safetensors")).unwrap();
    let values: Vec<f32> = (0..3 * 8 * 8)
        .map(|index| (index as f32 * 0.7).sin() * 3.0)
        .collect();
    let images = (vec![3, 1, 8, 8], values);
    for (unit, depths) in [
        ("fine-tune", [2, 2]),
        ("meta", [1, 1]),
        ("module.1", [1, 2]),
    ] {
        let file = folder.path().join(format!("{unit}.safetensors"));
        let exported = incubate(&[
            "export",
            run.to_str().unwrap(),
            "--unit",
            unit,
            "--out",
            file.to_str().unwrap(),
            "--json",
        ])
        .succeeded()
        .json_lines()
        .remove(0);
        assert_eq!(exported["depths"], json!(depths), "{unit}");
        let architecture: Architecture = serde_json::from_value(exported["model"].clone()).unwrap();
        let network = architecture
            .network(&depths, Seed(0), Phase::Meta, &Device::flex())
            .unwrap();
        let network = if unit == "module.1" {
            let meta = load_network(
                architecture
                    .network(&[1, 1], Seed(0), Phase::Meta, &Device::flex())
                    .unwrap(),
                &weights("meta"),
            );
            let trained = load_stage(network.stages()[1].clone(), &weights(unit), "").unwrap();
            let first = meta.unwrap().into_stages().swap_remove(0);
            network.replace_stage(0, first).replace_stage(1, trained)
        } else {
            load_network(network, &weights(unit)).unwrap()
        };
        let theirs = loaded(folder.path(), &file, &exported["model"], &images);
        same(unit, &logits(&network, &images), &theirs);
    }
}
