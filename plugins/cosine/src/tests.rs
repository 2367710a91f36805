//! The cosine against tables printed by timm 0.3.2, the version that Deep Incubation was trained with.

use incubate_plugin::{SettingValue, testing};

use super::*;

/// `CosineLRScheduler(t_initial=100, lr_min=1e-5, warmup_t=20, warmup_lr_init=1e-6)` on 2e-3.
const WARMUP: &str = include_str!("timm_warmup.txt");
/// `CosineLRScheduler(t_initial=30, lr_min=1e-5)` on 5e-4.
const PLAIN: &str = include_str!("timm_plain.txt");
/// `CosineLRScheduler(t_initial=10, t_mul=2, decay_rate=0.5, cycle_limit=3, lr_min=1e-6)` on 1e-3.
const RESTARTS: &str = include_str!("timm_restarts.txt");

const TOLERANCE: f64 = 1e-12;

type Given<'a> = Vec<(&'a str, SettingValue)>;

fn cosine(given: &[(&str, SettingValue)]) -> Cosine {
    let settings = testing::settings(&Cosine::describe(), given).unwrap();
    Cosine::configure(&settings).unwrap()
}

fn restarts() -> Given<'static> {
    vec![
        ("min_rate", 1e-6.into()),
        ("cycles", 3.into()),
        ("cycle_mul", 2.into()),
        ("cycle_decay", 0.5.into()),
    ]
}

/// The rate at an epoch of a phase with 13 updates an epoch.
fn rate(cosine: &mut Cosine, epoch: u64, epochs: u32, base_rate: f64) -> f64 {
    let moment = testing::moment(epoch * 13, 13, epochs, base_rate);
    cosine.rate(&moment).unwrap()
}

fn assert_table(table: &str, given: &Given<'_>, epochs: u32, base_rate: f64) {
    assert!(table.lines().count() >= epochs as usize);
    for per in ["epoch", "update"] {
        let mut given = given.clone();
        given.push(("per", per.into()));
        let mut cosine = cosine(&given);
        for (epoch, expected) in table.lines().enumerate() {
            let expected: f64 = expected.parse().unwrap();
            let found = rate(&mut cosine, epoch as u64, epochs, base_rate);
            assert!(
                (found - expected).abs() <= TOLERANCE,
                "epoch {epoch} per {per}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn a_warm_up_replaces_the_start_of_the_cosine_as_in_timm() {
    assert_table(WARMUP, &vec![("warmup", 20.into())], 100, 2e-3);
}

#[test]
fn a_plain_cosine_equals_timm_and_stays_at_the_smallest_rate() {
    assert_table(PLAIN, &Vec::new(), 30, 5e-4);
}

#[test]
fn restarts_equal_timm_and_fill_the_phase() {
    assert_table(RESTARTS, &restarts(), 70, 1e-3);
}

#[test]
fn a_cycle_may_have_its_own_length() {
    for length in ["10", "10ep", "130up", "13.333333333333334%"] {
        let mut given = restarts();
        given.push(("cycle_epochs", length.into()));
        assert_table(RESTARTS, &given, 75, 1e-3);
    }
}

#[test]
fn updates_within_an_epoch_follow_the_same_cosine() {
    let mut cosine = cosine(&[("per", "update".into())]);
    let moment = testing::moment(50, 20, 10, 1e-3);
    let expected = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1.0 + (PI * 2.5 / 10.0).cos());
    assert!((cosine.rate(&moment).unwrap() - expected).abs() < 1e-15);
}

#[test]
fn a_prefix_starts_the_cosine_at_the_base_rate_behind_the_warm_up() {
    let mut cosine = cosine(&[("warmup", 5.into()), ("warmup_prefix", true.into())]);
    assert!((rate(&mut cosine, 5, 15, 1e-3) - 1e-3).abs() < 1e-18);
    let middle = f64::midpoint(1e-3, 1e-5);
    assert!((rate(&mut cosine, 10, 15, 1e-3) - middle).abs() < 1e-15);
}

#[test]
fn the_exponent_bends_the_time() {
    let mut cosine = cosine(&[("k_decay", 2.into())]);
    let expected = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1.0 + (PI * 9.0 / 100.0).cos());
    assert!((rate(&mut cosine, 3, 10, 1e-3) - expected).abs() < 1e-15);
}

#[test]
fn a_whole_wave_is_back_where_it_began() {
    let mut cosine = cosine(&[("waves", 1.into()), ("min_ratio", 0.5.into())]);
    let rates = [0, 5, 9].map(|epoch| rate(&mut cosine, epoch, 10, 1.0));
    let late = 0.75 + 0.25 * (PI * 1.8).cos();
    for (rate, expected) in rates.iter().zip([1.0, 0.5, late]) {
        assert!((rate - expected).abs() < 1e-15, "{rates:?}");
    }
}
