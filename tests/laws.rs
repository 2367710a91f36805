//! Laws of the plugins that ship, over drawn inputs: what a scheme answers is a partition, what a
//! schedule answers is a rate, and a schedule that was saved and restored anywhere has the same future.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use incubate::phase::Phase;
use incubate::plugin::{
    Context, Cost, Grants, Group, Kind, Limits, Moment, PartitionRequest, PartitionScheme, Plugin,
    PluginHost, Schedule, SettingValue,
};
use incubate::random::Seed;
use proptest::prelude::*;

/// One sandbox for all tests, which compiles every component once.
static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    PluginHost::new(Some(&cache)).unwrap()
});

/// The schedules that ship, with their defaults, and what the one that has none cannot do without.
static SCHEDULES: LazyLock<Vec<(Plugin, BTreeMap<String, SettingValue>)>> = LazyLock::new(|| {
    PluginHost::built_in()
        .filter(|one| one.kind == Kind::LrSchedule)
        .map(|one| {
            let plugin = plugin(one.name, Kind::LrSchedule);
            let text = match one.name {
                "piecewise" => "at = [\"0\", \"10%\", \"100%\"]\nfactors = [0.0, 1.0, 0.05]",
                _ => "",
            };
            (plugin, toml::from_str(text).unwrap())
        })
        .collect()
});

fn plugin(name: &str, kind: Kind) -> Plugin {
    HOST.load(name, kind, &Grants::none(), &Limits::default())
        .unwrap()
}

fn schedule((plugin, given): &(Plugin, BTreeMap<String, SettingValue>)) -> Schedule {
    let context = Context {
        seed: Seed(0),
        phase: Phase::FineTune,
    };
    let settings = plugin
        .settings(given)
        .unwrap_or_else(|error| panic!("{error}"));
    Schedule::new(plugin, &settings, context).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_scheme_answers_is_a_partition(
        costs in prop::collection::vec(1_u64..1_000_000, 1..40),
        share in 0.0..1.0_f64,
        balanced: bool,
    ) {
        let modules = 1 + (share * costs.len() as f64) as usize;
        let name = if balanced { "balanced" } else { "uniform" };
        let plugin = plugin(name, Kind::PartitionScheme);
        let settings = plugin.settings(&BTreeMap::new()).unwrap();
        let mut scheme = PartitionScheme::new(&plugin, &settings).unwrap();
        let cost = |name: String, cost: u64| Cost {
            name,
            parameters: cost,
            forward_macs: cost,
            activation_bytes: cost,
            milliseconds: None,
        };
        let request = PartitionRequest {
            entry: cost("entry".to_owned(), 1),
            blocks: costs
                .iter()
                .enumerate()
                .map(|(index, &macs)| cost(format!("blocks.{index}"), macs))
                .collect(),
            exit: cost("exit".to_owned(), 1),
            modules: modules as u32,
            devices: Vec::new(),
            bytes_per_parameter: 16,
        };
        let depths = scheme.divide(&request).unwrap();
        // Modules take consecutive blocks, so these depths say that each is in one, in order.
        prop_assert_eq!(depths.len(), modules);
        prop_assert_eq!(
            depths.iter().map(|depth| depth.target as usize).sum::<usize>(),
            costs.len()
        );
        prop_assert!(depths.iter().all(|depth| 1 <= depth.meta && depth.meta <= depth.target));
        if !balanced {
            let targets = || depths.iter().map(|depth| depth.target);
            prop_assert!(targets().max().unwrap() - targets().min().unwrap() <= 1);
        }
        // The same question has the same answer.
        prop_assert_eq!(scheme.divide(&request).unwrap(), depths);
    }

    #[test]
    fn a_schedule_stays_in_its_bounds_and_has_the_same_future_after_any_interruption(
        index in 0_usize..100,
        per_epoch in 1_u64..6,
        epochs in 7_u32..30,
        base_rate in 1e-5..1.0_f64,
        cut in 0.0..1.0_f64,
        losses in prop::collection::vec(prop_oneof![8 => 0.0..9.0_f64, 1 => Just(f64::NAN)], 30),
    ) {
        let which = &SCHEDULES[index % SCHEDULES.len()];
        let updates = per_epoch * u64::from(epochs);
        let follow = |schedule: &mut Schedule, from: u64, until: u64| -> Vec<u64> {
            (from..until)
                .map(|update| {
                    let moment = |update: u64| Moment {
                        update,
                        updates,
                        epoch: update as f64 / per_epoch as f64,
                        epochs,
                        base_rate,
                        group: Group { name: "decay", index: 0 },
                    };
                    let rate = schedule.rate(&moment(update)).unwrap();
                    assert!(
                        rate.is_finite() && (0.0..=base_rate.max(1e-3) * 1.000_001).contains(&rate),
                        "{}: rate {rate} after {update} of {updates}, base {base_rate}",
                        which.0.identity()
                    );
                    if (update + 1) % per_epoch == 0 {
                        let loss = losses[(update / per_epoch) as usize];
                        let told = [("loss", loss), ("accuracy", 0.5)];
                        schedule.observe(&moment(update + 1), &told).unwrap();
                    }
                    rate.to_bits()
                })
                .collect()
        };
        let whole = follow(&mut schedule(which), 0, updates);
        let cut = (cut * updates as f64) as u64;
        let mut first = schedule(which);
        let mut rates = follow(&mut first, 0, cut);
        let state = first.save().unwrap();
        let mut second = schedule(which);
        second.restore(&state).unwrap();
        rates.extend(follow(&mut second, cut, updates));
        prop_assert_eq!(rates, whole, "{} cut at {}", which.0.identity(), cut);
    }
}
