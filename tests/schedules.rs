//! The schedules that ship, through the sandbox, against tables of timm, torch, and Transformers, and
//! of formulas. `schedules/tables.py` makes the tables and says with which versions.
//!
//! Rates agree to 1e-12, relative, or to 1e-15 of the base rate: near the end of a curve a rate is the
//! small difference of numbers as large as the base rate, of which the rounding of the last place
//! remains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use incubate::phase::Phase;
use incubate::plugin::{
    Context, Grants, Group, Kind, Limits, Moment, Plugin, PluginHost, Schedule, SettingValue,
    Stepping,
};
use incubate::random::Seed;
use serde::Deserialize;
use serde_json::Value;

use crate::command::incubate;

const CONTEXT: Context = Context {
    seed: Seed(0),
    phase: Phase::FineTune,
};

#[derive(Deserialize)]
struct Tables {
    epochs: u32,
    updates_per_epoch: u64,
    base_rate: f64,
    cases: Vec<Case>,
}

/// A schedule of another library, and what is the same here.
#[derive(Deserialize)]
struct Case {
    source: String,
    plugin: String,
    parameters: BTreeMap<String, SettingValue>,
    /// One for every epoch or update.
    rates: Vec<f64>,
    /// The metric after every epoch; `None` is not a number.
    observations: Option<Vec<Option<f64>>>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules/tables.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
});

/// One sandbox for all tests, which compiles every component once.
static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    PluginHost::new(Some(&cache)).unwrap()
});

fn plugin(name: &str) -> Plugin {
    HOST.load(name, Kind::LrSchedule, &Grants::none(), &Limits::default())
        .unwrap()
}

fn schedule(name: &str, parameters: &BTreeMap<String, SettingValue>) -> Schedule {
    let plugin = plugin(name);
    let settings = plugin.settings(parameters).unwrap();
    Schedule::new(&plugin, &settings, CONTEXT).unwrap()
}

fn moment(update: u64) -> Moment<'static> {
    let tables = &*TABLES;
    Moment {
        update,
        updates: tables.updates_per_epoch * u64::from(tables.epochs),
        epoch: update as f64 / tables.updates_per_epoch as f64,
        epochs: tables.epochs,
        base_rate: tables.base_rate,
        group: Group {
            name: "decay",
            index: 0,
        },
    }
}

impl Case {
    /// What the schedule answers from an epoch or update on, told of the evaluations on the way.
    fn rates_from(&self, schedule: &mut Schedule, first: usize) -> Vec<f64> {
        let step = match schedule.stepping() {
            Stepping::PerEpoch => TABLES.updates_per_epoch,
            Stepping::PerUpdate => 1,
        };
        let mut rates = Vec::new();
        for index in first..self.rates.len() {
            rates.push(schedule.rate(&moment(index as u64 * step)).unwrap());
            if let Some(observations) = &self.observations {
                let value = observations[index].unwrap_or(f64::NAN);
                let metrics = [("loss", value), ("accuracy", 0.0)];
                let evaluated = moment((index as u64 + 1) * step);
                schedule.observe(&evaluated, &metrics).unwrap();
            }
        }
        rates
    }
}

#[test]
fn rates_are_those_of_timm_torch_transformers_and_the_formulas() {
    let tables = &*TABLES;
    let mut wrong = Vec::new();
    for case in &tables.cases {
        let mut schedule = schedule(&case.plugin, &case.parameters);
        let rates = case.rates_from(&mut schedule, 0);
        let off = rates.iter().zip(&case.rates).position(|(rate, expected)| {
            let allowed = (1e-12 * expected).max(1e-15 * tables.base_rate);
            let close = (rate - expected).abs() <= allowed;
            // NaN is not close to anything.
            !close
        });
        if let Some(index) = off {
            wrong.push(format!(
                "{} is not {} with {:?} at {index}: {:e} instead of {:e}",
                case.plugin, case.source, case.parameters, rates[index], case.rates[index]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_schedule_and_every_parameter_that_shapes_a_curve_has_a_table() {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in &TABLES.cases {
        let parameters = case.parameters.keys().map(String::as_str);
        used.entry(&case.plugin).or_default().extend(parameters);
    }
    for built_in in PluginHost::built_in() {
        if built_in.kind != Kind::LrSchedule {
            continue;
        }
        let used = &used[built_in.name];
        let plugin = plugin(built_in.name);
        // What all curves share is tested with some of them.
        let shared = [
            "warmup",
            "warmup_",
            "min_",
            "count_from",
            "cycle",
            "k_decay",
            "metric",
        ];
        let parameters = plugin.description().parameters.iter();
        let unused: Vec<&str> = parameters
            .map(|parameter| parameter.name.as_str())
            .filter(|name| !shared.iter().any(|prefix| name.starts_with(prefix)))
            .filter(|name| !used.contains(name))
            .collect();
        assert!(unused.is_empty(), "{}: {unused:?}", built_in.name);
    }
}

#[test]
fn an_interrupted_plateau_goes_on_as_if_it_had_not_been() {
    let observed = TABLES
        .cases
        .iter()
        .filter(|case| case.observations.is_some());
    let mut interruptions = 0;
    for case in observed {
        let mut whole = schedule(&case.plugin, &case.parameters);
        let rates = case.rates_from(&mut whole, 0);
        for point in 0..case.rates.len() {
            let cut = Case {
                source: String::new(),
                plugin: case.plugin.clone(),
                parameters: case.parameters.clone(),
                rates: case.rates[..point].to_vec(),
                observations: case.observations.clone(),
            };
            let mut first = schedule(&case.plugin, &case.parameters);
            cut.rates_from(&mut first, 0);
            let state = first.save().unwrap();
            let mut second = schedule(&case.plugin, &case.parameters);
            second.restore(&state).unwrap();
            let rest = case.rates_from(&mut second, point);
            assert_eq!(rest, rates[point..], "{} at {point}", case.source);
            interruptions += 1;
        }
    }
    assert!(interruptions > 100);
}

#[test]
fn a_duration_is_a_number_or_a_text_and_anything_else_is_refused_by_name() {
    let given = |text: &str| toml::from_str::<BTreeMap<String, SettingValue>>(text).unwrap();
    let rates = |text: &str| {
        let mut schedule = schedule("constant", &given(text));
        [0, 35, 69, 70].map(|update| schedule.rate(&moment(update)).unwrap())
    };
    let expected = rates("per = \"update\"\nwarmup = 10");
    assert_eq!(expected[3], 1e-3);
    assert!(expected[2] < 1e-3);
    for warmup in ["10.0", "\"10ep\"", "\"70up\"", "\"70 up\""] {
        let found = rates(&format!("per = \"update\"\nwarmup = {warmup}"));
        assert_eq!(found, expected, "{warmup}");
    }
    let plugin = plugin("constant");
    for (text, said) in [
        (
            "warmup = \"5 weeks\"",
            "`warmup` is `5 weeks`, which is no duration",
        ),
        ("warmup = -1", "`warmup` is `-1`"),
        ("warmup = true", "`warmup`"),
        ("warmup = nan", "`warmup`"),
    ] {
        let error = plugin
            .settings(&given(text))
            .and_then(|settings| Schedule::new(&plugin, &settings, CONTEXT))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_plan_shows_the_rates_of_every_unit() {
    let shown = incubate(&[
        "plan",
        "digits",
        "--rates",
        "--device",
        "cpu",
        "--set",
        "schedule.plugin=\"wsd\"",
        "--set",
        "schedule.parameters.warmup=\"10%\"",
    ]);
    assert_eq!(shown.status, 0, "{}", shown.stderr);
    for phrase in [
        "meta: plugin `wsd`",
        "module.0 to module.3",
        "baseline",
        "█",
    ] {
        assert!(shown.stdout.contains(phrase), "{phrase}: {}", shown.stdout);
    }
    let shown = incubate(&["plan", "digits", "--rates", "--json", "--device", "cpu"]);
    let plan: Value = serde_json::from_str(&shown.stdout).unwrap();
    let meta = &plan["rates"][0];
    assert_eq!(meta["unit"], "meta");
    let rates = meta["rates"].as_array().unwrap();
    assert_eq!(rates[0]["rate"], meta["base_rate"]);
    assert_eq!(rates[0]["update"], 0);
    let refused = incubate(&[
        "plan",
        "digits",
        "--rates",
        "--device",
        "cpu",
        "--set",
        "meta.schedule.plugin=\"wsd\"",
        "--set",
        "meta.schedule.parameters.warmup=\"90%\"",
    ]);
    assert_eq!(refused.status, 10, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("longer than the phase"),
        "{}",
        refused.stderr
    );
}

#[test]
fn the_rates_of_a_plan_are_those_of_the_units_that_are_trained() {
    // The first module stays meta, so it has no rates, and the others keep their own.
    let plan = |more: &[&str]| {
        let all = ["plan", "digits", "--device", "cpu", "--json"];
        let set = ["--set", "assembly.meta=[0]", "--set", "fine-tune.epochs=7"];
        let answer = incubate(&[&all[..], &set, more].concat()).succeeded();
        answer.json_lines().remove(0)
    };
    let units = plan(&[])["plan"]["units"].clone();
    let rates = plan(&["--rates"])["rates"].clone();
    let [units, rates] = [&units, &rates].map(|list| list.as_array().unwrap());
    assert_eq!(units.len(), rates.len());
    for (unit, rates) in units.iter().zip(rates) {
        assert_eq!(unit["unit"], rates["unit"]);
        let last = rates["rates"].as_array().unwrap().last().unwrap();
        let epochs = unit["epochs"].as_f64().unwrap();
        assert!(last["epoch"].as_f64().unwrap() >= epochs - 1.0, "{rates}");
        assert!(last["update"].as_u64() < unit["updates"].as_u64());
    }
}
