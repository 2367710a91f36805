//! Deny by default: what a plugin may do stands in the experiment with a reason, a missing grant fails
//! before training, and nothing that one plugin was allowed reaches another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use incubate::experiment::{self, Experiment, LossTerm, PhaseConfig};
use incubate::model::{Architecture, Network, Noise, VitConfig, trained_weights};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grant, Grants, Kind, Limit, Limits, LossHook, LossInputs, Message,
    PartitionRequest, PartitionScheme, PluginHost, SettingValue, StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{incubate, tiny_with};

const PICTURES: usize = 4;
const CLASSES: usize = 3;

fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

/// A component of the tests.
fn component(name: &str) -> String {
    format!("{}/tests/plugins/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn assert_says(error: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(error.contains(phrase), "`{phrase}` is missing in: {error}");
    }
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn every_grant_is_needed_by_what_it_opens_and_by_nothing_else() {
    for (name, grant, interface) in [
        ("faulty-read-back", Grant::ReadBack, "readback@0.1."),
        ("witness", Grant::Random, "random@0.1."),
        ("weight-penalty", Grant::Weights, "weights@0.1."),
    ] {
        let reference = component(name);
        let load = |grants: &[Grant]| {
            let grants = Grants::of(grants);
            host().load(&reference, Kind::LossHook, &grants, &Limits::default())
        };
        let others: Vec<Grant> = Grant::ALL.into_iter().filter(|one| *one != grant).collect();
        assert_says(
            &load(&others).unwrap_err().to_string(),
            &[
                name,
                interface,
                &format!("needs the grant `{grant}`"),
                &format!("add the line `{}`", grant.example()),
                "`[loss.grants]`",
                "`[meta.loss.grants]`",
            ],
        );
        assert!(load(&[grant]).unwrap().unused_grants().is_empty());
        assert_eq!(load(&Grant::ALL).unwrap().unused_grants(), others);
        assert_eq!(host().inspect(&reference).unwrap().grants, [grant]);
    }
}

/// Three stages of which the second is trained inside the frozen others.
fn hybrid() -> Network {
    let architecture = Architecture::Vit(VitConfig {
        image_size: 8,
        patch_size: 4,
        channels: 1,
        classes: CLASSES,
        width: 8,
        depth: 4,
        heads: 2,
        mlp_ratio: 2,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    });
    architecture
        .network(&[1, 2, 1], Seed(5), Phase::Module(1), &Device::flex())
        .unwrap()
        .freeze_all_but(1)
}

/// The loss hook that penalizes what it sees, with this text for its grants and parameters.
fn penalty(grants: &str, parameters: &str) -> LossHook {
    let grants: Grants = toml::from_str(grants).unwrap();
    let limits = Limits::default();
    let plugin = host()
        .load(
            &component("weight-penalty"),
            Kind::LossHook,
            &grants,
            &limits,
        )
        .unwrap();
    let parameters: BTreeMap<String, SettingValue> = toml::from_str(parameters).unwrap();
    let context = Context {
        seed: Seed(0),
        phase: Phase::Module(1),
    };
    LossHook::new(&plugin, &plugin.settings(&parameters).unwrap(), context).unwrap()
}

fn grant(names: &[&str]) -> String {
    format!("weights = {{ names = {names:?}, reason = \"a penalty\" }}")
}

fn class_ids() -> Tensor<1, Int> {
    Tensor::from_ints([0, 2, 1, 2], &Device::flex().autodiff())
}

fn logits(network: &Network) -> Tensor<2> {
    let count = PICTURES * 64;
    let pictures: Vec<f32> = (0..count).map(|index| (index % 13) as f32 / 13.0).collect();
    let pictures = Tensor::<1>::from_floats(pictures.as_slice(), &Device::flex());
    let pictures = pictures.reshape([PICTURES, 1, 8, 8]);
    network.forward_hybrid(pictures, 1, &Noise::off()).logits
}

fn compute(hook: &mut LossHook, network: &Network) -> Result<Tensor<1>, String> {
    let step = StepInfo {
        update: 0,
        updates: 1,
        epoch: 0.0,
        classes: CLASSES as u32,
        pictures: PICTURES as u32,
    };
    let weights = hook.weights().map_or_else(Vec::new, |granted| {
        trained_weights(network, |name| granted.allow(name)).unwrap()
    });
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(logits(network)).unwrap(),
        class_ids: AnyTensor::from_ids(class_ids()).unwrap(),
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights,
        teacher: None,
    };
    let loss = hook
        .compute(&step, inputs)
        .map_err(|error| error.to_string())?;
    Ok(loss.into_scalar_tensor().unwrap())
}

/// The gradients of a loss by the position of the parameter in the network.
fn gradients(network: &Network, loss: &Tensor<1>) -> Vec<Option<Vec<f32>>> {
    struct Collector {
        source: burn::tensor::Gradients,
        found: Vec<Option<Vec<f32>>>,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(&self.source);
            self.found
                .push(gradient.map(|gradient| gradient.into_data().iter().collect()));
        }
    }
    let mut collector = Collector {
        source: loss.backward(),
        found: Vec::new(),
    };
    network.visit(&mut collector);
    collector.found
}

/// Cross-entropy and the squares of the trained weights that are `wanted`, without a plugin.
fn native(network: &Network, factor: f32, wanted: fn(&str) -> bool) -> Tensor<1> {
    struct Squares {
        place: usize,
        wanted: Vec<bool>,
        sum: Tensor<1>,
    }
    impl ModuleVisitor for Squares {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.wanted[self.place] && param.is_require_grad() {
                self.sum = self.sum.clone() + param.val().powi_scalar(2).sum();
            }
            self.place += 1;
        }
    }
    let mut squares = Squares {
        place: 0,
        wanted: incubate::model::parameters::parameters(network)
            .iter()
            .map(|parameter| wanted(&parameter.name))
            .collect(),
        sum: Tensor::zeros([1], &Device::flex().autodiff()),
    };
    network.visit(&mut squares);
    let likelihoods = log_softmax(logits(network), 1).gather(1, class_ids().unsqueeze_dim(1));
    likelihoods.mean() * -1.0 + squares.sum * factor
}

#[test]
fn a_penalty_on_weights_has_the_gradient_of_the_native_one() {
    let network = hybrid();
    for (names, wanted) in [
        (&["*"][..], (|_| true) as fn(&str) -> bool),
        (
            &["stages.*.attn.qkv.weight", "stages.1.blocks.0.norm1.bias"],
            |name| name.ends_with("attn.qkv.weight") || name == "stages.1.blocks.0.norm1.bias",
        ),
    ] {
        let mut hook = penalty(&grant(names), "factor = 0.3");
        let loss = compute(&mut hook, &network).unwrap();
        let expected_loss = native(&network, 0.3, wanted);
        let numbers = |tensor: &Tensor<1>| tensor.clone().into_data().iter::<f32>().next().unwrap();
        assert!((numbers(&loss) - numbers(&expected_loss)).abs() < 1e-4);
        let found = gradients(&network, &loss);
        let expected = gradients(&network, &expected_loss);
        let plain = gradients(&network, &native(&network, 0.0, wanted));
        assert_eq!(found.len(), expected.len());
        let (mut compared, mut steered) = (0, 0);
        for ((found, expected), plain) in found.iter().zip(&expected).zip(&plain) {
            let (Some(found), Some(expected), Some(plain)) = (found, expected, plain) else {
                assert!(found.is_none() && expected.is_none(), "a frozen weight");
                continue;
            };
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
            compared += 1;
            steered += usize::from(found.iter().zip(plain).any(|(a, b)| (a - b).abs() > 1e-3));
        }
        // Twelve parameters in each of two blocks; biases begin at 0 and feel no penalty.
        assert_eq!(compared, 24);
        assert_eq!(steered, if names.len() == 1 { 12 } else { 2 });
        assert_eq!(hook.statistics().live_tensors, 0);
        assert_eq!(hook.statistics().readbacks, 0);
    }
}

#[test]
fn a_hook_sees_the_trained_weights_that_are_granted_and_nothing_else() {
    let network = hybrid();
    let mut hook = penalty(&grant(&["stages.*.norm1.*", "stages.2.head.weight"]), "");
    compute(&mut hook, &network).unwrap();
    let metrics: BTreeMap<String, f64> = hook
        .drain_messages()
        .into_iter()
        .filter_map(|message| match message {
            Message::Metric { name, value, .. } => Some((name, value)),
            Message::Log { .. } => None,
        })
        .collect();
    // Two norms of two vectors of eight numbers; the head and the other norms are frozen.
    assert_eq!(metrics["weights"], 4.0);
    assert_eq!(metrics["numbers"], 32.0);
    assert_eq!(metrics["shown_too_early"], 0.0);
    for (name, phrases) in [
        (
            "stages.1.blocks.0.mlp.fc1.weight",
            &[
                "hook `compute`",
                "the weight `stages.1.blocks.0.mlp.fc1.weight` is not granted",
                "granted: `stages.*.norm1.*`, `stages.2.head.weight`",
                "add the name to `weights`",
            ][..],
        ),
        (
            "stages.2.head.weight",
            &[
                "this phase trains no weight `stages.2.head.weight`",
                "frozen ones cannot",
            ],
        ),
        (
            "stages.1.blocks.7.norm1.weight",
            &[
                "this phase trains no weight",
                "did you mean `stages.1.blocks.0.norm1.weight`?",
            ],
        ),
    ] {
        let names = grant(&["stages.*.norm1.*", "stages.2.head.weight"]);
        let mut hook = penalty(&names, &format!("also = {name:?}"));
        assert_says(&compute(&mut hook, &network).unwrap_err(), phrases);
    }
    // A hook without the import is not shown any, whatever is granted.
    let plugin = host()
        .load(
            "cross-entropy",
            Kind::LossHook,
            &Grants::of(&[Grant::Weights]),
            &Limits::default(),
        )
        .unwrap();
    let context = Context {
        seed: Seed(0),
        phase: Phase::Meta,
    };
    let settings = plugin.settings(&BTreeMap::new()).unwrap();
    let hook = LossHook::new(&plugin, &settings, context).unwrap();
    assert!(hook.weights().is_none());
}

/// A linear map has the shape of the weight file, in the penalty and in its gradient.
#[test]
fn a_weight_has_the_shape_of_the_weight_file() {
    let weights = trained_weights(&hybrid(), |name| name.ends_with("mlp.fc1.weight")).unwrap();
    let shapes: Vec<&[usize]> = weights.iter().map(|(_, weight)| weight.shape()).collect();
    assert_eq!(shapes, [[16, 8]; 2]);
}

fn load(assignments: &[&str]) -> Experiment {
    let assignments: Vec<String> = assignments.iter().map(|&one| one.to_owned()).collect();
    experiment::load(None, &assignments).unwrap().experiment
}

/// The only hook of a phase's loss.
fn only(phase: &PhaseConfig) -> LossTerm {
    let (_, term) = phase.loss.terms().remove(0);
    term
}

#[test]
fn grants_limits_and_parameters_belong_to_one_plugin() {
    let shared = [
        "loss.plugin=./a.wasm",
        "loss.grants.random=noise",
        "loss.grants.read-back=prints",
        "loss.limits.fuel=60_000_000",
        "loss.limits.reason=a long loop",
        "loss.parameters.x=1",
    ];
    let experiment = load(&shared);
    for phase in [&experiment.meta, &experiment.module, &experiment.baseline] {
        let term = only(phase);
        assert_eq!(term.grants.reason(Grant::Random).unwrap().as_str(), "noise");
        assert_eq!(term.limits.limits.get(Limit::Fuel), 60_000_000);
        assert_eq!(term.parameters.len(), 1);
    }
    // A phase with another plugin: it starts with nothing, and the others keep what they have.
    let more: Vec<&str> = shared
        .into_iter()
        .chain(["module.loss.plugin=./b.wasm"])
        .collect();
    let experiment = load(&more);
    let module = only(&experiment.module);
    assert_eq!(module.grants, Grants::none());
    assert_eq!(module.limits, Default::default());
    assert!(module.parameters.is_empty());
    assert!(only(&experiment.meta).grants.contains(Grant::Random));
    // A phase with the same plugin changes what it names: another reason, or none at all.
    let more: Vec<&str> = shared
        .into_iter()
        .chain([
            "module.loss.plugin=./a.wasm",
            "module.loss.grants.random=false",
            "module.loss.limits.log_bytes=100",
        ])
        .collect();
    let experiment = load(&more);
    let loss = only(&experiment.module);
    assert_eq!(loss.grants.iter().collect::<Vec<_>>(), [Grant::ReadBack]);
    assert_eq!(loss.limits.limits.get(Limit::Fuel), 60_000_000);
    assert_eq!(loss.limits.limits.get(Limit::LogBytes), 100);
}

/// What a file grants in a phase is for the plugin that the file names, not for one that the command
/// line puts in its place.
#[test]
fn the_command_line_cannot_hand_the_grants_of_a_file_to_another_plugin() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let text = "[model]\npatch_size = 2\nwidth = 8\ndepth = 4\nheads = 2\n[loss]\nplugin = \"./a.wasm\"\n[loss.grants]\nread-back = \"prints\"\n[module.loss.grants]\nrandom = \"noise\"\n[module.loss.limits]\nfuel = 1\n";
    fs::write(&file, text).unwrap();
    let load = |assignments: &[&str]| {
        let assignments: Vec<String> = assignments.iter().map(|&one| one.to_owned()).collect();
        experiment::load(Some(file.to_str().unwrap()), &assignments).unwrap()
    };
    let as_written = only(&load(&[]).experiment.module);
    assert_eq!(
        as_written.grants.iter().collect::<Vec<_>>(),
        [Grant::ReadBack, Grant::Random]
    );
    for assignment in ["loss.plugin=./b.wasm", "module.loss.plugin=./b.wasm"] {
        let resolved = load(&[assignment]);
        let loss = only(&resolved.experiment.module);
        assert!(loss.plugin.ends_with("b.wasm"));
        assert_eq!(loss.grants, Grants::none(), "{assignment}");
        assert_eq!(loss.limits, Default::default(), "{assignment}");
        // The source of what is in force is told rightly, too.
        let settings = resolved.settings();
        let fuel = settings
            .iter()
            .find(|setting| setting.key == "module.loss.limits.fuel")
            .unwrap();
        assert_eq!(fuel.source.to_string(), "default");
    }
}

#[test]
fn what_is_written_wrongly_is_refused_with_the_right_form() {
    let set = |assignments: &[&str], status: i32, phrases: &[&str]| {
        let mut arguments = vec!["plan", "--device", "cpu"];
        for assignment in assignments {
            arguments.extend(["--set", assignment]);
        }
        incubate(&arguments).failed(status, phrases);
    };
    set(
        &["loss.grants=[\"read-back\", \"random\"]"],
        2,
        &[
            "`loss.grants`",
            "--set",
            "no list but a table",
            "read-back = \"why the plugin needs it\"",
            "random = \"why the plugin needs it\"",
            "[loss.grants]",
        ],
    );
    set(
        &["schedule.grants.random="],
        2,
        &["`schedule.grants`", "`random`", "is no reason"],
    );
    set(
        &["loss.grants.read-back=true"],
        2,
        &[
            "`read-back`",
            "its value is true",
            "why the plugin needs it",
        ],
    );
    set(
        &["module.loss.grants.readback=prints"],
        2,
        &["`module.loss.grants.readback`", "did you mean `read-back`?"],
    );
    set(
        &["loss.grants.weights=head"],
        2,
        &["`weights`", "names = [", "reason = "],
    );
    set(
        &["loss.grants.weights={ names = [\"*\"] }"],
        2,
        &["`weights`", "missing field `reason`"],
    );
    set(
        &["loss.limits.fuel=50_000_001"],
        2,
        &[
            "`loss.limits`",
            "`fuel` is raised to 50000001 from 50000000 without a reason",
            "add `reason = \"why the plugin needs more\"`",
        ],
    );
    set(
        &[
            "meta.loss.limits.memory_bytes=99999999",
            "meta.loss.limits.reason=-",
        ],
        2,
        &["`meta.loss.limits.reason`", "is no reason"],
    );
    set(
        &["partition.limits.fule=5"],
        2,
        &["`partition.limits.fule`", "did you mean `fuel`?"],
    );
    let witness = format!("loss.plugin={}", component("witness"));
    set(
        &[&witness],
        10,
        &[
            "`meta.loss`",
            "random@0.1.",
            "`[loss.grants]`",
            "random = \"why",
        ],
    );
    let penalty = format!("loss.plugin={}", component("weight-penalty"));
    set(
        &[
            &penalty,
            "loss.grants.weights={ names = [\"*.norm1.weight\", \"stages.*.haed.weight\"], reason = \"a penalty\" }",
        ],
        10,
        &[
            "`meta.loss`",
            "weight-penalty",
            "names `stages.*.haed.weight`",
            "nearest: `stages.3.head.weight`",
        ],
    );
    // In a phase, a name must be one of its own: no module but the last trains the head, and a
    // module of the digits has two blocks.
    let names = |names: &str| {
        format!("module.loss.grants.weights={{ names = [{names}], reason = \"a penalty\" }}")
    };
    let module = format!("module.loss.plugin={}", component("weight-penalty"));
    set(
        &[&module, &names("\"stages.0.blocks.2.norm1.weight\"")],
        10,
        &[
            "`module.loss`",
            "stages.0.blocks.2.norm1.weight",
            "stages.0.blocks.1.norm1.weight",
        ],
    );
    let arguments = ["plan", "--device", "cpu", "--set", &module, "--set"];
    let fits = names("\"stages.3.head.weight\", \"stages.0.blocks.1.*\"");
    incubate(&[&arguments[..], &[&fits]].concat()).succeeded();
}

#[test]
fn a_plan_notes_a_grant_without_use() {
    let plan = |assignment: &str| {
        let arguments = ["plan", "--device", "cpu", "--set", assignment];
        incubate(&arguments).succeeded().stdout
    };
    for (assignment, roles) in [
        ("meta.loss.grants.random=label noise", "`meta.loss`"),
        (
            "loss.grants.random=label noise",
            "`baseline.loss`, `fine-tune.loss`, `meta.loss`, `module.loss`",
        ),
    ] {
        let note = format!(
            "note: plugin `cross-entropy` 0.1.0 (built in) has the grant `random` in {roles} and does not import what it opens"
        );
        let shown = plan(assignment);
        assert!(shown.contains(&note), "{shown}");
    }
    assert!(!plan("seed=1").contains("note: "));
}

/// The message of a plugin that goes over one limit.
fn beyond(name: &str, kind: Kind, parameters: &str, limits: Limits) -> String {
    let reference = if name == "constant" {
        name.to_owned()
    } else {
        component(name)
    };
    let grants = Grants::of(&Grant::ALL);
    let plugin = match host().load(&reference, kind, &grants, &limits) {
        Ok(plugin) => plugin,
        Err(error) => return error.to_string(),
    };
    let parameters: BTreeMap<String, SettingValue> = toml::from_str(parameters).unwrap();
    let settings = plugin.settings(&parameters).unwrap();
    if kind == Kind::PartitionScheme {
        let mut scheme = PartitionScheme::new(&plugin, &settings).unwrap();
        let cost = Cost {
            name: "block".to_owned(),
            parameters: 1,
            forward_macs: 1,
            activation_bytes: 1,
            milliseconds: None,
        };
        let request = PartitionRequest {
            entry: cost.clone(),
            blocks: vec![cost.clone(); 4],
            exit: cost,
            modules: 2,
            devices: Vec::new(),
            bytes_per_parameter: 16,
        };
        return scheme.divide(&request).unwrap_err().to_string();
    }
    let context = Context {
        seed: Seed(0),
        phase: Phase::Meta,
    };
    let mut hook = LossHook::new(&plugin, &settings, context).unwrap();
    compute(&mut hook, &hybrid()).unwrap_err()
}

#[test]
fn every_limit_is_told_with_its_value_its_plugin_its_hook_and_what_to_change() {
    use Kind::{LossHook, LrSchedule, PartitionScheme};
    for (limit, value, name, kind, parameters, place) in [
        (
            Limit::Fuel,
            9_000_000,
            "faulty-loss",
            LossHook,
            "fault = 'endless-loop'",
            "hook `compute`",
        ),
        (
            Limit::DeadlineMs,
            50,
            "faulty-loss",
            LossHook,
            "fault = 'endless-loop'",
            "hook `compute`",
        ),
        (
            Limit::MemoryBytes,
            2_000_000,
            "faulty-partition",
            PartitionScheme,
            "fault = 'eats-memory'",
            "hook `divide`",
        ),
        (
            Limit::TableElements,
            1,
            "constant",
            LrSchedule,
            "",
            "when it was started",
        ),
        (
            Limit::Instances,
            0,
            "constant",
            LrSchedule,
            "",
            "when it was started",
        ),
        (
            Limit::LiveTensors,
            40,
            "faulty-loss",
            LossHook,
            "fault = 'leaks-handles'",
            "hook `compute`",
        ),
        (
            Limit::DeviceBytes,
            30,
            "faulty-loss",
            LossHook,
            "",
            "hook `compute`",
        ),
        (
            Limit::LogBytes,
            10,
            "faulty-read-back",
            LossHook,
            "",
            "hook `compute`",
        ),
    ] {
        let mut limits = Limits::default();
        if limit == Limit::DeadlineMs {
            limits.fuel = u64::MAX;
        }
        match limit {
            Limit::Fuel => limits.fuel = value,
            Limit::DeadlineMs => limits.deadline_ms = value,
            Limit::MemoryBytes => limits.memory_bytes = value,
            Limit::TableElements => limits.table_elements = value,
            Limit::Instances => limits.instances = value,
            Limit::LiveTensors => limits.live_tensors = value,
            Limit::DeviceBytes => limits.device_bytes = value,
            Limit::Operations => limits.operations = value,
            Limit::Work => limits.work = value,
            Limit::CopiedBytes => limits.copied_bytes = value,
            Limit::LogBytes => limits.log_bytes = value,
        }
        assert_says(
            &beyond(name, kind, parameters, limits),
            &[
                &format!("plugin `{name}`"),
                place,
                &format!("its limit of {value} "),
                &format!("raise `{}` in the `limits` table", limit.key()),
                "give the `reason` there",
            ],
        );
    }
}

fn metric(run: &Path, unit: &str, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "plugin-metric" && event["name"] == name)
        .map(|event| event["value"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_run_lends_each_phase_what_it_trains_and_records_why() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let plugin = format!("loss.plugin={}", component("weight-penalty"));
    let set = [
        &plugin,
        "loss.grants.weights={ names = [\"*.head.weight\", \"stages.0.*.norm1.weight\"], reason = \"a penalty\" }",
        "loss.limits.fuel=60_000_000",
        "loss.limits.log_bytes=1000",
        "loss.limits.reason=two loops over the weights",
        "training.accumulation=2",
    ];
    for unit in ["meta", "module.0", "module.1"] {
        tiny_with(&run, &set, &["--unit", unit]).succeeded();
    }
    // Two modules of two blocks for one each: meta has one first norm in stage 0 and the head, module
    // 0 two norms, module 1 the head. Four updates an epoch in two parts, and meta has two epochs.
    assert_eq!(metric(&run, "meta", "weights"), [2.0; 16]);
    assert_eq!(metric(&run, "module.0", "weights"), [2.0; 8]);
    assert_eq!(metric(&run, "module.1", "weights"), [1.0; 8]);
    assert_eq!(metric(&run, "module.1", "numbers"), [160.0; 8]);
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let loss = &record["plugins"]["module.loss"];
    assert_eq!(loss["grants"]["weights"]["reason"], "a penalty");
    assert_eq!(loss["grants"]["weights"]["names"][0], "*.head.weight");
    assert_eq!(loss["grants"].as_object().unwrap().len(), 1);
    let limits = loss["limits"].as_object().unwrap();
    assert_eq!(limits["reason"], "two loops over the weights");
    for limit in Limit::ALL {
        let expected = match limit {
            Limit::Fuel => 60_000_000,
            Limit::LogBytes => 1000,
            other => Limits::default().get(other),
        };
        assert_eq!(limits[limit.key()], expected, "{}", limit.key());
    }
    let schedule = &record["plugins"]["module.schedule"];
    assert_eq!(schedule["grants"].as_object().unwrap().len(), 0);
    assert_eq!(schedule["limits"]["fuel"], Limits::default().fuel);
    // Whoever opens the folder again with other grants has another experiment.
    let other = [&set[..], &["loss.grants.weights.reason=another"]].concat();
    tiny_with(&run, &other, &["--unit", "meta"]).failed(4, &["another experiment", "reason"]);
}
