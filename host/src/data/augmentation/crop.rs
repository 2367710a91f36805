//! Which part of a picture is taken: all of it, a window of the padded picture, or a region that is
//! resized.

use rand::{Rng, RngExt};
use serde::Serialize;

use super::super::Picture;
use super::super::resize::{Interpolation, Region, region_to_square};

/// The regions that are drawn before the centre is taken.
const TRIES: usize = 10;

/// The part of a picture that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// All of it.
    Whole,
    /// A window of its size that is moved over it; outside of the picture is black.
    Padded {
        /// Columns to the right, negative to the left.
        right: isize,
        /// Rows down, negative up.
        down: isize,
    },
    /// A region that becomes the whole picture.
    Resized(Region),
}

/// A region of the picture: its area is a uniform share of the picture's, the logarithm of its ratio
/// of width to height is uniform. When ten of them do not fit, the centre, with the nearest ratio.
pub(super) fn draw(
    stream: &mut impl Rng,
    (width, height): (usize, usize),
    area: [f64; 2],
    ratio: [f64; 2],
) -> Region {
    let [narrowest, widest] = ratio;
    for _ in 0..TRIES {
        let target = stream.random_range(area[0]..=area[1]) * (width * height) as f64;
        let ratio = stream.random_range(narrowest.ln()..=widest.ln()).exp();
        let wide = (target * ratio).sqrt().round_ties_even() as usize;
        let high = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&wide) && (1..=height).contains(&high) {
            return Region {
                left: stream.random_range(0..=width - wide),
                top: stream.random_range(0..=height - high),
                width: wide,
                height: high,
            };
        }
    }
    let own = width as f64 / height as f64;
    let (wide, high) = if own < narrowest {
        let high = (width as f64 / narrowest).round_ties_even() as usize;
        (width, high.clamp(1, height))
    } else if own > widest {
        let wide = (height as f64 * widest).round_ties_even() as usize;
        (wide.clamp(1, width), height)
    } else {
        (width, height)
    };
    Region {
        left: (width - wide) / 2,
        top: (height - high) / 2,
        width: wide,
        height: high,
    }
}

/// The part of the picture.
pub(super) fn apply(
    crop: Crop,
    picture: Picture,
    size: usize,
    interpolation: Interpolation,
) -> Picture {
    match crop {
        Crop::Whole => picture,
        Crop::Padded { right, down } => shifted(&picture, right, down),
        Crop::Resized(region) => region_to_square(&picture, region, size, interpolation),
    }
}

/// A window of the picture's size; outside of the picture it is black.
fn shifted(picture: &Picture, right: isize, down: isize) -> Picture {
    let &Picture {
        width,
        height,
        channels,
        ..
    } = picture;
    let mut pixels = vec![0; picture.pixels.len()];
    // Columns of the window that lie on the picture, and the first column of the picture there.
    let begin = right.min(0).unsigned_abs().min(width);
    let first = right.max(0).unsigned_abs().min(width);
    let count = width - begin.max(first);
    for (y, row) in pixels.chunks_exact_mut(width * channels).enumerate() {
        if let Some(y) = y.checked_add_signed(down).filter(|y| *y < height) {
            let source = (y * width + first) * channels;
            row[begin * channels..(begin + count) * channels]
                .copy_from_slice(&picture.pixels[source..source + count * channels]);
        }
    }
    Picture {
        width,
        height,
        channels,
        pixels,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::data::reference::REFERENCE;
    use crate::phase::Phase;
    use crate::random::{Key, Seed};

    const RATIO: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

    fn stream(sample: u64) -> crate::random::Stream {
        Seed(5).stream(&Key {
            phase: Phase::Meta,
            epoch: 0,
            sample,
            purpose: "resized-crop",
        })
    }

    #[derive(Deserialize)]
    struct Case {
        size: [usize; 2],
        scale: [f64; 2],
        mean: BTreeMap<String, f64>,
        std: BTreeMap<String, f64>,
    }

    /// Mean and deviation of every property of the region, against 40,000 of timm's draws.
    #[test]
    fn regions_are_distributed_as_timms() {
        let cases: Vec<Case> = REFERENCE.cases("crops");
        assert_eq!(cases.len(), 4);
        const DRAWS: u64 = 20_000;
        for case in cases {
            let [width, height] = case.size;
            let regions: Vec<Region> = (0..DRAWS)
                .map(|sample| draw(&mut stream(sample), (width, height), case.scale, RATIO))
                .collect();
            type Property = fn(&Region) -> f64;
            let properties: [(&str, Property); 6] = [
                ("width", |region| region.width as f64),
                ("height", |region| region.height as f64),
                ("left", |region| region.left as f64),
                ("top", |region| region.top as f64),
                ("area", |region| (region.width * region.height) as f64),
                ("ratio", |region| {
                    (region.width as f64 / region.height as f64).ln()
                }),
            ];
            for (name, property) in properties {
                let values: Vec<f64> = regions.iter().map(property).collect();
                let count = values.len() as f64;
                let mean = values.iter().sum::<f64>() / count;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
                let (expected, std) = (case.mean[name], case.std[name]);
                // Five standard errors of the difference of both means.
                let error = 5.0 * std * (1.0 / count + 1.0 / 40_000.0).sqrt() + 1e-9;
                assert!((mean - expected).abs() < error, "{name} {mean} {expected}");
                assert!((variance.sqrt() - std).abs() < 0.03 * std + 1e-9, "{name}");
            }
        }
    }

    #[test]
    fn windows_are_moved_over_the_padded_picture() {
        let picture = Picture {
            width: 3,
            height: 3,
            channels: 1,
            pixels: (1..10).collect(),
        };
        let window = |right, down| shifted(&picture, right, down).pixels;
        assert_eq!(window(0, 0), picture.pixels);
        assert_eq!(window(1, 0), [2, 3, 0, 5, 6, 0, 8, 9, 0]);
        assert_eq!(window(-2, 0), [0, 0, 1, 0, 0, 4, 0, 0, 7]);
        assert_eq!(window(0, 1), [4, 5, 6, 7, 8, 9, 0, 0, 0]);
        assert_eq!(window(0, -2), [0, 0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(window(2, 2), [9, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn every_region_lies_in_the_picture(
            width in 1_usize..50,
            height in 1_usize..50,
            least in 0.01_f64..1.0,
            sample: u64,
        ) {
            let region = draw(&mut stream(sample), (width, height), [least, 1.0], RATIO);
            prop_assert!(region.width >= 1 && region.left + region.width <= width);
            prop_assert!(region.height >= 1 && region.top + region.height <= height);
        }
    }
}
