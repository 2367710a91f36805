//! Random erasing (Zhong et al. 2020): rectangles of a normalised picture are overwritten.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::super::resize::Region;

/// The least and the largest share of the area that is erased.
const AREA: [f64; 2] = [0.02, 1.0 / 3.0];
/// The least height over width; the largest is its inverse.
const LEAST_RATIO: f64 = 0.3;
/// The rectangles that are drawn before a picture is left.
const TRIES: usize = 10;

/// What is put into an erased rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErasingMode {
    /// A normal random number for every pixel and channel.
    #[default]
    Pixel,
    /// One normal random number for every channel.
    Rand,
    /// 0, the mean of the data set.
    Const,
}

/// The rectangles of one picture of `size` pixels in each direction.
pub(super) fn draw(
    stream: &mut impl Rng,
    probability: f64,
    count: usize,
    size: usize,
) -> Vec<Region> {
    if stream.random::<f64>() >= probability {
        return Vec::new();
    }
    let whole = (size * size) as f64 / count as f64;
    let reach = -LEAST_RATIO.ln();
    let mut rectangle = || {
        (0..TRIES).find_map(|_| {
            let area = stream.random_range(AREA[0]..=AREA[1]) * whole;
            let ratio = stream.random_range(-reach..=reach).exp();
            let height = (area * ratio).sqrt().round_ties_even() as usize;
            let width = (area / ratio).sqrt().round_ties_even() as usize;
            (width < size && height < size).then(|| Region {
                left: stream.random_range(0..=size - width),
                top: stream.random_range(0..=size - height),
                width,
                height,
            })
        })
    };
    (0..count).filter_map(|_| rectangle()).collect()
}

/// Overwrites rectangles of a picture of `size` pixels in each direction: channels, rows, columns.
pub(in crate::data) fn erase(
    values: &mut [f32],
    size: usize,
    rectangles: &[Region],
    mode: ErasingMode,
    stream: &mut impl Rng,
) {
    for region in rectangles {
        for plane in values.chunks_exact_mut(size * size) {
            let colour: f32 = match mode {
                ErasingMode::Rand => StandardNormal.sample(stream),
                ErasingMode::Pixel | ErasingMode::Const => 0.0,
            };
            let rows = plane.chunks_exact_mut(size);
            for row in rows.skip(region.top).take(region.height) {
                let row = &mut row[region.left..region.left + region.width];
                if mode == ErasingMode::Pixel {
                    row.fill_with(|| StandardNormal.sample(stream));
                } else {
                    row.fill(colour);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::reference::REFERENCE;
    use crate::phase::Phase;
    use crate::random::{Key, Seed, Stream};

    fn stream(sample: u64, purpose: &str) -> Stream {
        Seed(9).stream(&Key {
            phase: Phase::Meta,
            epoch: 0,
            sample,
            purpose,
        })
    }

    #[derive(serde::Deserialize)]
    struct Case {
        size: usize,
        probability: f64,
        count: usize,
        none: f64,
        mean: f64,
        std: f64,
    }

    /// How much is erased, against 20,000 pictures of timm's.
    #[test]
    fn rectangles_are_distributed_as_timms() {
        let cases: Vec<Case> = REFERENCE.cases("erasings");
        assert_eq!(cases.len(), 4);
        const PICTURES: u64 = 10_000;
        for case in cases {
            let mut none = 0.0;
            let mut shares = Vec::new();
            for sample in 0..PICTURES {
                let rectangles = draw(
                    &mut stream(sample, "erasing"),
                    case.probability,
                    case.count,
                    case.size,
                );
                let mut values = vec![1.0; case.size * case.size];
                let noise = &mut stream(sample, "erasing-noise");
                erase(
                    &mut values,
                    case.size,
                    &rectangles,
                    ErasingMode::Const,
                    noise,
                );
                let erased = values.iter().filter(|value| **value == 0.0).count();
                none += f64::from(u8::from(erased == 0)) / PICTURES as f64;
                shares.push(erased as f64 / values.len() as f64);
            }
            let count = shares.len() as f64;
            let mean = shares.iter().sum::<f64>() / count;
            let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
            let error = 5.0 * case.std * (1.0 / count + 1.0 / 20_000.0).sqrt();
            assert!((mean - case.mean).abs() < error, "{mean} {}", case.mean);
            assert!((variance.sqrt() / case.std - 1.0).abs() < 0.04);
            assert!((none - case.none).abs() < 0.025, "{none} {}", case.none);
        }
    }

    #[test]
    fn the_modes_put_what_they_say() {
        let region = Region {
            left: 1,
            top: 2,
            width: 30,
            height: 20,
        };
        let erased = |mode| {
            let mut values = vec![9.0; 3 * 32 * 32];
            erase(
                &mut values,
                32,
                &[region],
                mode,
                &mut stream(0, "erasing-noise"),
            );
            let kept = values.iter().filter(|value| **value == 9.0).count();
            assert_eq!(kept, 3 * (32 * 32 - 600));
            assert_eq!(values[2 * 32], 9.0);
            assert_ne!(values[2 * 32 + 1], 9.0);
            values.retain(|value| *value != 9.0);
            values
        };
        assert!(erased(ErasingMode::Const).iter().all(|value| *value == 0.0));
        let colours = erased(ErasingMode::Rand);
        for channel in colours.chunks_exact(600) {
            assert!(channel.iter().all(|value| *value == channel[0]));
        }
        assert_ne!(colours[0], colours[600]);
        let noise = erased(ErasingMode::Pixel);
        let count = noise.len() as f32;
        let mean = noise.iter().sum::<f32>() / count;
        let variance = noise.iter().map(|value| value * value).sum::<f32>() / count;
        assert!(
            mean.abs() < 0.12 && (variance - 1.0).abs() < 0.15,
            "{mean} {variance}"
        );
        let different = noise.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(different, noise.len() - 1);
    }
}
