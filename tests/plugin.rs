//! The sandbox with real components: what ships, and what misbehaves in every way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::nn::LinearConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grant, Grants, Group, Hook, Kind, Level, Limit, Limits, LossHook, LossInputs,
    Message, ModuleDepth, Moment, PartitionRequest, PartitionScheme, Plugin, PluginError,
    PluginErrorKind, PluginHost, Schedule, SettingValue, Settings, StepInfo, Stepping,
};
use incubate::random::Seed;
use incubate::tensor::{AnyTensor, Operation};

const CONTEXT: Context = Context {
    seed: Seed(7),
    phase: Phase::Module(2),
};

const PICTURES: usize = 8;
const CLASSES: usize = 5;

/// One sandbox for all tests, which compiles every component once.
fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

/// A component that misbehaves.
fn faulty(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "plugins"]
        .iter()
        .collect();
    path.join(format!("faulty-{name}.wasm"))
        .into_os_string()
        .into_string()
        .unwrap()
}

fn load(reference: &str, kind: Kind) -> Plugin {
    load_limited(reference, kind, Limits::default())
}

fn load_limited(reference: &str, kind: Kind, limits: Limits) -> Plugin {
    host()
        .load(reference, kind, &Grants::of(&Grant::ALL), &limits)
        .unwrap()
}

fn refused(reference: &str, kind: Kind) -> String {
    host()
        .load(reference, kind, &Grants::none(), &Limits::default())
        .unwrap_err()
        .to_string()
}

fn settings(plugin: &Plugin, values: &[(&str, SettingValue)]) -> Settings {
    plugin.settings(&given(values)).unwrap()
}

fn given(values: &[(&str, SettingValue)]) -> BTreeMap<String, SettingValue> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn text(value: &str) -> SettingValue {
    SettingValue::Text(value.to_owned())
}

#[track_caller]
fn assert_says(error: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(error.contains(phrase), "`{phrase}` is missing in: {error}");
    }
    assert!(!error.contains("Stack backtrace"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    assert!(!error.ends_with('.'), "{error}");
}

fn moment(update: u64) -> Moment<'static> {
    Moment {
        update,
        updates: 1000,
        epoch: update as f64 / 10.0,
        epochs: 100,
        base_rate: 1e-3,
        group: Group {
            name: "decay",
            index: 0,
        },
    }
}

fn request(blocks: usize, modules: u32) -> PartitionRequest {
    let cost = |name: String| Cost {
        name,
        parameters: 1000,
        forward_macs: 2000,
        activation_bytes: 3000,
        milliseconds: None,
    };
    PartitionRequest {
        entry: cost("entry".to_owned()),
        blocks: (0..blocks)
            .map(|index| cost(format!("blocks.{index}")))
            .collect(),
        exit: cost("exit".to_owned()),
        modules,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    }
}

const STEP: StepInfo = StepInfo {
    update: 3,
    updates: 100,
    epoch: 0.3,
    classes: CLASSES as u32,
    pictures: PICTURES as u32,
};

/// Logits that require a gradient, and class ids.
fn batch() -> (Tensor<2>, Tensor<1, Int>) {
    let device = Device::flex().autodiff();
    let logits: Vec<f32> = (0..PICTURES * CLASSES)
        .map(|index| ((index * 29 + 5) % 17) as f32 * 0.4 - 3.0)
        .collect();
    let ids: Vec<i64> = (0..PICTURES)
        .map(|index| (index * 3 % CLASSES) as i64)
        .collect();
    let logits = Tensor::<1>::from_floats(logits.as_slice(), &device)
        .reshape([PICTURES, CLASSES])
        .detach()
        .require_grad();
    (logits, Tensor::from_ints(ids.as_slice(), &device))
}

fn inputs(logits: &Tensor<2>, ids: &Tensor<1, Int>) -> LossInputs {
    LossInputs {
        logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
        class_ids: AnyTensor::from_ids(ids.clone()).unwrap(),
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    }
}

fn loss_hook(reference: &str, values: &[(&str, SettingValue)]) -> LossHook {
    loss_hook_limited(reference, values, Limits::default())
}

fn loss_hook_limited(reference: &str, values: &[(&str, SettingValue)], limits: Limits) -> LossHook {
    let plugin = load_limited(reference, Kind::LossHook, limits);
    LossHook::new(&plugin, &settings(&plugin, values), CONTEXT).unwrap()
}

/// A loss hook that misbehaves, and the error of its first call.
fn failed_loss(fault: &str, limits: Limits) -> (LossHook, PluginError) {
    let mut hook = loss_hook_limited(&faulty("loss"), &[("fault", text(fault))], limits);
    let (logits, ids) = batch();
    let error = hook.compute(&STEP, inputs(&logits, &ids)).unwrap_err();
    assert_eq!(hook.statistics().live_tensors, 0, "{fault}");
    (hook, error)
}

fn close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert!((left - right).abs() < 1e-6, "{left} {right}");
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn built_in_plugins_are_what_the_table_says() {
    let host = host();
    let mut count = 0;
    for built_in in PluginHost::built_in() {
        let inspection = host.inspect(built_in.name).unwrap();
        assert_eq!(inspection.description.name, built_in.name);
        assert_eq!(inspection.kind, built_in.kind);
        assert_eq!(inspection.bytes, built_in.bytes.len());
        assert_eq!(inspection.sha256.len(), 64);
        assert_eq!(inspection.contract.unwrap().to_string(), "0.1.1");
        assert!(inspection.grants.is_empty());
        assert!(!inspection.description.summary.is_empty());
        let interface = format!("incubate:plugin/{}@0.1.1", built_in.kind.interface());
        assert!(inspection.exports.contains(&interface));
        assert!(
            inspection
                .imports
                .iter()
                .all(|import| import.starts_with("incubate:plugin/"))
        );
        let plugin = load(built_in.name, built_in.kind);
        assert_eq!(plugin.description(), &inspection.description);
        assert_eq!(plugin.sha256(), inspection.sha256);
        count += 1;
    }
    // Every component in the folder of those that ship is one.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/dist");
    let files = std::fs::read_dir(folder).unwrap();
    let components = files.filter(|file| {
        let path = file.as_ref().unwrap().path();
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    assert_eq!(count, components.count());
}

#[test]
fn a_cache_changes_nothing_and_a_broken_one_neither() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for cache in [
        folder.path().join("cache"),
        folder.path().join("cache"),
        file,
    ] {
        let host = PluginHost::new(Some(&cache)).unwrap();
        let plugin = host
            .load(
                "constant",
                Kind::LrSchedule,
                &Grants::none(),
                &Limits::default(),
            )
            .unwrap();
        assert_eq!(plugin.description().name, "constant");
    }
    assert!(folder.path().join("cache").read_dir().unwrap().count() > 0);
}

#[test]
fn partitions_of_the_built_in_schemes() {
    let depths = |name: &str, values: &[(&str, SettingValue)], blocks, modules| {
        let plugin = load(name, Kind::PartitionScheme);
        let mut scheme = PartitionScheme::new(&plugin, &settings(&plugin, values)).unwrap();
        let first = scheme.divide(&request(blocks, modules))?;
        assert_eq!(scheme.divide(&request(blocks, modules))?, first);
        Ok::<_, PluginError>(first)
    };
    let module = |target, meta| ModuleDepth { target, meta };
    assert_eq!(
        depths("uniform", &[], 12, 4).unwrap(),
        vec![module(3, 1); 4]
    );
    assert_eq!(
        depths("uniform", &[], 7, 3).unwrap(),
        [module(3, 1), module(2, 1), module(2, 1)]
    );
    let listed = [("depths", SettingValue::Integers(vec![1, 2, 5]))];
    assert_eq!(
        depths("explicit", &listed, 8, 3).unwrap(),
        [module(1, 1), module(2, 1), module(5, 1)]
    );
    let error = depths("explicit", &listed, 9, 3).unwrap_err();
    assert_eq!(error.hook, Some(Hook::Divide));
    assert_says(
        &error.to_string(),
        &["plugin `explicit` 0.1.0 (built in), hook `divide`"],
    );
}

#[test]
fn cosine_is_its_formula() {
    let plugin = load("cosine", Kind::LrSchedule);
    let values = [
        ("min_rate", SettingValue::Number(1e-5)),
        ("warmup", SettingValue::Integer(5)),
        ("warmup_rate", SettingValue::Number(1e-6)),
    ];
    let mut schedule = Schedule::new(&plugin, &settings(&plugin, &values), CONTEXT).unwrap();
    assert_eq!(schedule.stepping(), Stepping::PerEpoch);
    for epoch in 0..100 {
        let rate = schedule.rate(&moment(epoch * 10)).unwrap();
        let time = epoch as f64;
        let expected = if epoch < 5 {
            1e-6 + time * (1e-3 - 1e-6) / 5.0
        } else {
            1e-5 + 0.5 * (1e-3 - 1e-5) * (1.0 + (std::f64::consts::PI * time / 100.0).cos())
        };
        assert!(
            (rate - expected).abs() < 1e-15,
            "{epoch}: {rate} {expected}"
        );
    }
    assert_eq!(schedule.save().unwrap(), Vec::<u8>::new());
    schedule.restore(&[]).unwrap();
    schedule.observe(&moment(10), &[("loss", 1.5)]).unwrap();
    let error = schedule.restore(&[1, 2]).unwrap_err();
    assert_says(&error.to_string(), &["hook `restore`", "2 bytes"]);
}

/// The value of a loss and its gradient with respect to `leaf`.
fn differentiated(loss: Tensor<1>, leaf: &Tensor<2>) -> (Vec<f32>, Vec<f32>) {
    let value = numbers(loss.clone());
    (value, numbers(leaf.grad(&loss.backward()).unwrap()))
}

/// Rows that sum to 1.
fn soft_targets() -> Tensor<2> {
    log_softmax(batch().0.detach() * -0.7, 1).exp()
}

fn assert_same_loss(
    hook: &mut LossHook,
    soft_targets: Option<Tensor<2>>,
    native: impl FnOnce(Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
) {
    // A graph is differentiated once, so each side gets a leaf of its own.
    let (logits, ids) = batch();
    let mut inputs = inputs(&logits, &ids);
    inputs.soft_targets = soft_targets.map(|soft| AnyTensor::from_tensor(soft).unwrap());
    let loss = hook.compute(&STEP, inputs).unwrap();
    let found = differentiated(loss.into_scalar_tensor().unwrap(), &logits);
    let (logits, ids) = batch();
    let expected = differentiated(native(logits.clone(), ids), &logits);
    close(&found.0, &expected.0);
    close(&found.1, &expected.1);
    assert!(found.1.iter().any(|value| value.abs() > 1e-3));
}

/// A hook can wait for the device in one way only, and it has to import that.
#[test]
fn no_loss_that_ships_waits_for_the_device() {
    let losses = PluginHost::built_in().filter(|plugin| plugin.kind == Kind::LossHook);
    let mut seen = 0;
    for plugin in losses {
        let found = host().inspect(plugin.name).unwrap();
        let reading = |name: &&String| name.contains("readback");
        assert_eq!(found.imports.iter().find(reading), None, "{}", plugin.name);
        assert!(!found.grants.contains(&Grant::ReadBack), "{}", plugin.name);
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn cross_entropy_equals_the_native_one_in_value_and_gradient() {
    for smoothing in [0.0_f32, 0.1] {
        let number = SettingValue::Number(f64::from(smoothing));
        let mut hook = loss_hook("cross-entropy", &[("smoothing", number)]);
        assert_same_loss(&mut hook, None, |logits, ids| {
            CrossEntropyLossConfig::new()
                .with_smoothing((smoothing > 0.0).then_some(smoothing))
                .init(&logits.device())
                .forward(logits, ids)
        });
        assert_same_loss(&mut hook, Some(soft_targets()), |logits, _| {
            let targets = soft_targets() * (1.0 - smoothing) + smoothing / CLASSES as f32;
            (log_softmax(logits, 1) * targets).sum() / -(PICTURES as f32)
        });
        let statistics = hook.statistics();
        assert_eq!(statistics.live_tensors, 0);
        assert_eq!(statistics.readbacks, 0);
        assert!(statistics.operations >= 7 && statistics.fuel > 0);
        assert!((2..=8).contains(&statistics.peak_tensors));
    }
}

#[test]
fn the_gradient_reaches_a_parameter_behind_the_logits() {
    let device = Device::flex().autodiff();
    let pictures = Tensor::<2>::random([PICTURES, 6], Distribution::Default, &device);
    let linear = LinearConfig::new(6, CLASSES).init(&device);
    let ids = batch().1;
    let mut hook = loss_hook("cross-entropy", &[]);
    let loss = hook
        .compute(&STEP, inputs(&linear.forward(pictures.clone()), &ids))
        .unwrap();
    let gradients = loss.into_scalar_tensor().unwrap().backward();
    let native = CrossEntropyLossConfig::new()
        .init(&device)
        .forward(linear.forward(pictures), ids)
        .backward();
    let found = numbers(linear.weight.grad(&gradients).unwrap());
    close(&found, &numbers(linear.weight.grad(&native).unwrap()));
    assert!(found.iter().any(|value| value.abs() > 1e-3));
}

#[test]
fn two_runs_are_equal_to_the_bit() {
    let run = || {
        let mut hook = loss_hook("cross-entropy", &[("smoothing", SettingValue::Number(0.1))]);
        let (logits, ids) = batch();
        let bits: Vec<u32> = (0..3)
            .map(|_| {
                let loss = hook.compute(&STEP, inputs(&logits, &ids)).unwrap();
                loss.read().unwrap()[0].to_bits()
            })
            .collect();
        (bits, hook.statistics())
    };
    assert_eq!(run(), run());
}

#[test]
fn faults_of_a_schedule() {
    let plugin = load(&faulty("schedule"), Kind::LrSchedule);
    let schedule = |fault: &str| {
        let values = [("fault", text(fault)), ("after", SettingValue::Integer(2))];
        Schedule::new(&plugin, &settings(&plugin, &values), CONTEXT).unwrap()
    };
    assert_eq!(schedule("none").rate(&moment(5)).unwrap(), 1e-3);
    let cases: [(&str, &[&str]); 6] = [
        (
            "nan",
            &["learning rate is NaN", "update 2 of 1000", "group `decay`"],
        ),
        ("negative", &["learning rate is -0.001"]),
        ("infinite", &["learning rate is inf"]),
        (
            "fault",
            &["this moment was refused on request (set `fault` to `none`)"],
        ),
        (
            "trap",
            &[
                "crashed",
                "it said: panicked at",
                "trapped on request",
                "rate",
            ],
        ),
        (
            "endless-loop",
            &["limit of 50000000 instructions in one call", "raise `fuel`"],
        ),
    ];
    for (fault, phrases) in cases {
        let mut schedule = schedule(fault);
        assert_eq!(schedule.rate(&moment(0)).unwrap(), 1e-3);
        assert_eq!(schedule.rate(&moment(1)).unwrap(), 1e-3);
        let error = schedule.rate(&moment(2)).unwrap_err();
        assert_eq!(error.hook, Some(Hook::Rate));
        assert_eq!(error.plugin.name.as_deref(), Some("faulty-schedule"));
        let error = error.to_string();
        assert_says(
            &error,
            &[
                "plugin `faulty-schedule` 0.1.0 (",
                "faulty-schedule.wasm), hook `rate`: ",
            ],
        );
        assert_says(&error, phrases);
        let again = schedule.rate(&moment(0));
        if ["trap", "endless-loop"].contains(&fault) {
            assert_says(
                &again.unwrap_err().to_string(),
                &["stopped by an earlier failure"],
            );
        } else {
            assert_eq!(again.unwrap(), 1e-3, "{fault}");
        }
    }
}

/// The functions that were running are named as in the source, without the machinery of panics.
#[test]
fn a_crash_shows_the_functions_of_the_plugin() {
    let (_, error) = failed_loss("trap", Limits::default());
    let PluginErrorKind::Trap {
        reason,
        message,
        frames,
    } = *error.kind
    else {
        panic!("{error}");
    };
    assert!(reason.contains("unreachable"), "{reason}");
    assert!(message.unwrap().contains("trapped on request"));
    assert!(frames[0].contains("compute"), "{frames:?}");
    assert!(
        frames.iter().all(|frame| !frame.contains("panicking")),
        "{frames:?}"
    );
    assert!(
        frames.iter().all(|frame| !frame.starts_with("_ZN")),
        "{frames:?}"
    );
}

#[test]
fn faults_of_a_partition_scheme() {
    let plugin = load(&faulty("partition"), Kind::PartitionScheme);
    let divide = |fault: &str| {
        let values = settings(&plugin, &[("fault", text(fault))]);
        PartitionScheme::new(&plugin, &values)
            .unwrap()
            .divide(&request(6, 3))
    };
    assert_eq!(divide("none").unwrap().len(), 3);
    let cases: [(&str, &[&str]); 8] = [
        (
            "does-not-sum",
            &["partition [1, 1, 5] has 7 blocks, and the model has 6"],
        ),
        ("zero-depth", &["module 0 of the partition has no blocks"]),
        (
            "meta-too-deep",
            &["meta module of module 0 has 2 blocks, and its target module has 1"],
        ),
        ("wrong-count", &["has 4 modules instead of 3"]),
        (
            "fault",
            &["this model was refused on request (set `fault` to `none`)"],
        ),
        ("trap", &["crashed", "trapped on request", "divide"]),
        ("endless-loop", &["limit of 50000000 instructions"]),
        (
            "eats-memory",
            &[
                "limit of 16777216 bytes of memory by asking for",
                "raise `memory_bytes`",
            ],
        ),
    ];
    for (fault, phrases) in cases {
        let error = divide(fault).unwrap_err();
        assert_eq!(error.hook, Some(Hook::Divide));
        assert_says(
            &error.to_string(),
            &["plugin `faulty-partition` 0.1.0", "hook `divide`"],
        );
        assert_says(&error.to_string(), phrases);
    }
}

#[test]
fn faults_of_a_loss_hook() {
    let cases: [(&str, &[&str]); 6] = [
        (
            "not-scalar",
            &[
                "the loss has the shape [8, 5]",
                "a tensor of one float is needed",
            ],
        ),
        (
            "shape-error",
            &["`add` does not fit the shapes [8, 5] and [6]"],
        ),
        (
            "fault",
            &["this batch was refused on request (set `fault` to `none`)"],
        ),
        ("trap", &["crashed", "trapped on request", "compute"]),
        ("endless-loop", &["limit of 50000000 instructions"]),
        (
            "leaks-handles",
            &[
                "limit of 256 tensors at the same time by asking for 257",
                "`live_tensors`",
            ],
        ),
    ];
    for (fault, phrases) in cases {
        let (_, error) = failed_loss(fault, Limits::default());
        assert_eq!(error.hook, Some(Hook::Compute));
        assert_says(
            &error.to_string(),
            &["plugin `faulty-loss` 0.1.0 (", "hook `compute`"],
        );
        assert_says(&error.to_string(), phrases);
    }
    // These two are sound answers; what they are worth, the training loop finds out.
    for fault in ["not-finite", "detached"] {
        let mut hook = loss_hook(&faulty("loss"), &[("fault", text(fault))]);
        let (logits, ids) = batch();
        let loss = hook.compute(&STEP, inputs(&logits, &ids)).unwrap();
        assert_eq!(loss.shape(), [0_usize; 0]);
        assert_eq!(loss.read().unwrap()[0].is_nan(), fault == "not-finite");
    }
}

#[test]
fn a_fault_leaves_the_instance_alive_and_a_crash_does_not() {
    let (logits, ids) = batch();
    let (mut hook, _) = failed_loss("fault", Limits::default());
    let error = hook.compute(&STEP, inputs(&logits, &ids)).unwrap_err();
    assert!(matches!(
        *error.kind,
        PluginErrorKind::Fault {
            code: "invalid-input",
            ..
        }
    ));
    let (mut hook, _) = failed_loss("trap", Limits::default());
    let error = hook.compute(&STEP, inputs(&logits, &ids)).unwrap_err();
    assert!(matches!(*error.kind, PluginErrorKind::Stopped));
    assert!(matches!(
        *hook.save().unwrap_err().kind,
        PluginErrorKind::Stopped
    ));
    // The message of the panic is kept for the record although the instance is gone.
    let said = hook.drain_messages();
    assert!(matches!(
        &said[..],
        [Message::Log {
            level: Level::Error,
            hook: Hook::Compute,
            ..
        }]
    ));
    assert!(hook.drain_messages().is_empty());
}

/// A plugin that never drops its tensors is replaced before its handles become a burden.
#[test]
fn kept_handles_do_not_pile_up() {
    let (logits, ids) = batch();
    let mut hook = loss_hook(&faulty("loss"), &[("fault", text("leaks-handles"))]);
    for _ in 0..100 {
        let error = hook.compute(&STEP, inputs(&logits, &ids)).unwrap_err();
        assert_eq!(limit_of(error), Limit::LiveTensors);
        assert_eq!(hook.statistics().live_tensors, 0);
    }
    let statistics = hook.statistics();
    assert_eq!(statistics.replacements, 1);
    assert_eq!(statistics.peak_tensors, 256);
}

#[track_caller]
fn limit_of(error: PluginError) -> Limit {
    match *error.kind {
        PluginErrorKind::Limit(breach) => breach.limit,
        _ => panic!("{error}"),
    }
}

#[test]
fn every_limit_is_kept() {
    let limits = Limits::default();
    let deadline = Limits {
        fuel: u64::MAX,
        deadline_ms: 60,
        ..limits
    };
    let begun = std::time::Instant::now();
    let (_, error) = failed_loss("endless-loop", deadline);
    assert_says(
        &error.to_string(),
        &["limit of 60 milliseconds", "raise `deadline_ms`"],
    );
    assert!(begun.elapsed().as_secs() < 20);

    let few = Limits {
        live_tensors: 3,
        ..limits
    };
    assert_eq!(limit_of(failed_loss("none", few).1), Limit::LiveTensors);
    let small = Limits {
        device_bytes: 100,
        ..limits
    };
    assert_eq!(limit_of(failed_loss("none", small).1), Limit::DeviceBytes);

    let (logits, ids) = batch();
    let quiet = Limits {
        log_bytes: 10,
        ..limits
    };
    let mut hook = loss_hook_limited(&faulty("read-back"), &[], quiet);
    let error = hook.compute(&STEP, inputs(&logits, &ids)).unwrap_err();
    assert_says(
        &error.to_string(),
        &["limit of 10 bytes of messages", "raise `log_bytes`"],
    );
    assert_eq!(hook.statistics().live_tensors, 0);

    for (limits, limit) in [
        (
            Limits {
                memory_bytes: 1 << 16,
                ..limits
            },
            Limit::MemoryBytes,
        ),
        (
            Limits {
                table_elements: 1,
                ..limits
            },
            Limit::TableElements,
        ),
        (
            Limits {
                instances: 0,
                ..limits
            },
            Limit::Instances,
        ),
        (Limits { fuel: 10, ..limits }, Limit::Fuel),
    ] {
        let loaded = host().load("constant", Kind::LrSchedule, &Grants::none(), &limits);
        assert_eq!(limit_of(loaded.unwrap_err()), limit);
    }
}

#[test]
fn reading_back_needs_a_grant_and_is_counted() {
    let error = refused(&faulty("read-back"), Kind::LossHook);
    assert_says(
        &error,
        &[
            "faulty-read-back.wasm",
            "`incubate:plugin/readback@0.1.1`",
            "needs the grant `read-back`",
            "add the line `read-back = \"why the plugin needs it\"` to the table `[loss.grants]`",
        ],
    );
    let inspection = host().inspect(&faulty("read-back")).unwrap();
    assert_eq!(inspection.grants, [Grant::ReadBack]);

    let mut hook = loss_hook(&faulty("read-back"), &[]);
    let (logits, ids) = batch();
    for call in 1..=3 {
        let loss = hook.compute(&STEP, inputs(&logits, &ids)).unwrap();
        let value = loss.read().unwrap()[0];
        assert_eq!(hook.statistics().readbacks, call);
        let [
            Message::Log {
                level: Level::Info,
                text,
                ..
            },
            Message::Metric {
                name, value: read, ..
            },
        ] = &hook.drain_messages()[..]
        else {
            panic!("a message and a metric are expected");
        };
        assert_eq!(text, &format!("the loss is {value}"));
        assert_eq!((name.as_str(), *read), ("read_back", f64::from(value)));
    }
}

#[test]
fn files_that_are_no_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let component = PluginHost::built_in().next().unwrap().bytes;
    let cases: [(String, &[&str]); 6] = [
        (
            file("text.wasm", b"(component)"),
            &["text.wasm", "but a text", "incubate plugin build"],
        ),
        (file("empty.wasm", b""), &["but empty"]),
        (
            file("noise.wasm", &[0xff, 0xfe, 0x80]),
            &["but something else"],
        ),
        (
            file("core.wasm", b"\0asm\x01\0\0\0"),
            &["but a core module"],
        ),
        (
            file("half.wasm", &component[..component.len() / 2]),
            &["damaged"],
        ),
        (
            file("bare.wasm", b"\0asm\x0d\0\x01\0"),
            &["no plugin of this program", "exports nothing"],
        ),
    ];
    for (path, phrases) in cases {
        assert_says(&refused(&path, Kind::LossHook), phrases);
        assert!(host().inspect(&path).is_err());
    }
    let missing = folder.path().join("missing.wasm");
    let error = refused(missing.to_str().unwrap(), Kind::LossHook);
    assert_says(
        &error,
        &["missing.wasm", "cannot be read", "check the path"],
    );
    let error = refused("cosin", Kind::LrSchedule);
    assert_says(
        &error,
        &[
            "plugin `cosin`",
            "did you mean `cosine`?",
            "uniform, explicit, balanced, constant, cosine",
        ],
    );
}

#[test]
fn plugins_that_do_not_belong_here() {
    let error = refused("cosine", Kind::LossHook);
    assert_says(
        &error,
        &[
            "plugin `cosine` (built in)",
            "is a learning-rate schedule, and a loss hook is wanted",
        ],
    );
    let error = refused(&faulty("next-contract"), Kind::LrSchedule);
    assert_says(
        &error,
        &[
            "version 0.2.0 of the contract",
            "this program offers 0.1.1",
            "this program is older",
        ],
    );
    let error = refused(&faulty("ungranted"), Kind::LrSchedule);
    assert_says(
        &error,
        &[
            "imports `wasi:clocks/wall-clock@0.2.0`, which plugins do not get",
            "is granted `incubate:plugin/log`, `incubate:plugin/metrics`, `incubate:plugin/random` and nothing else",
        ],
    );
    let plugin = load("cosine", Kind::LrSchedule);
    let error = LossHook::new(&plugin, &settings(&plugin, &[]), CONTEXT).unwrap_err();
    assert!(matches!(*error.kind, PluginErrorKind::Kind { .. }));
}

#[test]
fn settings_are_checked_against_the_description() {
    let plugin = load("cosine", Kind::LrSchedule);
    let refused =
        |values: &[(&str, SettingValue)]| plugin.settings(&given(values)).unwrap_err().to_string();
    let cases: [(&str, SettingValue, &[&str]); 6] = [
        (
            "min_rat",
            SettingValue::Number(0.0),
            &[
                "no parameter `min_rat`; did you mean `min_rate`?",
                "cycle_mul",
            ],
        ),
        (
            "min_rate",
            text("low"),
            &["`min_rate` is \"low\" (it needs a number)"],
        ),
        (
            "min_rate",
            SettingValue::Number(-1.0),
            &["`min_rate` is -1.0 (allowed: at least 0)"],
        ),
        (
            "min_rate",
            SettingValue::Number(f64::NAN),
            &["`min_rate` is NaN"],
        ),
        (
            "cycles",
            SettingValue::Integer(1001),
            &["`cycles` is 1001 (allowed: 0 to 1000)"],
        ),
        (
            "per",
            text("step"),
            &["`per` is \"step\" (allowed: epoch, update)"],
        ),
    ];
    for (key, value, phrases) in cases {
        let error = refused(&[(key, value)]);
        assert_says(&error, &["plugin `cosine` 0.1.0 (built in): "]);
        assert_says(&error, phrases);
    }
    let filled = settings(&plugin, &[("min_rate", SettingValue::Integer(0))]);
    assert_eq!(filled.get("min_rate"), Some(&SettingValue::Number(0.0)));
    assert_eq!(filled.get("cycles"), Some(&SettingValue::Integer(1)));
    assert_eq!(filled.get("cycle_epochs"), None, "optional and not given");

    let plugin = load("explicit", Kind::PartitionScheme);
    let error = plugin.settings(&BTreeMap::new()).unwrap_err();
    assert_says(
        &error.to_string(),
        &["the parameter `depths` needs a value ("],
    );
}

#[test]
fn settings_from_an_experiment_file() {
    let parse = |text: &str| -> Result<BTreeMap<String, SettingValue>, toml::de::Error> {
        toml::from_str(text)
    };
    let values =
        parse("a = true\nb = 3\nc = 0.5\nd = \"x\"\ne = [1, 2]\nf = [1, 0.5]\ng = [\"x\"]\nh = []")
            .unwrap();
    assert_eq!(
        values.values().cloned().collect::<Vec<_>>(),
        [
            SettingValue::Boolean(true),
            SettingValue::Integer(3),
            SettingValue::Number(0.5),
            text("x"),
            SettingValue::Integers(vec![1, 2]),
            SettingValue::Numbers(vec![1.0, 0.5]),
            SettingValue::Texts(vec!["x".to_owned()]),
            SettingValue::Integers(Vec::new()),
        ]
    );
    let back = toml::to_string(&values).unwrap();
    assert_eq!(parse(&back).unwrap(), values);
    for (line, phrase) in [
        ("a = 1979-05-27", "a date is no value"),
        ("a = [1, \"x\"]", "a mixed list is no value"),
        ("a = { b = 1 }", "a table is no value"),
    ] {
        assert_says(parse(line).unwrap_err().message(), &[phrase]);
    }
    let limits: Limits = toml::from_str("fuel = 5").unwrap();
    assert_eq!(
        limits,
        Limits {
            fuel: 5,
            ..Limits::default()
        }
    );
    assert!(toml::from_str::<Limits>("fule = 5").is_err());
}

/// What every hook computes stays on the device of its inputs, with or without differentiation.
#[test]
fn a_loss_can_be_computed_without_differentiation() {
    let (logits, ids) = batch();
    let mut hook = loss_hook("cross-entropy", &[]);
    let recorded = hook.compute(&STEP, inputs(&logits, &ids)).unwrap();
    let plain = hook
        .compute(&STEP, inputs(&logits.inner(), &ids.inner()))
        .unwrap();
    assert_eq!(plain.read().unwrap(), recorded.read().unwrap());
    let sum = recorded.apply(Operation::Sum(&[])).unwrap();
    assert!(sum.into_scalar_tensor().is_ok());
}
