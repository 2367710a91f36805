//! Reductions, what delays them, and going on after an interruption.

use incubate_plugin::{SettingValue, testing};

use super::*;

const UPDATES: u64 = 5;

fn configured(given: &[(&str, SettingValue)]) -> Result<Plateau, Fault> {
    Plateau::configure(&testing::settings(&Plateau::describe(), given)?)
}

/// The rate of an epoch and, after it, the evaluation.
fn epoch(plateau: &mut Plateau, index: u64, value: f64) -> f64 {
    let moment = |index| testing::moment(index * UPDATES, UPDATES, 100, 1.0);
    let rate = plateau.rate(&moment(index)).unwrap();
    let metric = |name: &str, value| Metric {
        name: name.to_owned(),
        value,
    };
    let metrics = [metric("loss", value), metric("accuracy", 10.0 - value)];
    plateau.observe(&moment(index + 1), &metrics).unwrap();
    rate
}

#[track_caller]
fn assert_rates(given: &[(&str, SettingValue)], values: &[f64], expected: &[f64]) {
    let mut plateau = configured(given).unwrap();
    for (index, (&value, expected)) in values.iter().zip(expected).enumerate() {
        let rate = epoch(&mut plateau, index as u64, value);
        assert!((rate - expected).abs() < 1e-15, "epoch {index}: {rate}");
    }
}

#[test]
fn the_rate_falls_after_more_bad_evaluations_than_patience() {
    let given = [("patience", 1.into()), ("factor", 0.5.into())];
    let values = [3.0, 2.0, 2.0, 1.9999, 1.0, 1.0, 1.0, 1.0];
    let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25];
    assert_rates(&given, &values, &expected);
    let accuracy = [&given[..], &[("metric", "accuracy".into())]].concat();
    assert_rates(&accuracy, &values, &expected);
}

#[test]
fn a_cooldown_and_a_threshold_delay_it() {
    let given = [
        ("patience", 0.into()),
        ("factor", 0.5.into()),
        ("cooldown", 2.into()),
        ("threshold", 0.5.into()),
        ("threshold_mode", "absolute".into()),
        ("min_rate", 0.3.into()),
    ];
    let values = [3.0, 2.6, 9.0, 9.0, 9.0, 9.0, 9.0];
    let expected = [1.0, 1.0, 0.5, 0.5, 0.5, 0.3, 0.3];
    assert_rates(&given, &values, &expected);
}

#[test]
fn the_warm_up_and_its_evaluations_do_not_count() {
    let given = [
        ("patience", 0.into()),
        ("warmup", 2.into()),
        ("warmup_rate", 0.into()),
    ];
    let values = [1.0, 1.0, 5.0, 5.0, 5.0];
    assert_rates(&given, &values, &[0.0, 0.5, 1.0, 1.0, 0.1]);
}

#[test]
fn a_restored_state_goes_on_from_every_point() {
    let given = [
        ("patience", 1.into()),
        ("factor", 0.7.into()),
        ("cooldown", 1.into()),
    ];
    let value = |index: u64| 1.0 + (index as f64 * 2.3).sin();
    let mut whole = configured(&given).unwrap();
    let mut states = Vec::new();
    let rates: Vec<f64> = (0..20)
        .map(|index| {
            states.push(whole.save());
            epoch(&mut whole, index, value(index))
        })
        .collect();
    assert!(rates[19] < 0.5);
    for (start, state) in states.iter().enumerate() {
        let mut resumed = configured(&given).unwrap();
        resumed.restore(state).unwrap();
        for (index, &expected) in rates.iter().enumerate().skip(start) {
            let index = index as u64;
            assert_eq!(epoch(&mut resumed, index, value(index)), expected);
        }
        assert_eq!(resumed.save(), whole.save());
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    assert!(configured(&[("factor", 1.into())]).is_err());
    let mut plateau = configured(&[("metric", "top-5".into())]).unwrap();
    let moment = testing::moment(5, 5, 2, 1.0);
    let metric = Metric {
        name: "loss".to_owned(),
        value: 1.0,
    };
    let fault = plateau.observe(&moment, &[metric]).unwrap_err();
    assert!(fault.message.contains("`top-5`"), "{fault:?}");
    assert_eq!(fault.hint.as_deref(), Some("it gave loss"));
    for state in [vec![], vec![0; 23], vec![0; 25], vec![255; 24]] {
        assert!(plateau.restore(&state).is_err());
    }
}
