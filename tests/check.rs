//! `incubate plugin check`: a corpus of plugins that each break one law, and the laws that they break.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use incubate::conformance::{Circumstances, Outcome, Report, examine};
use incubate::plugin::{Grant, Grants, Kind, PluginHost, SettingValue};
use serde_json::Value;
use wasm_metadata::{AddMetadata, AddMetadataField};

use crate::command::incubate;

/// A plugin, the value of its parameter `fault`, the laws that must fail, and those that must warn.
type Fault = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// Everything else must hold or say nothing about the plugin.
const FAULTS: &[Fault] = &[
    ("lawless-partition", "sum-wrong", &["division"], &[]),
    ("lawless-partition", "zero-module", &["division"], &[]),
    ("lawless-partition", "meta-too-deep", &["division"], &[]),
    ("lawless-partition", "wrong-length", &["division"], &[]),
    ("lawless-partition", "unstable", &["same-division"], &[]),
    ("lawless-partition", "traps-at-large", &["every-model"], &[]),
    (
        "lawless-partition",
        "traps-at-huge-costs",
        &["every-model"],
        &[],
    ),
    (
        "lawless-partition",
        "traps-without-devices",
        &["every-model"],
        &[],
    ),
    (
        "lawless-partition",
        "fault-without-message",
        &["every-model"],
        &[],
    ),
    ("lawless-partition", "loops-at-large", &["every-model"], &[]),
    ("lawless-partition", "traps-at-bound", &["parameters"], &[]),
    ("lawless-partition", "hungry", &[], &["limits"]),
    ("lawless-partition", "chatty", &[], &["limits", "messages"]),
    ("lawless-schedule", "nan-late", &["rates"], &[]),
    ("lawless-schedule", "negative", &["rates"], &[]),
    ("lawless-schedule", "infinite-base-zero", &["rates"], &[]),
    ("lawless-schedule", "forgets-state", &["resume"], &[]),
    ("lawless-schedule", "refuses-own-state", &["resume"], &[]),
    ("lawless-schedule", "restores-more", &["resume"], &[]),
    ("lawless-schedule", "impure", &["resume", "same-rate"], &[]),
    ("lawless-schedule", "traps-at-last", &["every-moment"], &[]),
    (
        "lawless-schedule",
        "traps-at-second",
        &["every-moment"],
        &[],
    ),
    ("lawless-schedule", "faults-at-last", &["every-moment"], &[]),
    (
        "lawless-schedule",
        "traps-on-lost-loss",
        &["every-moment"],
        &[],
    ),
    ("lawless-schedule", "restore-traps", &["foreign-state"], &[]),
    ("lawless-schedule", "traps-at-bound", &["parameters"], &[]),
    ("lawless-schedule", "hungry", &[], &["limits"]),
    ("lawless-schedule", "chatty", &[], &["limits", "messages"]),
    ("lawless-loss", "not-scalar", &["scalar"], &[]),
    ("lawless-loss", "sum-not-mean", &["mean"], &[]),
    ("lawless-loss", "order-dependent", &["order"], &[]),
    (
        "lawless-loss",
        "ignores-soft-targets",
        &["soft-targets"],
        &[],
    ),
    ("lawless-loss", "detached-factor", &["gradient"], &[]),
    (
        "lawless-loss",
        "slightly-wrong-gradient",
        &["gradient"],
        &[],
    ),
    ("lawless-loss", "detached", &["connected"], &[]),
    ("lawless-loss", "detached-features", &["connected"], &[]),
    (
        "lawless-loss",
        "counts-errors",
        &["connected"],
        &["not-a-number"],
    ),
    ("lawless-loss", "naive-softmax", &["finite"], &[]),
    ("lawless-loss", "naive-power", &["finite"], &[]),
    ("lawless-loss", "unsaved-counter", &["resume"], &[]),
    ("lawless-loss", "restore-traps", &["foreign-state"], &[]),
    ("lawless-loss", "traps-on-one-picture", &["hostile"], &[]),
    ("lawless-loss", "traps-on-many-classes", &["hostile"], &[]),
    (
        "lawless-loss",
        "greedy-on-many-classes",
        &["hostile"],
        &["limits"],
    ),
    ("lawless-loss", "traps-at-bound", &["parameters"], &[]),
    ("lawless-loss", "hungry", &[], &["limits"]),
    ("lawless-loss", "chatty", &[], &["limits", "messages"]),
    ("lawless-loss", "many-tensors", &[], &["limits"]),
];

/// One sandbox for all tests, which compiles every component once.
fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

/// A component of the tests.
fn component(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "plugins"]
        .iter()
        .collect();
    let path = path.join(format!("{name}.wasm"));
    path.into_os_string().into_string().unwrap()
}

fn checked(reference: &str, settings: &[(&str, SettingValue)]) -> Report {
    let circumstances = Circumstances {
        settings: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        grants: needed(reference),
        ..Circumstances::default()
    };
    examine(host(), reference, &circumstances).unwrap()
}

/// The grants that a plugin of the corpus needs.
fn needed(reference: &str) -> Grants {
    if reference.contains("lawless-loss") || reference.contains("lawful-loss") {
        Grants::of(&[Grant::Random])
    } else {
        Grants::none()
    }
}

fn text(value: &str) -> SettingValue {
    SettingValue::Text(value.to_owned())
}

/// The laws that fail and those that warn.
fn broken(report: &Report) -> (BTreeSet<&str>, BTreeSet<&str>) {
    (
        report.with(Outcome::Fail).collect(),
        report.with(Outcome::Warning).collect(),
    )
}

#[track_caller]
fn assert_lawful(report: &Report) {
    let (failed, warned) = broken(report);
    assert!(failed.is_empty() && warned.is_empty(), "{report:#?}");
    assert!(report.count(Outcome::Pass) >= 9, "{report:#?}");
}

fn finding<'a>(report: &'a Report, id: &str) -> &'a incubate::conformance::Finding {
    let check = report.checks.iter().find(|check| check.id == id).unwrap();
    &check.findings[0]
}

#[test]
fn every_seeded_fault_is_found_and_nothing_else() {
    let mut missed = Vec::new();
    let mut found = 0;
    for (plugin, fault, fails, warns) in FAULTS {
        let report = checked(&component(plugin), &[("fault", text(fault))]);
        let expected = (
            fails.iter().copied().collect(),
            warns.iter().copied().collect(),
        );
        if broken(&report) == expected {
            found += 1;
        } else {
            missed.push(format!("{plugin}, {fault}: {:?}", broken(&report)));
        }
    }
    assert_eq!(found, FAULTS.len(), "{missed:#?}");
}

/// Every law that a plugin can break inside the sandbox is broken by some plugin of the corpus.
#[test]
fn every_law_has_a_fault() {
    /// What the host itself guarantees, which unit tests are about, and what other tests break.
    const ELSEWHERE: [&str; 7] = [
        "contract",
        "description",
        "grants",
        "leaks",
        "metadata",
        "same-bits",
        "settings",
    ];
    let mut laws = BTreeSet::new();
    for plugin in ["lawless-partition", "lawless-schedule", "lawless-loss"] {
        let report = checked(&component(plugin), &[]);
        laws.extend(report.checks.into_iter().map(|check| check.id));
    }
    for (_, _, fails, warns) in FAULTS {
        for id in fails.iter().chain(*warns) {
            laws.remove(id);
        }
    }
    assert_eq!(laws, BTreeSet::from(ELSEWHERE));
}

#[test]
fn the_corpus_without_a_fault_keeps_every_law() {
    for plugin in ["lawless-partition", "lawless-schedule", "lawless-loss"] {
        assert_lawful(&checked(&component(plugin), &[]));
    }
    assert_lawful(&checked(
        &component("lawless-schedule"),
        &[("per", text("epoch"))],
    ));
    let counting = checked(
        &component("lawless-loss"),
        &[("fault", text("saved-counter"))],
    );
    assert_lawful(&counting);
}

#[test]
fn laws_about_single_pictures_say_nothing_about_random_losses() {
    let noise = SettingValue::Boolean(true);
    let report = checked(&component("lawless-loss"), &[("noise", noise)]);
    assert_lawful(&report);
    let silent: BTreeSet<&str> = report.with(Outcome::NotApplicable).collect();
    assert_eq!(silent, BTreeSet::from(["mean", "order"]));
}

#[test]
fn every_plugin_that_ships_keeps_every_law() {
    for built_in in PluginHost::built_in() {
        let depths = SettingValue::Integers(vec![3, 3, 3, 3]);
        let settings: &[_] = match built_in.name {
            "explicit" => &[("depths", depths)],
            "piecewise" => &[
                (
                    "at",
                    SettingValue::Texts(vec!["0".to_owned(), "100%".to_owned()]),
                ),
                ("factors", SettingValue::Numbers(vec![1.0, 0.1])),
            ],
            _ => &[],
        };
        let report = checked(built_in.name, settings);
        assert_eq!(report.count(Outcome::Fail), 0, "{report:#?}");
        // The exact cut of a very large model takes more than the default limit.
        let warned: Vec<&str> = report.with(Outcome::Warning).collect();
        let allowed: &[&str] = match built_in.name {
            "balanced" => &["every-model", "limits"],
            _ => &[],
        };
        assert_eq!(warned, allowed, "{report:#?}");
    }
}

#[test]
fn what_cannot_be_loaded_fails_the_check_that_it_belongs_to() {
    for (name, law, phrase) in [
        ("faulty-ungranted", "contract", "wasi:clocks/wall-clock"),
        (
            "faulty-next-contract",
            "contract",
            "built for version 0.2.0",
        ),
        ("faulty-read-back", "grants", "readback"),
    ] {
        let report = checked(&component(name), &[]);
        assert_eq!(report.checks.len(), 1, "{report:#?}");
        assert_eq!(broken(&report).0, BTreeSet::from([law]));
        let got = &finding(&report, law).got;
        assert!(got.contains(phrase), "{got}");
        assert!(!report.interfaces.is_empty());
    }
}

#[test]
fn a_grant_is_given_and_one_without_use_is_a_warning() {
    let with = |name: &str| {
        let circumstances = Circumstances {
            grants: Grants::of(&[Grant::ReadBack]),
            ..Circumstances::default()
        };
        examine(host(), &component(name), &circumstances).unwrap()
    };
    let report = with("faulty-read-back");
    // It ignores soft targets, as it says.
    assert_eq!(broken(&report).0, BTreeSet::from(["soft-targets"]));
    assert!(broken(&with("lawless-schedule")).1.contains("grants"));
}

#[test]
fn settings_that_are_refused_end_the_check() {
    let report = checked(&component("lawless-loss"), &[("fault", text("unheard-of"))]);
    assert_eq!(broken(&report).0, BTreeSet::from(["settings"]));
    let got = &finding(&report, "settings").got;
    assert!(got.contains("no fault is named `unheard-of`"), "{got}");
    let unknown = Circumstances {
        settings: BTreeMap::from([("falt".to_owned(), text("none"))]),
        ..Circumstances::default()
    };
    let error = examine(host(), "cosine", &unknown).unwrap_err();
    assert!(error.to_string().contains("no parameter `falt`"), "{error}");
}

#[test]
fn name_and_version_inside_the_file_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(component("lawless-loss")).unwrap();
    for (name, version, fails) in [
        ("lawless-loss", "0.1.0", false),
        ("lawless-loss", "0.2.0", true),
        ("lawful-loss", "0.1.0", true),
    ] {
        let mut metadata = AddMetadata::default();
        metadata.name = AddMetadataField::Set(name.to_owned());
        metadata.version = AddMetadataField::Set(version.parse().unwrap());
        let path = folder.path().join(format!("{name}-{version}.wasm"));
        std::fs::write(&path, metadata.to_wasm(&bytes).unwrap()).unwrap();
        let report = checked(path.to_str().unwrap(), &[]);
        let expected = if fails { vec!["metadata"] } else { Vec::new() };
        assert_eq!(report.with(Outcome::Fail).collect::<Vec<_>>(), expected);
        assert!(
            report
                .with(Outcome::NotApplicable)
                .all(|id| id != "metadata")
        );
    }
}

#[test]
fn the_smallest_case_is_shown_with_its_numbers() {
    let report = checked(
        &component("lawless-partition"),
        &[("fault", text("sum-wrong"))],
    );
    let found = finding(&report, "division");
    assert_eq!(found.at, "8 equal blocks, 1 modules, no devices");
    assert!(
        found.got.contains("has 9 blocks, and the model has 8"),
        "{found:?}"
    );
    let report = checked(
        &component("lawless-loss"),
        &[("fault", text("sum-not-mean"))],
    );
    let found = finding(&report, "mean");
    assert!(found.at.starts_with("2 pictures, 3 classes"), "{found:?}");
    assert!(found.at.contains("logits [") && found.at.contains("class ids ["));
}

#[test]
fn two_examinations_give_one_report() {
    let once = || {
        let report = checked(
            &component("lawless-loss"),
            &[("fault", text("detached-factor"))],
        );
        serde_json::to_string(&report).unwrap()
    };
    assert_eq!(once(), once());
}

#[test]
fn the_command_says_what_is_wrong_and_ends_with_21() {
    let path = component("lawless-loss");
    let answer = incubate(&[
        "plugin",
        "check",
        &path,
        "--grant",
        "random",
        "--set",
        "fault=sum-not-mean",
    ]);
    answer.failed(21, &["1 of 21 checks failed"]);
    let lines: Vec<&str> = answer.stdout.lines().collect();
    let last = "passed: 20, failed: 1, warnings: 0, not applicable: 0";
    assert_eq!(lines.last(), Some(&last), "{}", answer.stdout);
    for phrase in [
        "lawless-loss 0.1.0 (loss hook)",
        "import incubate:plugin/tensors@0.1.",
        "FAIL  mean ",
        "expected  ",
        "got       ",
        "--set fault=sum-not-mean",
    ] {
        assert!(
            answer.stdout.contains(phrase),
            "{phrase}: {}",
            answer.stdout
        );
    }
    let answer = incubate(&["plugin", "check", &path, "--grant", "random"]).succeeded();
    assert!(
        answer.stdout.contains("ok    gradient "),
        "{}",
        answer.stdout
    );
    assert!(
        answer.stdout.contains("ok    metadata "),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_law_that_is_broken_on_purpose_is_a_warning() {
    let path = component("lawless-loss");
    let check = |accepted: &str| {
        let fault = "fault=detached-factor";
        incubate(&[
            "plugin", "check", &path, "--grant", "random", "--set", fault, "--accept", accepted,
        ])
    };
    let answer = check("gradient").succeeded();
    assert!(
        answer.stdout.contains("warn  gradient "),
        "{}",
        answer.stdout
    );
    assert!(
        answer.stdout.contains("failed: 0, warnings: 1"),
        "{}",
        answer.stdout
    );
    assert_eq!(check("mean").status, 21);
    check("gradients").failed(2, &["did you mean `gradient`?"]);
    let foreign = component("faulty-ungranted");
    let answer = incubate(&["plugin", "check", &foreign, "--accept", "gradient"]);
    assert_eq!(answer.status, 21, "{}", answer.stderr);
}

#[test]
fn the_command_writes_one_object() {
    let path = component("lawless-schedule");
    let command = |more: &[&str]| {
        let all = [&["plugin", "check", &path, "--json"], more].concat();
        incubate(&all)
    };
    let answer = command(&["--set", "fault=forgets-state"]);
    assert_eq!(answer.status, 21, "{}", answer.stderr);
    let lines = answer.json_lines();
    let [report] = lines.as_slice() else {
        panic!("{} lines", lines.len());
    };
    assert_eq!(report["counts"]["failed"], 1);
    assert_eq!(report["settings"]["fault"], "forgets-state");
    assert_eq!(report["limits"]["fuel"], 50_000_000);
    let checks = report["checks"].as_array().unwrap();
    let failed: Vec<&Value> = checks
        .iter()
        .filter(|one| one["outcome"] == "fail")
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["id"], "resume");
    for key in ["at", "expected", "got"] {
        assert!(failed[0]["findings"][0][key].is_string());
    }
    assert_eq!(command(&["--kind", "lr-schedule"]).status, 0);
}

#[test]
fn wrong_options_of_the_command() {
    let check = |more: &[&str]| incubate(&[&["plugin", "check"], more].concat());
    check(&["cosine", "--kind", "loss"]).failed(2, &["no kind `loss`", "lr-schedule"]);
    check(&["cosine", "--set", "warmup"]).failed(2, &["--set KEY=VALUE"]);
    check(&["cosine", "--limit", "fule=3"]).failed(2, &["fule"]);
    check(&["cosine", "--grant", "readback"]).failed(2, &["did you mean `read-back`?"]);
    check(&["cosin"]).failed(10, &["did you mean `cosine`?"]);
    check(&["./nothing.wasm"]).failed(10, &["cannot be read"]);
    check(&["explicit"]).failed(10, &["`depths` needs a value"]);
    let kind = check(&["cosine", "--kind", Kind::LossHook.world()]);
    assert_eq!(kind.status, 21, "{}", kind.stderr);
    let limited = check(&["cosine", "--limit", "fuel=1000"]);
    assert_eq!(limited.status, 21, "{}", limited.stderr);
}
