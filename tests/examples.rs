//! The example plugins: built from source here, loaded as an experiment loads them, and compared
//! with their formulas in plain arithmetic.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::tensor::{Device, Int, Tensor};
use incubate::builder::{self, BuildError, Check, Event, Language};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grants, Group, Kind, Limits, LossHook, LossInputs, ModuleDepth, Moment,
    PartitionRequest, PartitionScheme, Plugin, PluginError, PluginHost, Schedule, SettingValue,
    StepInfo, Stepping,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;

pub(crate) const CONTEXT: Context = Context {
    seed: Seed(7),
    phase: Phase::Meta,
};

/// The folder of an example in the source.
pub(crate) fn example(language: Language, kind: Kind) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "plugins/examples",
        language.name(),
        kind.world(),
    ]
    .iter()
    .collect()
}

/// A copy of the files of a folder, so that a build leaves the source alone.
pub(crate) fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// Builds the one plugin of `folder`; without the toolchain the test fails and says what to install.
#[track_caller]
pub(crate) fn built(folder: &Path) -> PathBuf {
    match builder::build(folder, &mut |_| {}) {
        Ok(components) => {
            assert_eq!(components.len(), 1);
            folder.join(&components[0].file)
        }
        Err(error @ BuildError::Lacks { .. }) => panic!("this test needs a compiler: {error}"),
        Err(error) => panic!("{error}"),
    }
}

/// One sandbox for all examples. Interpreters take seconds to compile, so their code is kept for the
/// second time that a component is loaded.
pub(crate) fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

pub(crate) fn load(component: &Path, kind: Kind) -> Plugin {
    host()
        .load(
            component.to_str().unwrap(),
            kind,
            &Grants::none(),
            &Limits::default(),
        )
        .unwrap()
}

/// Asserts that a component asks for nothing but the contract, and describes itself.
pub(crate) fn asks_only_for_the_contract(component: &Path, name: &str) {
    let inspection = host().inspect(component.to_str().unwrap()).unwrap();
    assert_eq!(inspection.description.name, name);
    for import in &inspection.imports {
        assert!(import.starts_with("incubate:plugin/"), "{import}");
    }
    assert!(inspection.grants.is_empty(), "{:?}", inspection.grants);
}

pub(crate) fn settings(
    plugin: &Plugin,
    values: &[(&str, SettingValue)],
) -> incubate::plugin::Settings {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    plugin.settings(&values).unwrap()
}

/// The mean over the rows of `-sum_c y_c (1 - p_c)^gamma log p_c`.
fn focal(logits: &[Vec<f64>], targets: &[Vec<f64>], gamma: f64) -> f64 {
    let row = |(logits, targets): (&Vec<f64>, &Vec<f64>)| -> f64 {
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let term = |(logit, target): (&f64, &f64)| {
            let p = logit.exp() / total;
            -target * (1.0 - p).powf(gamma) * p.ln()
        };
        logits.iter().zip(targets).map(term).sum()
    };
    logits.iter().zip(targets).map(row).sum::<f64>() / logits.len() as f64
}

pub(crate) fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
    let numbers: Vec<f32> = rows.iter().flatten().map(|&value| value as f32).collect();
    Tensor::<1>::from_floats(numbers.as_slice(), device).reshape([rows.len(), rows[0].len()])
}

/// Asserts that a component is focal loss, its gradient too.
pub(crate) fn is_focal_loss(component: &Path) {
    let plugin = load(component, Kind::LossHook);
    let device = Device::flex().autodiff();
    let (pictures, classes) = (6, 4);
    let logits: Vec<Vec<f64>> = (0..pictures)
        .map(|picture| {
            (0..classes)
                .map(|class| f64::from((picture * 7 + class * 11 + 3) % 13) * 0.5 - 3.0)
                .collect()
        })
        .collect();
    let ids: Vec<u32> = (0..pictures as u32)
        .map(|picture| picture * 3 % classes as u32)
        .collect();
    let one_hot: Vec<Vec<f64>> = ids
        .iter()
        .map(|&id| {
            (0..classes as u32)
                .map(|class| f64::from(u8::from(class == id)))
                .collect()
        })
        .collect();
    let soft: Vec<Vec<f64>> = (0..pictures)
        .map(|picture| {
            (0..classes)
                .map(|class| f64::from((picture + class) % 4) / 6.0)
                .collect()
        })
        .collect();
    let step = StepInfo {
        update: 3,
        updates: 100,
        epoch: 0.3,
        classes: classes as u32,
        pictures: pictures as u32,
    };
    for (gamma, mixed) in [(2.0, false), (0.0, false), (0.5, true), (3.0, true)] {
        let values = [("gamma", SettingValue::Number(gamma))];
        let mut hook = LossHook::new(&plugin, &settings(&plugin, &values), CONTEXT).unwrap();
        let leaf = tensor(&logits, &device).detach().require_grad();
        let inputs = LossInputs {
            logits: AnyTensor::from_tensor(leaf.clone()).unwrap(),
            class_ids: AnyTensor::from_ids(Tensor::<1, Int>::from_ints(
                ids.iter()
                    .map(|&id| id as i32)
                    .collect::<Vec<_>>()
                    .as_slice(),
                &device,
            ))
            .unwrap(),
            soft_targets: mixed.then(|| AnyTensor::from_tensor(tensor(&soft, &device)).unwrap()),
            network_features: Vec::new(),
            meta_features: Vec::new(),
            weights: Vec::new(),
            teacher: None,
        };
        let loss = hook
            .compute(&step, inputs)
            .unwrap()
            .into_scalar_tensor()
            .unwrap();
        let targets = if mixed { &soft } else { &one_hot };
        let expected = focal(&logits, targets, gamma);
        let found: f32 = loss.clone().into_scalar();
        assert!(
            (f64::from(found) - expected).abs() < 1e-5,
            "gamma {gamma}, mixed {mixed}: {found} {expected}"
        );
        let gradient: Vec<f32> = leaf
            .grad(&loss.backward())
            .unwrap()
            .into_data()
            .iter()
            .collect();
        for (index, &found) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = logits.clone();
                logits[index / classes as usize][index % classes as usize] += by;
                focal(&logits, targets, gamma)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (f64::from(found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
        assert_eq!(hook.statistics().live_tensors, 0);
    }
    // A picture that is surely right has no loss and no gradient, and neither is NaN.
    let values = [("gamma", SettingValue::Number(0.5))];
    let mut hook = LossHook::new(&plugin, &settings(&plugin, &values), CONTEXT).unwrap();
    let leaf = tensor(&[vec![200.0, 0.0, 0.0, 0.0]], &device)
        .detach()
        .require_grad();
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(leaf.clone()).unwrap(),
        class_ids: AnyTensor::from_ids(Tensor::<1, Int>::from_ints([0], &device)).unwrap(),
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    };
    let one = StepInfo {
        pictures: 1,
        ..step
    };
    let loss = hook
        .compute(&one, inputs)
        .unwrap()
        .into_scalar_tensor()
        .unwrap();
    let gradient: Vec<f32> = leaf
        .grad(&loss.backward())
        .unwrap()
        .into_data()
        .iter()
        .collect();
    assert!(
        gradient.iter().all(|value| value.abs() < 1e-6),
        "{gradient:?}"
    );
    let negative = [("gamma".to_owned(), SettingValue::Number(-1.0))].into();
    assert!(plugin.settings(&negative).is_err());
}

pub(crate) fn moment(epoch: f64, epochs: u32, base_rate: f64, index: u32) -> Moment<'static> {
    Moment {
        update: 0,
        updates: 1000,
        epoch,
        epochs,
        base_rate,
        group: Group {
            name: "decay",
            index,
        },
    }
}

fn relative(found: f64, expected: f64) -> f64 {
    if found == expected {
        return 0.0;
    }
    (found - expected).abs() / expected.abs()
}

/// Asserts that a component is the polynomial schedule.
pub(crate) fn is_polynomial(component: &Path) {
    let plugin = load(component, Kind::LrSchedule);
    for (power, end_rate) in [
        (1.0, 0.0),
        (2.0, 1e-5),
        (0.9, 1e-6),
        (0.0, 0.0),
        (37.5, 0.0),
    ] {
        let values = [
            ("power", SettingValue::Number(power)),
            ("end_rate", SettingValue::Number(end_rate)),
        ];
        let mut schedule = Schedule::new(&plugin, &settings(&plugin, &values), CONTEXT).unwrap();
        assert_eq!(schedule.stepping(), Stepping::PerEpoch);
        for epoch in 0..=90 {
            let asked = moment(f64::from(epoch), 90, 1e-3, 0);
            let expected =
                end_rate + (1e-3 - end_rate) * (1.0 - f64::from(epoch) / 90.0).powf(power);
            let found = schedule.rate(&asked).unwrap();
            assert!(
                relative(found, expected) < 1e-12,
                "{power} {epoch}: {found} {expected}"
            );
        }
        schedule
            .observe(&moment(1.0, 90, 1e-3, 0), &[("loss", 1.5)])
            .unwrap();
        assert_eq!(schedule.save().unwrap(), Vec::<u8>::new());
        schedule.restore(&[]).unwrap();
        let error = schedule.restore(&[1, 2]).unwrap_err().to_string();
        assert!(
            error.contains("hook `restore`") && error.contains('2'),
            "{error}"
        );
    }
    let default = Schedule::new(&plugin, &settings(&plugin, &[]), CONTEXT)
        .unwrap()
        .rate(&moment(45.0, 90, 0.5, 0))
        .unwrap();
    assert_eq!(default, 0.25);
}

pub(crate) fn divided(
    plugin: &Plugin,
    meta: i64,
    blocks: usize,
    modules: u32,
) -> Result<Vec<ModuleDepth>, PluginError> {
    let cost = |name: String| Cost {
        name,
        parameters: 1000,
        forward_macs: 2000,
        activation_bytes: 3000,
        milliseconds: None,
    };
    let values = [("meta_depth", SettingValue::Integer(meta))];
    PartitionScheme::new(plugin, &settings(plugin, &values))?.divide(&PartitionRequest {
        entry: cost("entry".to_owned()),
        blocks: (0..blocks)
            .map(|index| cost(format!("blocks.{index}")))
            .collect(),
        exit: cost("exit".to_owned()),
        modules,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    })
}

/// Asserts that a component divides with the remainder at the end.
pub(crate) fn is_front_light(component: &Path) {
    let plugin = load(component, Kind::PartitionScheme);
    for blocks in 1..=24 {
        for modules in 1..=blocks as u32 {
            let depths = divided(&plugin, 1, blocks, modules).unwrap();
            let (depth, rest) = (blocks as u32 / modules, blocks as u32 % modules);
            for (module, found) in depths.iter().enumerate() {
                let target = depth + u32::from(module as u32 >= modules - rest);
                assert_eq!(
                    *found,
                    ModuleDepth { target, meta: 1 },
                    "{blocks} {modules}"
                );
            }
        }
    }
    assert_eq!(
        divided(&plugin, 2, 5, 2).unwrap()[1],
        ModuleDepth { target: 3, meta: 2 }
    );
    for (meta, blocks, modules) in [(1, 3, 4), (1, 3, 0), (3, 5, 2)] {
        let error = divided(&plugin, meta, blocks, modules)
            .unwrap_err()
            .to_string();
        for phrase in ["hook `divide`", &modules.to_string()] {
            assert!(error.contains(phrase), "no `{phrase}` in: {error}");
        }
        assert!(!error.contains("trap"), "{error}");
    }
}

/// Builds the example of a kind in a language and compares it with its formula.
pub(crate) fn is_as_its_formula(language: Language, kind: Kind) {
    let folder = copied(&example(language, kind));
    let component = built(folder.path());
    let (name, compare): (&str, fn(&Path)) = match kind {
        Kind::LossHook => ("focal", is_focal_loss),
        Kind::LrSchedule => ("poly", is_polynomial),
        Kind::PartitionScheme => ("front-light", is_front_light),
    };
    asks_only_for_the_contract(&component, name);
    compare(&component);
}

#[test]
fn the_examples_in_c_are_as_their_formulas() {
    for kind in Kind::ALL {
        is_as_its_formula(Language::C, kind);
    }
}

#[test]
fn the_examples_in_zig_are_as_their_formulas() {
    for kind in Kind::ALL {
        is_as_its_formula(Language::Zig, kind);
    }
}

#[test]
fn the_same_source_gives_the_same_bytes_in_another_folder() {
    for language in [Language::C, Language::Zig] {
        let one = copied(&example(language, Kind::LrSchedule));
        let other = copied(&example(language, Kind::LrSchedule));
        let (one, other) = (built(one.path()), built(other.path()));
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{language}"
        );
    }
}

#[test]
fn a_changed_component_is_found_by_check() {
    let folder = copied(&example(Language::C, Kind::PartitionScheme));
    let component = built(folder.path());
    let answer = builder::check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(answer, Check::Equal { components: 1 });
    let mut bytes = fs::read(&component).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&component, bytes).unwrap();
    let error = builder::check(folder.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, BuildError::OtherBytes { .. }), "{error}");
}

#[test]
fn an_error_of_the_compiler_is_shown_with_its_line() {
    let folder = copied(&example(Language::C, Kind::LossHook));
    let source = folder.path().join("focal.c");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(
        &source,
        text.replace("static double gamma_;", "static doubel gamma_;"),
    )
    .unwrap();
    let error = builder::build(folder.path(), &mut |_| {})
        .unwrap_err()
        .to_string();
    for phrase in ["focal.c:6:8", "unknown type name 'doubel'"] {
        assert!(error.contains(phrase), "no `{phrase}` in: {error}");
    }
    fs::write(
        &source,
        text.replace("return 0; }", "int unused; return 0; }"),
    )
    .unwrap();
    let mut said = String::new();
    builder::build(folder.path(), &mut |event| {
        if let Event::Step { what } = event {
            said.push_str(&what);
        }
    })
    .unwrap();
    assert!(said.contains("unused variable"), "{said}");
}

/// A schedule whose rate is a function of the time, chosen by the group.
const FUNCTIONS: &str = r#"
#include "incubate.h"
#include <math.h>

void exports_description_describe(exports_description_plugin_info_t *info) { describe(info, NULL, 0); }
bool exports_schedule_configure(exports_schedule_list_setting_t *settings, fault_t *fault) { return true; }
exports_schedule_interval_t exports_schedule_stepping(void) { return EXPORTS_SCHEDULE_INTERVAL_PER_UPDATE; }
bool exports_schedule_rate(exports_schedule_moment_t *moment, double *rate, fault_t *fault) {
    double x = moment->epoch, y = moment->base_rate;
    switch (moment->group.index) {
    case 0: *rate = fabs(exp(x)); break;
    case 1: *rate = fabs(log(x)); break;
    case 2: *rate = fabs(cos(x)); break;
    case 3: *rate = fabs(sin(x)); break;
    case 4: *rate = fabs(pow(x, y)); break;
    case 5: *rate = (cos(x) < 0) + 2 * (sin(x) < 0) + 4 * (pow(x, y) < 0); break;
    // Blocks of many sizes, held at once and written to their ends.
    case 6: {
        unsigned char *blocks[64];
        for (size_t i = 0; i < 64; i++) memset(blocks[i] = malloc(i * 37), (int)i, i * 37);
        for (size_t i = 0; i < 64; i++) blocks[i] = realloc(blocks[i], i * 53);
        *rate = 0;
        for (size_t i = 0; i < 64; i++) {
            for (size_t at = 0; at < i * 37; at++) *rate += blocks[i][at] != i;
            free(blocks[i]);
        }
        break;
    }
    case 7: abort();
    case 8: panic("the moon is full");
    default: return fail(fault, "the group is %u of %d%%, %s", moment->group.index, (int64_t)-9000000000, "so");
    }
    exports_schedule_moment_free(moment);
    return true;
}
bool exports_schedule_observe(exports_schedule_moment_t *moment, exports_schedule_list_metric_t *metrics, fault_t *fault) { return true; }
void exports_schedule_save(plugin_list_u8_t *state) { save_nothing(state); }
bool exports_schedule_restore(plugin_list_u8_t *state, fault_t *fault) { return restore_nothing(state, fault); }
"#;

#[test]
fn the_runtime_for_c_computes_and_ends_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("functions.c"), FUNCTIONS).unwrap();
    fs::write(
        folder.path().join("plugin.toml"),
        "name = \"functions\"\nversion = \"0.2.0\"\nkind = \"lr-schedule\"\nlanguage = \"c\"\n\
         description = \"Says \\\"why??/\\\" \\\\ \"\nlicense = \"MIT\"\n",
    )
    .unwrap();
    let plugin = load(&built(folder.path()), Kind::LrSchedule);
    assert_eq!(plugin.description().summary, "Says \"why??/\" \\ ");
    assert_eq!(plugin.description().version.to_string(), "0.2.0");
    let mut schedule = Schedule::new(&plugin, &settings(&plugin, &[]), CONTEXT).unwrap();
    let mut ask = |index: u32, x: f64, y: f64| schedule.rate(&moment(x, 1, y, index));
    let mut worst = [0.0_f64; 5];
    for step in -2000..=2000 {
        let x = f64::from(step) * 0.3541;
        let positive = (f64::from(step) * 0.35).exp();
        let y = f64::from(step % 97) * 0.173;
        for (index, argument, expected) in [
            (0, x, x.exp()),
            (1, positive, positive.ln()),
            (2, x, x.cos()),
            (3, x, x.sin()),
            (4, positive, positive.powf(y)),
        ] {
            let expected = expected.abs();
            if expected.is_finite() {
                let found = ask(index, argument, y).unwrap();
                let error = relative(found, expected);
                worst[index as usize] = worst[index as usize].max(error);
                let allowed = if expected < 1e-300 { 1e-3 } else { 1e-14 };
                assert!(
                    error < allowed,
                    "{index}: {argument} {y}: {found} {expected}"
                );
            }
        }
        let signs = f64::from(u8::from(x.cos() < 0.0)) + 2.0 * f64::from(u8::from(x.sin() < 0.0));
        let odd = if x < 0.0 { 4.0 } else { 0.0 };
        assert_eq!(ask(5, x, 3.0).unwrap(), signs + odd, "{x}");
    }
    for (x, y) in [
        (0.0, 0.0),
        (0.0, 2.0),
        (1.0, 1e300),
        (0.5, 1e9),
        (2.0, -1e9),
        (-2.0, 4.0),
        (5e-324, 0.5),
    ] {
        assert_eq!(ask(4, x, y).unwrap(), x.powf(y), "{x} {y}");
    }
    for _ in 0..1000 {
        assert_eq!(ask(6, 0.0, 0.0).unwrap(), 0.0);
    }
    for (index, phrase) in [
        (7, "the plugin called abort()"),
        (8, "the moon is full"),
        (9, "the group is 9 of -9000000000%, so"),
    ] {
        let mut schedule = Schedule::new(&plugin, &settings(&plugin, &[]), CONTEXT).unwrap();
        let asked = moment(0.0, 1, 0.0, index);
        let error = schedule.rate(&asked).unwrap_err().to_string();
        assert!(error.contains(phrase), "no `{phrase}` in: {error}");
    }
}
