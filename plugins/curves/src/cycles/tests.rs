//! Positions within cycles, and what has none.

use incubate_plugin::timeline::Timeline;
use incubate_plugin::{Description, Interval, SettingValue, testing};

use super::*;

const CYCLES: Cycles = Cycles::one(Floor {
    rate: 0.2,
    ratio: None,
});

/// The rate at a time of a phase of 12 epochs with a straight way down.
fn rate(cycles: Cycles, epoch: f64) -> f64 {
    let moment = testing::moment(0, 10, 12, 1.0);
    let mut axis = Timeline::plain(Interval::PerEpoch).axis(&moment);
    axis.time = epoch;
    let point = Point {
        time: epoch,
        length: 12.0,
        warmup: 0.0,
        axis,
    };
    cycles.rate(point, 1.0, |share| 1.0 - share).unwrap()
}

#[track_caller]
fn assert_rates(cycles: Cycles, expected: &[(f64, f64)]) {
    for &(epoch, expected) in expected {
        let found = rate(cycles, epoch);
        assert!((found - expected).abs() < 1e-15, "{epoch}: {found}");
    }
}

#[test]
fn one_cycle_fills_the_phase() {
    assert_rates(CYCLES, &[(0.0, 1.0), (6.0, 0.6), (12.0, 0.2), (50.0, 0.2)]);
}

#[test]
fn cycles_grow_and_decay() {
    let cycles = Cycles {
        cycles: 2,
        mul: 2.0,
        decay: 0.5,
        ..CYCLES
    };
    assert_rates(cycles, &[(2.0, 0.6), (4.0, 0.5), (8.0, 0.3), (12.0, 0.2)]);
    let cycles = Cycles {
        decay_min: false,
        ..cycles
    };
    assert_rates(cycles, &[(2.0, 0.6), (4.0, 0.5), (8.0, 0.35), (12.0, 0.2)]);
}

#[test]
fn cycles_without_a_number_go_on() {
    for mul in [1.0, 1.5] {
        let cycles = Cycles {
            cycles: 0,
            first: Some(Duration::Epochs(2.0)),
            mul,
            ..CYCLES
        };
        assert_eq!(rate(cycles, 2.0), 1.0);
        assert!(rate(cycles, 1e6) > 0.2);
    }
}

fn configured(given: &[(&str, SettingValue)]) -> Result<Cycles, Fault> {
    let description = Description::new("Cycles")
        .parameters(Cycles::parameters())
        .parameters(Cycles::floor_parameters(0.2));
    Cycles::configure(&testing::settings(&description, given)?)
}

#[test]
fn settings_are_the_cycles_and_what_has_no_meaning_is_refused() {
    assert_eq!(configured(&[]), Ok(CYCLES));
    for (given, named) in [
        (("cycles", 0.into()), "`cycle_epochs`"),
        (("cycle_mul", 0.into()), "`cycle_mul`"),
        (("k_decay", 0.into()), "`k_decay`"),
        (("cycle_epochs", 0.into()), "`cycle_epochs`"),
    ] {
        let message = configured(&[given]).unwrap_err().message;
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn a_warm_up_that_leaves_no_epoch_is_refused() {
    let moment = testing::moment(100, 10, 10, 1e-3);
    let timeline = Timeline {
        warmup: Duration::Epochs(10.0),
        warmup_prefix: true,
        ..Timeline::plain(Interval::PerEpoch)
    };
    let rate = timeline.rate(&moment, |point| {
        CYCLES.rate(point, 1e-3, |share| 1.0 - share)
    });
    assert!(rate.unwrap_err().message.contains("leaves nothing"));
}
