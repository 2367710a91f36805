//! Real components that were cut or changed: each gives an error or a plugin that works.

use std::sync::atomic::{AtomicUsize, Ordering};

use incubate::plugin::{Kind, Limits, PluginHost};
use incubate::random::{Key, Seed};
use rand::RngExt;

use super::guests::{assert_alive, file, outcome};
use super::modules;

/// A component may loop after its change, so it gets less of everything.
const LIMITS: fn() -> Limits = || Limits {
    fuel: 1_000_000,
    ..Limits::default()
};

fn shipped() -> Vec<u8> {
    PluginHost::built_in().next().unwrap().bytes.to_vec()
}

/// Tries every variant, on two threads; answers how many of them still worked.
fn try_all(variants: &[Vec<u8>]) -> usize {
    let next = AtomicUsize::new(0);
    let working = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(bytes) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (_folder, path) = file(bytes);
                    let text = outcome(&path, Kind::PartitionScheme, None, &LIMITS());
                    if text.starts_with("went on") {
                        working.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert!(text.starts_with("plugin `"), "{text}");
                    }
                }
            });
        }
    });
    assert_alive();
    working.into_inner()
}

/// `count` copies with one to three bits turned over, the same at every run.
fn flipped(bytes: &[u8], count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|sample| {
            let mut random = Seed(3).stream(&Key {
                phase: incubate::phase::Phase::Meta,
                epoch: 0,
                sample,
                purpose: "flipped bits",
            });
            let mut bytes = bytes.to_vec();
            for _ in 0..random.random_range(1..=3) {
                // The first eight bytes say what the file is; another test covers those.
                let position = random.random_range(8..bytes.len());
                bytes[position] ^= 1 << random.random_range(0..8);
            }
            bytes
        })
        .collect()
}

#[test]
fn cut() {
    for bytes in [shipped(), modules::plain()] {
        let cuts: Vec<Vec<u8>> = (0..200)
            .map(|cut| bytes[..bytes.len() * cut / 200].to_vec())
            .collect();
        // What is missing at the end can be a section that nothing needs.
        let working = try_all(&cuts);
        assert!(working < 40, "{working} of 200");
    }
}

#[test]
fn changed() {
    assert_eq!(try_all(&[modules::plain(), shipped()]), 2);
    let working = try_all(&flipped(&modules::plain(), 500));
    assert!((1..499).contains(&working), "{working} of 500");
    let working = try_all(&flipped(&shipped(), 100));
    assert!((1..99).contains(&working), "{working} of 100");
}
