//! The boundary to plugins, asked with bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grant, Grants, Group, Kind, Limits, LossHook, LossInputs, Moment,
    PartitionRequest, PartitionScheme, Plugin, PluginError, PluginHost, Schedule, SettingValue,
    StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use serde_json::Value;

use super::HOST;

const CONTEXT: Context = Context {
    seed: Seed(1),
    phase: Phase::Module(1),
};

thread_local! {
    static LOADED: RefCell<BTreeMap<String, Option<Plugin>>> = RefCell::default();
}

/// JSON that says which plugin is asked, with which settings, state, and arguments. Whatever those are
/// and whatever the plugin answers, what leaves the boundary is a partition, a rate, a scalar, or an error.
pub fn contract(bytes: &[u8]) {
    let _ = answered(bytes);
}

/// What a plugin answered; nothing when the bytes name none, or settings that cannot be read.
pub fn answered(bytes: &[u8]) -> Option<Result<(), PluginError>> {
    let asked: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
    // Not a path: nothing but these is looked at.
    let plugin = text("plugin");
    let reference = if plugin.starts_with("hostile-") && !plugin.contains(['/', '.']) {
        let file = hostile().join(format!("{plugin}.wasm"));
        file.display().to_string()
    } else if PluginHost::built_in().any(|one| one.name == plugin) {
        plugin
    } else {
        return None;
    };
    let given: BTreeMap<String, SettingValue> = toml::from_str(&text("settings")).ok()?;
    if let Some(plugin) = loaded(&reference, Kind::PartitionScheme) {
        return Some(divide(&plugin, &given, &asked));
    }
    if let Some(plugin) = loaded(&reference, Kind::LossHook) {
        return Some(loss(&plugin, &given, &asked));
    }
    loaded(&reference, Kind::LrSchedule).map(|plugin| rates(&plugin, &given, &asked))
}

/// Where the hostile plugins lie, for the test and for the fuzz targets.
fn hostile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/plugins"))
        .find(|folder| folder.is_dir())
        .unwrap()
}

/// A plugin with so few instructions that no input takes long.
fn loaded(reference: &str, kind: Kind) -> Option<Plugin> {
    let load = || {
        let limits = Limits {
            fuel: 20_000_000,
            ..Limits::default()
        };
        let grants = Grants::of(&[Grant::ReadBack, Grant::Random]);
        HOST.with_borrow(|host| host.load(reference, kind, &grants, &limits).ok())
    };
    LOADED.with_borrow_mut(|loaded| {
        loaded
            .entry(format!("{kind} {reference}"))
            .or_insert_with(load)
            .clone()
    })
}

/// Numbers of a list, bounded in count; a text stands for what JSON cannot say.
fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        value => value.as_f64().unwrap_or_default(),
    };
    value
        .as_array()
        .map(|list| list.iter().take(64).map(number).collect())
        .unwrap_or_default()
}

/// The state that a plugin is to go on with, if there is one.
fn state(asked: &Value) -> Option<Vec<u8>> {
    let state: Vec<u8> = numbers(&asked["state"])
        .into_iter()
        .map(|byte| byte as u8)
        .collect();
    (!state.is_empty()).then_some(state)
}

fn divide(
    plugin: &Plugin,
    given: &BTreeMap<String, SettingValue>,
    asked: &Value,
) -> Result<(), PluginError> {
    let mut scheme = PartitionScheme::new(plugin, &plugin.settings(given)?)?;
    let costs = numbers(&asked["costs"]);
    let cost = |cost: f64| Cost {
        name: format!("part of {cost}"),
        parameters: cost as u64,
        forward_macs: cost as u64,
        activation_bytes: cost as u64,
        milliseconds: Some(cost).filter(|cost| *cost != 1.0),
    };
    let request = PartitionRequest {
        entry: cost(1.0),
        blocks: costs.iter().copied().map(cost).collect(),
        exit: cost(2.0),
        modules: asked["modules"].as_u64().unwrap_or(2) as u32,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    };
    let depths = scheme.divide(&request)?;
    // Every block once and in order is: so many modules, none empty, and together all blocks.
    assert_eq!(depths.len(), request.modules as usize);
    assert!(
        depths
            .iter()
            .all(|depth| 0 < depth.meta && depth.meta <= depth.target)
    );
    let sum: usize = depths.iter().map(|depth| depth.target as usize).sum();
    assert_eq!(sum, costs.len());
    Ok(())
}

fn rates(
    plugin: &Plugin,
    given: &BTreeMap<String, SettingValue>,
    asked: &Value,
) -> Result<(), PluginError> {
    let settings = plugin.settings(given)?;
    let mut schedule = Schedule::new(plugin, &settings, CONTEXT)?;
    if let Some(state) = state(asked) {
        schedule.restore(&state)?;
    }
    let updates = asked["updates"].as_u64().unwrap_or(100);
    for (update, number) in numbers(&asked["metrics"]).into_iter().take(8).enumerate() {
        let moment = Moment {
            update: update as u64,
            updates,
            epoch: update as f64 / 10.0,
            epochs: asked["epochs"].as_u64().unwrap_or(10) as u32,
            base_rate: 1e-3,
            group: Group {
                name: "decay",
                index: 0,
            },
        };
        let rate = schedule.rate(&moment)?;
        assert!(rate.is_finite() && rate >= 0.0, "{rate}");
        schedule.observe(&moment, &[("loss", number), ("accuracy", number)])?;
    }
    // What was saved gives the same future.
    let saved = schedule.save()?;
    let mut again = Schedule::new(plugin, &settings, CONTEXT)?;
    again.restore(&saved)?;
    assert_eq!(again.save()?, saved);
    Ok(())
}

fn loss(
    plugin: &Plugin,
    given: &BTreeMap<String, SettingValue>,
    asked: &Value,
) -> Result<(), PluginError> {
    let mut hook = LossHook::new(plugin, &plugin.settings(given)?, CONTEXT)?;
    if let Some(state) = state(asked) {
        hook.restore(&state)?;
    }
    let classes = asked["classes"].as_u64().unwrap_or(3).clamp(1, 16) as usize;
    let rows = |key: &str| -> Option<Vec<f32>> {
        let all = numbers(&asked[key]);
        (!all.is_empty() && all.len().is_multiple_of(classes))
            .then(|| all.into_iter().map(|number| number as f32).collect())
    };
    let Some(logits) = rows("logits") else {
        return Ok(());
    };
    let pictures = logits.len() / classes;
    let device = Device::flex().autodiff();
    let tensor = |values: Vec<f32>| {
        let data = TensorData::new(values, [pictures, classes]);
        AnyTensor::from_tensor(Tensor::<2>::from_data(data, &device)).unwrap()
    };
    let same = |values: &Vec<f32>| values.len() == pictures * classes;
    // The host knows its labels, so they are of the classes.
    let ids: Vec<i64> = numbers(&asked["ids"])
        .into_iter()
        .chain(std::iter::repeat(0.0))
        .map(|id| (id as i64).rem_euclid(classes as i64))
        .take(pictures)
        .collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [pictures]), &device);
    let inputs = LossInputs {
        logits: tensor(logits),
        class_ids: AnyTensor::from_ids(ids).unwrap(),
        soft_targets: rows("soft_targets").filter(same).map(tensor),
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: rows("teacher").filter(same).map(tensor),
    };
    let step = StepInfo {
        update: asked["update"].as_u64().unwrap_or(0),
        updates: asked["updates"].as_u64().unwrap_or(100),
        epoch: 0.5,
        classes: classes as u32,
        pictures: pictures as u32,
    };
    let answer = hook.compute(&step, inputs);
    // Whatever came of it, no handle is left.
    assert_eq!(hook.statistics().live_tensors, 0);
    let loss = answer?;
    assert_eq!(loss.shape(), [0_usize; 0]);
    Ok(())
}
