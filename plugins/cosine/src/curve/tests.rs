//! The cosine against tables printed by timm 0.3.2.

use incubate_plugin::{Interval, testing};

use super::*;

/// `CosineLRScheduler(t_initial=100, lr_min=1e-5, warmup_t=20, warmup_lr_init=1e-6)` on 2e-3.
const WARMUP: &str = include_str!("timm_warmup.txt");
/// `CosineLRScheduler(t_initial=30, lr_min=1e-5)` on 5e-4.
const PLAIN: &str = include_str!("timm_plain.txt");
/// `CosineLRScheduler(t_initial=10, t_mul=2, decay_rate=0.5, cycle_limit=3, lr_min=1e-6)` on 1e-3.
const RESTARTS: &str = include_str!("timm_restarts.txt");

const TOLERANCE: f64 = 1e-12;

fn cosine() -> Cosine {
    Cosine {
        timeline: Timeline {
            per: Interval::PerEpoch,
            warmup: 0.0,
            warmup_rate: 1e-6,
            warmup_prefix: false,
        },
        min_rate: 1e-5,
        cycles: 1,
        cycle_epochs: None,
        cycle_mul: 1.0,
        cycle_decay: 1.0,
        k_decay: 1.0,
    }
}

fn with_warmup(warmup: f64, warmup_prefix: bool) -> Cosine {
    let mut cosine = cosine();
    cosine.timeline.warmup = warmup;
    cosine.timeline.warmup_prefix = warmup_prefix;
    cosine
}

fn restarts() -> Cosine {
    Cosine {
        min_rate: 1e-6,
        cycles: 3,
        cycle_mul: 2.0,
        cycle_decay: 0.5,
        ..cosine()
    }
}

/// The rate at an epoch of a phase with 13 updates an epoch.
fn rate(cosine: &Cosine, epoch: u64, epochs: u32, base_rate: f64) -> f64 {
    let moment = testing::moment(epoch * 13, 13, epochs, base_rate);
    cosine.at(&moment).unwrap()
}

fn assert_table(table: &str, mut cosine: Cosine, epochs: u32, base_rate: f64) {
    assert!(table.lines().count() >= epochs as usize);
    for per in [Interval::PerEpoch, Interval::PerUpdate] {
        cosine.timeline.per = per;
        for (epoch, expected) in table.lines().enumerate() {
            let expected: f64 = expected.parse().unwrap();
            let found = rate(&cosine, epoch as u64, epochs, base_rate);
            assert!(
                (found - expected).abs() <= TOLERANCE,
                "epoch {epoch} {per:?}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn a_warm_up_replaces_the_start_of_the_cosine_as_in_timm() {
    assert_table(WARMUP, with_warmup(20.0, false), 100, 2e-3);
}

#[test]
fn a_plain_cosine_equals_timm_and_stays_at_the_smallest_rate() {
    assert_table(PLAIN, cosine(), 30, 5e-4);
}

#[test]
fn restarts_equal_timm_and_fill_the_phase() {
    assert_table(RESTARTS, restarts(), 70, 1e-3);
}

#[test]
fn a_cycle_may_have_its_own_length() {
    let cosine = Cosine {
        cycle_epochs: Some(10.0),
        ..restarts()
    };
    assert_table(RESTARTS, cosine, 75, 1e-3);
}

#[test]
fn updates_within_an_epoch_follow_the_same_cosine() {
    let mut cosine = cosine();
    cosine.timeline.per = Interval::PerUpdate;
    let moment = testing::moment(50, 20, 10, 1e-3);
    let expected = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1.0 + (PI * 2.5 / 10.0).cos());
    assert!((cosine.at(&moment).unwrap() - expected).abs() < 1e-15);
}

#[test]
fn a_prefix_starts_the_cosine_at_the_base_rate_behind_the_warm_up() {
    let cosine = with_warmup(5.0, true);
    assert!((rate(&cosine, 5, 15, 1e-3) - 1e-3).abs() < 1e-18);
    let middle = f64::midpoint(1e-3, 1e-5);
    assert!((rate(&cosine, 10, 15, 1e-3) - middle).abs() < 1e-15);
}

#[test]
fn the_exponent_bends_the_time() {
    let cosine = Cosine {
        k_decay: 2.0,
        ..cosine()
    };
    let expected = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1.0 + (PI * 9.0 / 100.0).cos());
    assert!((rate(&cosine, 3, 10, 1e-3) - expected).abs() < 1e-15);
}

#[test]
fn a_warm_up_that_leaves_no_epoch_is_refused() {
    let cosine = with_warmup(10.0, true);
    let moment = testing::moment(100, 10, 10, 1e-3);
    let message = cosine.at(&moment).unwrap_err().message;
    assert_eq!(
        message,
        "the warm-up of 10 epochs leaves nothing of the phase to the cosine"
    );
}
