//! Units that travel: K teams incubate one module each of one network, without sharing a run folder.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::command::{Answer, incubate, tiny, tiny_with};
use crate::registry::server::Registry;
use crate::registry::sha256;

fn digest(run: &Path, unit: &str) -> String {
    let file = run.join("units").join(unit).join("result.json");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    result["weights_sha256"].as_str().unwrap().to_owned()
}

fn push(run: &Path, unit: &str, to: &Path) -> Answer {
    incubate(&[
        "unit",
        "push",
        run.to_str().unwrap(),
        unit,
        to.to_str().unwrap(),
    ])
}

fn pull(from: &Path, out: &Path) -> Answer {
    incubate(&[
        "unit",
        "pull",
        from.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ])
}

/// One unit of the experiment that the run folder records.
fn go_on(run: &Path, unit: &str) -> Answer {
    incubate(&[
        "run",
        "--device",
        "cpu",
        "--out",
        run.to_str().unwrap(),
        "--unit",
        unit,
    ])
}

/// A result as a host wrote it that put no digest into it.
fn unsealed(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("\"seal\""));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn teams_that_incubate_one_module_each_assemble_what_one_machine_would() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny(&at("alone"), &[]).succeeded();

    tiny_with(&at("a"), &[], &["--unit", "meta"]).succeeded();
    push(&at("a"), "meta", &at("shared/meta")).succeeded();
    for (team, module) in [("b", "module.0"), ("c", "module.1")] {
        pull(&at("shared/meta"), &at(team)).succeeded();
        go_on(&at(team), module).succeeded();
        push(&at(team), module, &at("shared").join(module)).succeeded();
        let answer = pull(&at("shared").join(module), &at("a")).succeeded();
        assert!(answer.stdout.contains(module), "{}", answer.stdout);
    }
    go_on(&at("a"), "assemble").succeeded();
    for unit in ["meta", "module.0", "module.1", "assemble"] {
        assert_eq!(digest(&at("a"), unit), digest(&at("alone"), unit), "{unit}");
    }

    // The same unit again changes nothing, and its description is what made it.
    let again = pull(&at("shared/module.1"), &at("a")).succeeded();
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let shown = incubate(&[
        "unit",
        "inspect",
        at("shared/module.1").to_str().unwrap(),
        "--json",
    ])
    .succeeded();
    let shown = &shown.json_lines()[0];
    assert_eq!(shown["unit"], "module.1");
    assert_eq!(shown["modules"], 2);
    assert_eq!(shown["meta_sha256"], digest(&at("a"), "meta"));
    assert!(
        shown["plugins"]["module.loss"]
            .as_str()
            .unwrap()
            .starts_with("cross-entropy@")
    );
}

#[test]
fn a_module_of_another_network_is_refused_and_named() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (run, more) in [
        ("a", &[][..]),
        ("other", &["seed=1"]),
        ("longer", &["meta.epochs=3"]),
    ] {
        tiny_with(&at(run), more, &["--unit", "meta", "--unit", "module.1"]).succeeded();
        push(&at(run), "module.1", &at("shared").join(run)).succeeded();
    }
    // Another seed and other settings are differences of the experiment.
    pull(&at("shared/other"), &at("a")).failed(4, &["module.1", "other settings", "seed"]);
    pull(&at("shared/longer"), &at("a")).failed(4, &["meta.epochs: 2 in the folder, 3 asked for"]);

    // The same experiment, and another meta model: training is repeatable, so a team that
    // exchanged its meta model is imitated by one whose result says so.
    tiny_with(&at("b"), &[], &["--unit", "meta"]).succeeded();
    let result = at("a").join("units/module.1/result.json");
    let text = fs::read_to_string(&result).unwrap();
    let meta = digest(&at("a"), "meta");
    let stranger = "5".repeat(64);
    fs::write(&result, unsealed(&text).replace(&meta, &stranger)).unwrap();
    push(&at("a"), "module.1", &at("shared/stranger")).succeeded();
    pull(&at("shared/stranger"), &at("b")).failed(
        4,
        &[
            "unit `module.1`",
            "incubated against the meta model",
            &meta,
            &stranger,
        ],
    );
    assert!(!at("b").join("units/module.1/result.json").exists());

    // Assembly names every module that does not belong.
    tiny_with(&at("a"), &[], &["--unit", "module.0"]).succeeded();
    let first = at("a").join("units/module.0/result.json");
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, unsealed(&text).replace(&meta, &"6".repeat(64))).unwrap();
    tiny_with(&at("a"), &[], &["--unit", "assemble"]).failed(
        4,
        &["module 0", "module 1", "another meta model", &stranger],
    );
}

#[test]
fn a_unit_that_was_changed_on_the_way_is_refused() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny_with(&at("a"), &[], &["--unit", "meta"]).succeeded();
    push(&at("a"), "module.0", &at("early")).failed(4, &["module.0", "not finished"]);
    push(&at("a"), "module.7", &at("early")).failed(4, &["no unit `module.7`", "module.1"]);
    push(&at("nowhere"), "meta", &at("early")).failed(4, &["holds no run"]);
    push(&at("a"), "meta", &at("meta")).succeeded();
    push(&at("a"), "meta", &at("meta")).failed(4, &["not empty"]);

    let weights = at("meta").join("weights.safetensors");
    let whole = fs::read(&weights).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&weights, &changed).unwrap();
    pull(&at("meta"), &at("b")).failed(4, &["weights.safetensors", "sha256"]);
    assert!(!at("b").exists());
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    pull(&at("meta"), &at("b")).failed(4, &["weights.safetensors", "sha256"]);
    fs::write(&weights, &whole).unwrap();

    // A description and a record that were changed with it are found out by one another.
    for (file, from, to) in [
        ("unit.json", "\"modules\": 2", "\"modules\": 3"),
        ("unit.json", "\"unit\": \"meta\"", "\"unit\": \"module.0\""),
        ("unit.json", "\"format\": 1", "\"format\": 9"),
        ("run.json", "\"target\": 2", "\"target\": 3"),
        ("experiment.toml", "seed = 0", "seed = 1"),
        (
            "result.json",
            "\"unit\": \"meta\"",
            "\"unit\": \"module.0\"",
        ),
    ] {
        let path = at("meta").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        pull(&at("meta"), &at("b")).failed(4, &["of the unit from"]);
        fs::write(&path, text).unwrap();
    }
    fs::remove_file(at("meta").join("run.json")).unwrap();
    pull(&at("meta"), &at("b")).failed(4, &["is no unit", "run.json"]);
    pull(&at("nowhere"), &at("b")).failed(4, &["is no unit"]);
    pull(Path::new("nowhere"), &at("b")).failed(2, &["`nowhere`"]);
    assert!(!at("b").exists());
}

#[test]
fn teams_that_meet_in_a_registry_assemble_what_one_machine_would() {
    let registry = Registry::open();
    let network = format!("{}/team/network", registry.host());
    let tagged = |unit: &str| format!("{network}@{unit}");
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny(&at("alone"), &[]).succeeded();

    // The tag of a unit is its name.
    tiny_with(&at("a"), &[], &["--unit", "meta"]).succeeded();
    let pushed = push(&at("a"), "meta", Path::new(&network)).succeeded();
    assert!(pushed.stdout.contains(&tagged("meta")), "{pushed:?}");
    for (team, module) in [("b", "module.0"), ("c", "module.1")] {
        pull(Path::new(&tagged("meta")), &at(team)).succeeded();
        go_on(&at(team), module).succeeded();
        push(&at(team), module, Path::new(&network)).succeeded();
        pull(Path::new(&tagged(module)), &at("a")).succeeded();
    }
    go_on(&at("a"), "assemble").succeeded();
    for unit in ["meta", "module.0", "module.1", "assemble"] {
        assert_eq!(digest(&at("a"), unit), digest(&at("alone"), unit), "{unit}");
    }
    let shown = incubate(&["unit", "inspect", &tagged("module.1"), "--json"]).succeeded();
    assert_eq!(
        shown.json_lines()[0]["meta_sha256"],
        digest(&at("a"), "meta")
    );

    // A place without a tag, and a tag that nobody pushed.
    pull(Path::new(&network), &at("d")).failed(40, &["meta, module.0, module.1", &network]);
    pull(Path::new(&tagged("module.2")), &at("d")).failed(40, &["no tag `module.2`"]);

    // Weights that somebody changed in the registry's storage.
    let weights = fs::read(at("a").join("units/module.1/weights.safetensors")).unwrap();
    let stored = registry.blob(&sha256(&weights));
    let mut changed = fs::read(&stored).unwrap();
    assert_eq!(changed, weights);
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&stored, &changed).unwrap();
    pull(Path::new(&tagged("meta")), &at("d")).succeeded();
    let refused = pull(Path::new(&tagged("module.1")), &at("d"));
    refused.failed(10, &[&sha256(&weights), &sha256(&changed)]);
    assert!(!at("d").join("units/module.1/result.json").exists());
}

#[test]
fn a_strangers_unit_neither_leads_elsewhere_nor_moves_a_cursor() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    tiny_with(&at("a"), &[], &["--unit", "meta"]).succeeded();
    push(&at("a"), "meta", &at("shared")).succeeded();
    let read = |name: &str| fs::read_to_string(at("shared").join(name)).unwrap();
    let (experiment, record) = (read("experiment.toml"), unsealed(&read("run.json")));
    let description = read("unit.json");
    let digests = [&experiment, &read("run.json")].map(|text| sha256(text.as_bytes()));
    let version = format!("\"host_version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let cases = [
        (Some("../../elsewhere"), None, "`runs`"),
        (Some("digits\\u001B[2J"), None, "no terminal shows"),
        (
            None,
            Some("0.1\\u001b]0;title\\u0007"),
            "0.1\\u{1b}]0;title\\u{7}",
        ),
        (None, Some("\u{202e}1.0"), "\\u{202e}1.0"),
    ];
    for (number, (name, host, phrase)) in cases.into_iter().enumerate() {
        let name = format!("name = \"{}\"", name.unwrap_or("digits"));
        let experiment = experiment.replacen("name = \"digits\"", &name, 1);
        let host = host.map_or_else(
            || version.clone(),
            |host| format!("\"host_version\": \"{host}\""),
        );
        let record = record
            .replace(&version, &host)
            .replace(&digests[0], &sha256(experiment.as_bytes()));
        let description = description
            .replace(&version, &host)
            .replace(&digests[0], &sha256(experiment.as_bytes()))
            .replace(&digests[1], &sha256(record.as_bytes()));
        let texts = [
            ("experiment.toml", experiment),
            ("run.json", record),
            ("unit.json", description),
        ];
        for (file, text) in texts {
            fs::write(at("shared").join(file), text).unwrap();
        }
        for answer in [
            pull(&at("shared"), &at(&number.to_string())),
            incubate(&["unit", "inspect", at("shared").to_str().unwrap()]),
        ] {
            answer.failed(4, &["the unit from", phrase]);
            let active = |letter: char| letter.is_control() && letter != '\n';
            assert!(!answer.stderr.contains(active), "{:?}", answer.stderr);
            assert!(!answer.stderr.contains('\u{202e}'), "{:?}", answer.stderr);
        }
        assert!(!at(&number.to_string()).exists());
    }
}
