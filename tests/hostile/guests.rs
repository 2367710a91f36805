//! Calling a plugin as a run does, and writing down what came of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::{Device, Int, Tensor};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grant, Grants, Group, Kind, Limits, LossHook, LossInputs, Message, Moment,
    PartitionRequest, PartitionScheme, Plugin, PluginError, PluginHost, Schedule, SettingValue,
    StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use tempfile::TempDir;

/// What stands before the order in a hostile component.
const MARK: &[u8] = b"INCUBATE-ORDER:";

/// Bytes of mark and order together.
const ORDER: usize = 80;

const CONTEXT: Context = Context {
    seed: Seed(1),
    phase: Phase::Module(1),
};

const PICTURES: usize = 8;
const CLASSES: usize = 5;

/// The sandbox for committed components, which compiles each once.
fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

/// The sandbox for components that a test makes.
fn host_without_cache() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| PluginHost::new(None).unwrap());
    &HOST
}

/// The committed hostile component of a kind.
pub(super) fn component(kind: Kind) -> String {
    format!(
        "{}/tests/plugins/hostile-{}.wasm",
        env!("CARGO_MANIFEST_DIR"),
        kind.interface()
    )
}

/// A file with these bytes, in a folder that lives as long as the first part.
pub(super) fn file(bytes: &[u8]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.wasm");
    std::fs::write(&path, bytes).unwrap();
    let path = path.into_os_string().into_string().unwrap();
    (folder, path)
}

/// The bytes of the hostile component with an order in it.
pub(super) fn with_order(kind: Kind, order: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(component(kind)).unwrap();
    let place = bytes
        .windows(MARK.len())
        .position(|window| window == MARK)
        .unwrap();
    let mut text = [0; ORDER];
    text[..MARK.len()].copy_from_slice(MARK);
    text[MARK.len()..MARK.len() + order.len()].copy_from_slice(order.as_bytes());
    bytes[place..place + ORDER].copy_from_slice(&text);
    bytes
}

/// What came of loading a plugin and calling every hook, in one or more lines.
pub(super) fn outcome(path: &str, kind: Kind, attack: Option<&str>, limits: &Limits) -> String {
    let grants = Grants::of(&[Grant::ReadBack, Grant::Random]);
    let mut given = BTreeMap::new();
    if let Some(attack) = attack {
        given.insert("attack".to_owned(), SettingValue::Text(attack.to_owned()));
    }
    let mut said = Vec::new();
    let sandbox = if path == component(kind) {
        host()
    } else {
        host_without_cache()
    };
    let called = sandbox
        .load(path, kind, &grants, limits)
        .and_then(|plugin| match kind {
            Kind::PartitionScheme => partition(&plugin, &given, &mut said),
            Kind::LrSchedule => schedule(&plugin, &given, &mut said),
            Kind::LossHook => loss(&plugin, &given, &mut said),
        });
    let mut text = match called {
        Ok(answer) => format!("went on: {answer}"),
        Err(error) => error.to_string(),
    };
    assert!(text.len() < 20_000, "{} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
    // Before a text is shortened: what is left of it must not depend on how
    // long the folder's name is.
    let folder = Path::new(path).parent().unwrap().to_str().unwrap();
    text = short(&text.replace(folder, "FOLDER"));
    let mut lines: Vec<(String, usize)> = Vec::new();
    for message in said {
        let line = match message {
            Message::Log { hook, level, text } => format!("{level} in {hook}: {text}"),
            Message::Metric { hook, name, value } => format!("metric in {hook}: {name} = {value}"),
        };
        assert!(
            line.len() < 30_000 && !line.contains(char::is_control),
            "{line:?}"
        );
        match lines.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => lines.push((line, 1)),
        }
    }
    for (line, count) in lines {
        let times = if count > 1 {
            format!(" ({count} times)")
        } else {
            String::new()
        };
        let line = short(&line.replace(folder, "FOLDER"));
        write!(text, "\n    {line}{times}").unwrap();
    }
    without_frames(&text)
}

/// The functions in which a guest crashed depend on its compiler.
fn without_frames(text: &str) -> String {
    match text.split_once("; it was in ") {
        Some((before, after)) => {
            let behind = after.find('\n').map_or("", |end| &after[end..]);
            format!("{before}; it was in …{behind}")
        }
        None => text.to_owned(),
    }
}

/// A text that a person can read in a snapshot.
fn short(text: &str) -> String {
    const SHOWN: usize = 700;
    let count = text.chars().count();
    if count <= SHOWN {
        return text.to_owned();
    }
    let begin: String = text.chars().take(SHOWN / 2).collect();
    let end: String = text.chars().skip(count - SHOWN / 2).collect();
    format!("{begin} [..] {end}")
}

type Given = BTreeMap<String, SettingValue>;

fn partition(
    plugin: &Plugin,
    given: &Given,
    said: &mut Vec<Message>,
) -> Result<String, PluginError> {
    let mut scheme = PartitionScheme::new(plugin, &plugin.settings(given)?)?;
    let divided = scheme.divide(&request());
    said.extend(scheme.drain_messages());
    Ok(format!("{} modules", divided?.len()))
}

fn schedule(
    plugin: &Plugin,
    given: &Given,
    said: &mut Vec<Message>,
) -> Result<String, PluginError> {
    let mut schedule = Schedule::new(plugin, &plugin.settings(given)?, CONTEXT)?;
    let moment = Moment {
        update: 3,
        updates: 100,
        epoch: 0.3,
        epochs: 10,
        base_rate: 1e-3,
        group: Group {
            name: "decay",
            index: 0,
        },
    };
    let mut call = || {
        let rate = schedule.rate(&moment)?;
        schedule.observe(&moment, &[("loss", f64::NAN), ("accuracy", 0.5)])?;
        let state = schedule.save()?;
        schedule.restore(&state)?;
        Ok(format!("rate {rate}, {} bytes of state", state.len()))
    };
    let called = call();
    said.extend(schedule.drain_messages());
    called
}

fn loss(plugin: &Plugin, given: &Given, said: &mut Vec<Message>) -> Result<String, PluginError> {
    let mut hook = LossHook::new(plugin, &plugin.settings(given)?, CONTEXT)?;
    let mut call = || {
        let mut value = 0.0;
        for update in 0..2 {
            let (logits, inputs) = inputs();
            let loss = hook.compute(&step(update), inputs)?;
            assert_eq!(hook.statistics().live_tensors, 0);
            value = loss.read().unwrap()[0];
            let gradients = loss.into_scalar_tensor().unwrap().backward();
            assert!(logits.grad(&gradients).is_some());
        }
        let state = hook.save()?;
        hook.restore(&state)?;
        Ok(format!("loss {value:.3}, {} bytes of state", state.len()))
    };
    let called = call();
    assert_eq!(hook.statistics().live_tensors, 0);
    said.extend(hook.drain_messages());
    called
}

const fn step(update: u64) -> StepInfo {
    StepInfo {
        update,
        updates: 100,
        epoch: 0.3,
        classes: CLASSES as u32,
        pictures: PICTURES as u32,
    }
}

/// Logits that want a gradient, and all inputs.
fn inputs() -> (Tensor<2>, LossInputs) {
    let device = Device::flex().autodiff();
    let logits: Vec<f32> = (0..PICTURES * CLASSES)
        .map(|index| ((index * 29 + 5) % 17) as f32 * 0.4 - 3.0)
        .collect();
    let ids: Vec<i64> = (0..PICTURES)
        .map(|index| (index % CLASSES) as i64)
        .collect();
    let logits = Tensor::<1>::from_floats(logits.as_slice(), &device)
        .reshape([PICTURES, CLASSES])
        .detach()
        .require_grad();
    let ids = Tensor::<1, Int>::from_ints(ids.as_slice(), &device);
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
        class_ids: AnyTensor::from_ids(ids).unwrap(),
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    };
    (logits, inputs)
}

fn request() -> PartitionRequest {
    let cost = |name: String| Cost {
        name,
        parameters: 1000,
        forward_macs: 2000,
        activation_bytes: 3000,
        milliseconds: None,
    };
    PartitionRequest {
        entry: cost("entry".to_owned()),
        blocks: (0..8)
            .map(|index| cost(format!("blocks.{index}")))
            .collect(),
        exit: cost("exit".to_owned()),
        modules: 4,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    }
}

/// Asserts that this process still trains: a plugin that behaves gives its loss.
pub(super) fn assert_alive() {
    static LOADED: LazyLock<Plugin> = LazyLock::new(|| {
        host()
            .load(
                "cross-entropy",
                Kind::LossHook,
                &Grants::none(),
                &Limits::default(),
            )
            .unwrap()
    });
    let answer = loss(&LOADED, &Given::new(), &mut Vec::new()).unwrap();
    assert!(
        answer.starts_with("loss 2.") || answer.starts_with("loss 3."),
        "{answer}"
    );
}

/// Makes these attacks one after the other and compares what came of them with the snapshot.
pub(super) fn snapshot(name: &str, outcomes: &[(String, String)]) {
    let mut text = String::new();
    for (attack, outcome) in outcomes {
        writeln!(text, "{attack}\n    {outcome}").unwrap();
    }
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Makes attacks that stand in the parameter `attack`.
pub(super) fn attack(name: &str, kind: Kind, limits: &Limits, attacks: &[String]) {
    let path = component(kind);
    let outcomes: Vec<(String, String)> = attacks
        .iter()
        .map(|attack| {
            let outcome = outcome(&path, kind, Some(attack), limits);
            assert_alive();
            (attack.clone(), outcome)
        })
        .collect();
    snapshot(name, &outcomes);
}
