//! The losses that ship, through the sandbox, against PyTorch: values and gradients of
//! `tests/losses/reference.json`, which `tests/losses/reference.py` wrote.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Grants, Kind, Limits, LossHook, LossInputs, PluginHost, SettingValue, StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use serde_json::Value;

use crate::command::incubate;

/// Of float32 against float64, of the largest number of a list.
const TOLERANCE: f64 = 1e-5;

fn reference() -> Value {
    serde_json::from_str(include_str!("losses/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap()).collect()
}

/// A tensor of the reference.
fn tensor<const D: usize>(value: &Value, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = numbers(value).into_iter().map(|one| one as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

fn any<const D: usize>(tensor: Tensor<D>) -> AnyTensor {
    AnyTensor::from_tensor(tensor).unwrap()
}

fn near(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-3_f64, |all, one| all.max(one.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / largest;
        assert!(
            error < TOLERANCE,
            "{what}: {found} where {expected} is right"
        );
    }
}

fn settings(case: &Value) -> BTreeMap<String, SettingValue> {
    let given = toml::Table::try_from(&case["parameters"]).unwrap();
    toml::Value::Table(given).try_into().unwrap()
}

/// The gradient of a leaf; zeros where nothing reaches it.
fn gradient<const D: usize>(leaf: &Tensor<D>, found: &burn::tensor::Gradients) -> Vec<f64> {
    let zeros = || vec![0.0; leaf.dims().iter().product()];
    leaf.grad(found)
        .map_or_else(zeros, |gradient| gradient.into_data().iter().collect())
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let reference = reference();
    let size = |key: &str| reference["shape"][key].as_u64().unwrap() as usize;
    let [pictures, classes] = ["pictures", "classes"].map(size);
    let token_shape = [pictures, size("tokens"), size("width")];
    let host = PluginHost::new(None).unwrap();
    let mut seen = BTreeSet::new();
    for case in reference["cases"].as_array().unwrap() {
        let name = case["plugin"].as_str().unwrap();
        seen.insert(name);
        let what = format!("{name} {} {}", case["parameters"], case["mixed"]);
        let plugin = host
            .load(name, Kind::LossHook, &Grants::none(), &Limits::default())
            .unwrap();
        let settings = plugin.settings(&settings(case)).unwrap();
        let context = Context {
            seed: Seed(0),
            phase: Phase::Module(case["module"].as_u64().unwrap() as usize),
        };
        let mut hook = LossHook::new(&plugin, &settings, context).unwrap();
        let logits = tensor(&reference["logits"], [pictures, classes]).require_grad();
        let features = |key: &str| -> Vec<Tensor<3>> {
            let all = reference[key].as_array().unwrap().iter();
            all.map(|one| tensor(one, token_shape).require_grad())
                .collect()
        };
        let (network, meta) = (features("network"), features("meta"));
        let numbered = |features: &[Tensor<3>], wanted: bool| {
            let all = (0_u32..).zip(features).filter(|_| wanted);
            all.map(|(module, one)| (module, any(one.clone())))
                .collect()
        };
        let ids: Vec<i64> = numbers(&reference["class_ids"])
            .into_iter()
            .map(|id| id as i64)
            .collect();
        let ids = TensorData::new(ids, [pictures]);
        let ids = Tensor::<1, Int>::from_data(ids, &Device::flex().autodiff());
        let needs = hook.needs();
        let rows = |key: &str| any(tensor(&reference[key], [pictures, classes]));
        let inputs = LossInputs {
            logits: any(logits.clone()),
            class_ids: AnyTensor::from_ids(ids).unwrap(),
            soft_targets: (case["mixed"] == true).then(|| rows("soft_targets")),
            network_features: numbered(&network, needs.network_features),
            meta_features: numbered(&meta, needs.meta_features),
            weights: Vec::new(),
            teacher: Some(rows("teacher")),
        };
        let step = StepInfo {
            update: 0,
            updates: 1,
            epoch: 0.0,
            classes: classes as u32,
            pictures: pictures as u32,
        };
        let loss = hook.compute(&step, inputs).unwrap();
        let value = f64::from(loss.read().unwrap()[0]);
        near(&what, &[value], &[case["loss"].as_f64().unwrap()]);
        let found = loss.into_scalar_tensor().unwrap().backward();
        near(&what, &gradient(&logits, &found), &numbers(&case["logits"]));
        for (leaf, expected) in network.iter().zip(case["network"].as_array().unwrap()) {
            near(&what, &gradient(leaf, &found), &numbers(expected));
        }
        // The meta model is a constant.
        for leaf in &meta {
            assert!(leaf.grad(&found).is_none(), "{what}");
        }
    }
    let shipped: BTreeSet<&str> = PluginHost::built_in()
        .filter(|one| one.kind == Kind::LossHook)
        .map(|one| one.name)
        .collect();
    assert_eq!(seen, shipped);
}

/// Every shipped loss keeps the laws, with its defaults and with each form that it has.
#[test]
fn every_loss_keeps_the_laws() {
    for (name, settings) in [
        ("cross-entropy", ""),
        ("bce", ""),
        ("bce", "sum_classes=true"),
        ("focal", ""),
        ("poly-1", ""),
        ("z-loss", ""),
        ("distillation", ""),
        ("distillation", "form=hard"),
        ("distillation", "normalisation=elements"),
        ("imitation", ""),
        ("imitation", "distance=l1"),
        ("imitation", "distance=cosine"),
        ("imitation", "distance=huber"),
        ("imitation", "boundaries=all"),
    ] {
        let mut arguments = vec!["plugin", "check", name];
        if !settings.is_empty() {
            arguments.extend(["--set", settings]);
        }
        let answer = incubate(&arguments).succeeded();
        assert!(answer.stdout.contains("failed: 0"), "{name} {settings}");
    }
}
