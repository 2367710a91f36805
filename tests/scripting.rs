//! Plugins in JavaScript and Python, built by their tools from a registry: the examples, everything
//! that the SDKs offer, and what an author sees of a mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use burn::tensor::{Device, Int, Tensor};
use incubate::builder::{self, BuildError, Language};
use incubate::plugin::{
    Grant, Grants, Hook, Kind, Limits, LossHook, LossInputs, Message, Moment, Plugin, PluginError,
    PluginErrorKind, Schedule, SettingValue, StepInfo, Stepping,
};
use incubate::tensor::AnyTensor;
use tempfile::TempDir;

use crate::examples::{self, CONTEXT};

const LANGUAGES: [Language; 2] = [Language::JavaScript, Language::Python];

/// A folder with a plugin, and its component.
type Built = LazyLock<(TempDir, PathBuf)>;

fn build(folder: TempDir) -> (TempDir, PathBuf) {
    let component = examples::built(folder.path());
    (folder, component)
}

fn build_example(language: Language, kind: Kind) -> (TempDir, PathBuf) {
    build(examples::copied(&examples::example(language, kind)))
}

/// The component of an example, which is built once for all tests.
fn example(language: Language, kind: Kind) -> &'static Path {
    use Language::{JavaScript, Python};
    static FOCAL_JS: Built = LazyLock::new(|| build_example(JavaScript, Kind::LossHook));
    static POLY_JS: Built = LazyLock::new(|| build_example(JavaScript, Kind::LrSchedule));
    static LIGHT_JS: Built = LazyLock::new(|| build_example(JavaScript, Kind::PartitionScheme));
    static FOCAL_PY: Built = LazyLock::new(|| build_example(Python, Kind::LossHook));
    static POLY_PY: Built = LazyLock::new(|| build_example(Python, Kind::LrSchedule));
    static LIGHT_PY: Built = LazyLock::new(|| build_example(Python, Kind::PartitionScheme));
    let built = match (language, kind) {
        (JavaScript, Kind::LossHook) => &FOCAL_JS,
        (JavaScript, Kind::LrSchedule) => &POLY_JS,
        (JavaScript, Kind::PartitionScheme) => &LIGHT_JS,
        (Python, Kind::LossHook) => &FOCAL_PY,
        (Python, Kind::LrSchedule) => &POLY_PY,
        (Python, Kind::PartitionScheme) => &LIGHT_PY,
        (other, _) => panic!("{other} is not a language of this module"),
    };
    &built.1
}

/// The folder of the example schedule with other source in it.
fn with_source(language: Language, source: &str) -> TempDir {
    let folder = examples::copied(&examples::example(language, Kind::LrSchedule));
    fs::write(folder.path().join(source_file(language)), source).unwrap();
    folder
}

fn source_file(language: Language) -> &'static str {
    match language {
        Language::Python => "plugin.py",
        _ => "plugin.js",
    }
}

fn ask_for(folder: &Path, imports: &str) {
    let path = folder.join("plugin.toml");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{manifest}imports = {imports}\n")).unwrap();
}

/// The plugin that uses everything that the SDK offers.
fn everything(language: Language) -> Plugin {
    let build = |source| {
        let folder = with_source(language, source);
        ask_for(folder.path(), "[\"random\"]");
        let (_folder, component) = build(folder);
        // Its random stream is a function of its name.
        let grants = Grants::of(&[Grant::Random]);
        examples::host()
            .load(
                component.to_str().unwrap(),
                Kind::LrSchedule,
                &grants,
                &Limits::default(),
            )
            .unwrap()
    };
    match language {
        Language::Python => {
            static PLUGIN: OnceLock<Plugin> = OnceLock::new();
            PLUGIN
                .get_or_init(|| build(include_str!("scripting/everything.py")))
                .clone()
        }
        _ => {
            static PLUGIN: OnceLock<Plugin> = OnceLock::new();
            PLUGIN
                .get_or_init(|| build(include_str!("scripting/everything.js")))
                .clone()
        }
    }
}

fn schedule(plugin: &Plugin, act: &str) -> Schedule {
    let values = [
        ("act", SettingValue::Text(act.to_owned())),
        ("count", SettingValue::Integer(-3)),
    ];
    Schedule::new(plugin, &examples::settings(plugin, &values), CONTEXT).unwrap()
}

fn imports(component: &Path) -> Vec<String> {
    let inspection = examples::host()
        .inspect(component.to_str().unwrap())
        .unwrap();
    let mut names: Vec<String> = inspection
        .imports
        .iter()
        .map(|import| {
            let (_, name) = import.split_once('/').unwrap();
            name.split_once('@').unwrap().0.to_owned()
        })
        .collect();
    names.sort();
    names
}

fn is_as_its_formula(language: Language, kind: Kind) {
    let component = example(language, kind);
    let (name, compare, expected): (_, fn(&Path), &[&str]) = match kind {
        Kind::LossHook => (
            "focal",
            examples::is_focal_loss,
            &["log", "metrics", "tensors", "types"],
        ),
        Kind::LrSchedule => (
            "poly",
            examples::is_polynomial,
            &["log", "metrics", "types"],
        ),
        Kind::PartitionScheme => (
            "front-light",
            examples::is_front_light,
            &["log", "metrics", "types"],
        ),
    };
    examples::asks_only_for_the_contract(component, name);
    assert_eq!(imports(component), expected, "{language}");
    compare(component);
}

#[test]
fn the_examples_in_javascript_are_as_their_formulas() {
    for kind in Kind::ALL {
        is_as_its_formula(Language::JavaScript, kind);
    }
}

#[test]
fn the_loss_in_python_is_as_its_formula() {
    is_as_its_formula(Language::Python, Kind::LossHook);
}

#[test]
fn the_schedule_in_python_is_as_its_formula() {
    is_as_its_formula(Language::Python, Kind::LrSchedule);
}

#[test]
fn the_partition_in_python_is_as_its_formula() {
    is_as_its_formula(Language::Python, Kind::PartitionScheme);
}

const STEP: StepInfo = StepInfo {
    update: 0,
    updates: 2000,
    epoch: 0.0,
    classes: 3,
    pictures: 2,
};

fn inputs(classes: usize, device: &Device) -> LossInputs {
    let logits = Tensor::<2>::ones([2, classes], device);
    let ids = Tensor::<1, Int>::from_ints([0, 2], device);
    LossInputs {
        logits: AnyTensor::from_tensor(logits).unwrap(),
        class_ids: AnyTensor::from_ids(ids).unwrap(),
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    }
}

#[test]
fn thousands_of_calls_leave_no_tensor_and_fit_into_the_memory() {
    let device = Device::flex();
    for language in LANGUAGES {
        let plugin = examples::load(example(language, Kind::LossHook), Kind::LossHook);
        let settings = examples::settings(&plugin, &[]);
        let mut hook = LossHook::new(&plugin, &settings, CONTEXT).unwrap();
        let mut first = 0;
        for update in 0..2000 {
            let step = StepInfo { update, ..STEP };
            hook.compute(&step, inputs(3, &device)).unwrap();
            let statistics = hook.statistics();
            assert_eq!(statistics.live_tensors, 0, "{language} {update}");
            assert_eq!(statistics.replacements, 0, "{language} {update}");
            if update == 0 {
                first = statistics.peak_tensors;
            }
            assert_eq!(statistics.peak_tensors, first, "{language} {update}");
        }
    }
}

#[test]
fn an_operation_that_the_host_refuses_is_a_fault_of_the_call() {
    let device = Device::flex();
    for language in LANGUAGES {
        let plugin = examples::load(example(language, Kind::LossHook), Kind::LossHook);
        let settings = examples::settings(&plugin, &[]);
        let mut hook = LossHook::new(&plugin, &settings, CONTEXT).unwrap();
        // One-hot targets of three classes do not fit logits of four.
        let error = hook.compute(&STEP, inputs(4, &device)).unwrap_err();
        assert_eq!(error.hook, Some(Hook::Compute));
        assert!(
            matches!(*error.kind, PluginErrorKind::Fault { code: "shape", .. }),
            "{language}: {error}"
        );
        // The instance lives on.
        hook.compute(&STEP, inputs(3, &device)).unwrap();
        assert_eq!(hook.statistics().live_tensors, 0);
    }
}

fn fault_of(error: PluginError) -> (&'static str, String, Option<String>) {
    match *error.kind {
        PluginErrorKind::Fault {
            code,
            message,
            hint,
        } => (code, message, hint),
        other => panic!("{other}"),
    }
}

#[test]
fn faults_arrive_with_code_message_and_hint() {
    for language in LANGUAGES {
        let plugin = examples::load(
            example(language, Kind::PartitionScheme),
            Kind::PartitionScheme,
        );
        let error = examples::divided(&plugin, 1, 3, 4).unwrap_err();
        assert_eq!(
            fault_of(error),
            (
                "invalid-input",
                "4 modules cannot divide 3 blocks".to_owned(),
                Some("take from 1 module to as many as there are blocks".to_owned())
            ),
            "{language}"
        );
        let mut refusing = schedule(&everything(language), "refuse");
        let refused = (
            "unsupported",
            "this is refused".to_owned(),
            Some("do not ask".to_owned()),
        );
        for _ in 0..2 {
            let error = refusing
                .rate(&examples::moment(1.0, 9, 1e-3, 0))
                .unwrap_err();
            assert_eq!(fault_of(error), refused, "{language}");
        }
    }
}

#[test]
fn a_crash_says_what_was_thrown_and_where() {
    for (language, phrases) in [
        (
            Language::JavaScript,
            [
                "TypeError: cannot read property 'rate' of undefined",
                "(plugin.js:",
            ],
        ),
        (
            Language::Python,
            [
                "AttributeError: 'NoneType' object has no attribute 'rate'",
                "(plugin.py:31)",
            ],
        ),
    ] {
        let mut crashing = schedule(&everything(language), "crash");
        let asked = examples::moment(1.0, 9, 1e-3, 0);
        let error = crashing.rate(&asked).unwrap_err();
        assert!(
            matches!(*error.kind, PluginErrorKind::Trap { .. }),
            "{error}"
        );
        let text = error.to_string();
        for phrase in phrases {
            assert!(text.contains(phrase), "no `{phrase}` in: {text}");
        }
        assert!(!text.contains('\n'), "{text}");
        let error = crashing.rate(&asked).unwrap_err();
        assert!(matches!(*error.kind, PluginErrorKind::Stopped), "{error}");
    }
}

#[test]
fn both_languages_offer_the_same() {
    let [javascript, python] = LANGUAGES.map(everything);
    assert_eq!(javascript.description(), python.description());
    for kind in Kind::ALL {
        let [javascript, python] =
            LANGUAGES.map(|language| examples::load(example(language, kind), kind));
        assert_eq!(javascript.description(), python.description());
    }
    let told = |plugin: &Plugin| {
        let mut schedule = schedule(plugin, "tell");
        assert_eq!(schedule.stepping(), Stepping::PerUpdate);
        let rates: Vec<f64> = (0..3)
            .map(|update| {
                let asked = examples::moment(1.0, 9, 1e-3, 0);
                schedule.rate(&Moment { update, ..asked }).unwrap()
            })
            .collect();
        let messages: Vec<Message> = schedule.drain_messages();
        let state = schedule.save().unwrap();
        assert_eq!(state, [3]);
        schedule.restore(&[41]).unwrap();
        schedule.rate(&examples::moment(1.0, 9, 1e-3, 0)).unwrap();
        assert_eq!(schedule.save().unwrap(), [42]);
        (rates, messages)
    };
    let (rates, messages) = told(&javascript);
    assert_eq!(told(&python), (rates.clone(), messages.clone()));
    assert!(
        rates.iter().all(|rate| (0.0..1.0).contains(rate)),
        "{rates:?}"
    );
    assert!(rates[0] != rates[1] && rates[1] != rates[2], "{rates:?}");
    let messages = format!("{messages:?}");
    for phrase in ["false -3 false 1 -2 0.5 2 ä b", "asked"] {
        assert!(messages.contains(phrase), "no `{phrase}` in: {messages}");
    }
    let outside: BTreeMap<_, _> = [("count".to_owned(), SettingValue::Integer(6))].into();
    assert!(javascript.settings(&outside).is_err());
}

/// What the builder says of a schedule with this source.
fn mistake(language: Language, source: &str) -> BuildError {
    builder::build(with_source(language, source).path(), &mut |_| {}).unwrap_err()
}

#[test]
fn an_interface_that_plugin_toml_does_not_ask_for_is_named() {
    for (language, source) in [
        (
            Language::JavaScript,
            include_str!("scripting/everything.js"),
        ),
        (Language::Python, include_str!("scripting/everything.py")),
    ] {
        let error = mistake(language, source);
        assert!(matches!(error, BuildError::NotAskedFor { .. }), "{error}");
        let text = error.to_string();
        for phrase in ["`random`", "plugin.toml", "`imports = [\"random\"]`"] {
            assert!(text.contains(phrase), "no `{phrase}` in: {text}");
        }
    }
    let folder = with_source(Language::JavaScript, "");
    ask_for(folder.path(), "[\"readback\"]");
    let error = builder::build(folder.path(), &mut |_| {}).unwrap_err();
    for phrase in [
        "`readback`",
        "learning-rate schedule",
        "choose among random",
    ] {
        assert!(error.to_string().contains(phrase), "{error}");
    }
}

#[test]
fn mistakes_in_the_source_are_shown_with_their_line() {
    for (language, source, place) in [
        (Language::JavaScript, "let a;\nlet b = ;\n", "plugin.js:2:"),
        (Language::Python, "a = 1\nb = = 2\n", "plugin.py\", line 2"),
    ] {
        let error = mistake(language, source).to_string();
        assert!(error.contains(place), "no `{place}` in: {error}");
        assert!(!error.contains("Stack backtrace"), "{error}");
        let folder = with_source(language, "");
        let file = source_file(language);
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = builder::build(folder.path(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, BuildError::NoSource { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
        let error = builder::check(folder.path(), &mut |_| {}).unwrap_err();
        assert!(
            matches!(error, BuildError::NotReproducible { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_new_plugin_in_javascript_builds_and_has_its_name() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mine");
    builder::create("all-mine", Kind::LossHook, Language::JavaScript, &folder).unwrap();
    let component = examples::built(&folder);
    examples::asks_only_for_the_contract(&component, "all-mine");
    assert_eq!(imports(&component), ["log", "metrics", "tensors", "types"]);
}

/// A lock file names no host of a registry, so that an author's own registry serves it.
#[test]
fn lock_files_pin_versions_and_name_no_registry() {
    for kind in Kind::ALL {
        let folder = examples::example(Language::JavaScript, kind);
        let lock = fs::read_to_string(folder.join("package-lock.json")).unwrap();
        assert!(!lock.contains("://"), "{}", folder.display());
        assert!(lock.contains("\"integrity\": \"sha512-"));
        let packages = fs::read_to_string(folder.join("package.json")).unwrap();
        assert!(
            packages.contains("\"componentize-qjs\": \"0."),
            "{packages}"
        );
        let folder = examples::example(Language::Python, kind);
        let requirements = fs::read_to_string(folder.join("requirements.txt")).unwrap();
        let pinned = |line: &str| line.contains("==") && !line.contains("://");
        assert!(requirements.lines().all(pinned), "{requirements}");
    }
}
