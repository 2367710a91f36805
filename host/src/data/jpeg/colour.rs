//! Pixels out of samples: colours at the resolution of the luminance, and red, green, and blue.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::samples::Plane;
use crate::data::resize::Region;

/// The pixels of a region: red, green, blue.
pub(super) fn pixels(planes: &[Plane], region: Region) -> Vec<u8> {
    let mut pixels = vec![0; region.width * region.height * 3];
    Arch::new().dispatch(Conversion {
        planes,
        region,
        pixels: &mut pixels,
    });
    pixels
}

/// All rows, compiled for each instruction set.
struct Conversion<'a> {
    planes: &'a [Plane],
    region: Region,
    pixels: &'a mut [u8],
}

impl WithSimd for Conversion<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Region {
            left,
            top,
            width,
            height,
        } = self.region;
        // From the first sample of the colours to the last: two pixels each, where they are halved.
        let mut colours = [vec![0; 2 * width + 2], vec![0; 2 * width + 2]];
        let mut primaries = [vec![0; width], vec![0; width], vec![0; width]];
        let mut sums = Vec::new();
        for y in 0..height {
            let (luminance, first) = self.planes[0].row(top + y);
            let luminance = &luminance[left - first..][..width];
            let target = &mut self.pixels[3 * y * width..][..3 * width];
            if self.planes.len() == 1 {
                for x in 0..width {
                    target[3 * x] = luminance[x];
                    target[3 * x + 1] = luminance[x];
                    target[3 * x + 2] = luminance[x];
                }
                continue;
            }
            for (colour, plane) in colours.iter_mut().zip(&self.planes[1..]) {
                let (begin, end) = (left / plane.across, (left + width - 1) / plane.across + 1);
                let row = top + y;
                match (plane.across, plane.down) {
                    (1, 1) => {
                        let (samples, first) = plane.row(row);
                        colour[..width].copy_from_slice(&samples[left - first..][..width]);
                    }
                    (2, 1) => {
                        let row = plane.row(row);
                        weigh(row, row, [1, 0], begin..end, plane.width, &mut sums);
                        doubled::<1, 2, 2>(&sums, colour);
                    }
                    _ => {
                        let near = row / 2;
                        let far = if row % 2 == 0 {
                            near.saturating_sub(1)
                        } else {
                            (near + 1).min(plane.height - 1)
                        };
                        let (near, far) = (plane.row(near), plane.row(far));
                        weigh(near, far, [3, 1], begin..end, plane.width, &mut sums);
                        doubled::<8, 7, 4>(&sums, colour);
                    }
                }
            }
            let skipped = left % self.planes[1].across;
            let [blue, red] = &colours;
            let (blue, red) = (&blue[skipped..][..width], &red[skipped..][..width]);
            let [reds, greens, blues] = &mut primaries;
            let (reds, greens) = (&mut reds[..width], &mut greens[..width]);
            let blues = &mut blues[..width];
            for x in 0..width {
                let luminance = i32::from(luminance[x]);
                let (blue, red) = (i32::from(blue[x]) - 128, i32::from(red[x]) - 128);
                reds[x] = limited(luminance + ((91881 * red + 32768) >> 16));
                greens[x] = limited(luminance + ((-22554 * blue - 46802 * red + 32768) >> 16));
                blues[x] = limited(luminance + ((116_130 * blue + 32768) >> 16));
            }
            let targets = target.as_chunks_mut::<3>().0;
            let primaries = reds.iter().zip(greens.iter()).zip(blues.iter());
            for (target, ((red, green), blue)) in targets.iter_mut().zip(primaries) {
                *target = [*red, *green, *blue];
            }
        }
    }
}

#[inline(always)]
fn limited(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// Weighted sums of two rows, which each begin with the sample of this number, and one more to each
/// side; beyond the picture its border goes on.
#[inline(always)]
fn weigh(
    (near, first): (&[u8], usize),
    (far, _): (&[u8], usize),
    [of_near, of_far]: [u16; 2],
    wanted: Range<usize>,
    width: usize,
    sums: &mut Vec<u16>,
) {
    let count = wanted.len();
    sums.clear();
    sums.resize(count + 2, 0);
    let sum = [wanted.start.saturating_sub(1), wanted.end.min(width - 1)].map(|place| {
        of_near * u16::from(near[place - first]) + of_far * u16::from(far[place - first])
    });
    (sums[0], sums[count + 1]) = (sum[0], sum[1]);
    let near = &near[wanted.start - first..][..count];
    let far = &far[wanted.start - first..][..count];
    let sums = &mut sums[1..=count];
    for index in 0..count {
        sums[index] = of_near * u16::from(near[index]) + of_far * u16::from(far[index]);
    }
}

/// Two for each but the outermost: three parts of it, one of the neighbour on that side, with what is
/// added for rounding, and without the lowest bits.
#[inline(always)]
fn doubled<const EVEN: u16, const ODD: u16, const BITS: u16>(sums: &[u16], target: &mut [u8]) {
    let count = sums.len() - 2;
    let (before, own, after) = (&sums[..count], &sums[1..=count], &sums[2..]);
    let target = &mut target[..2 * count];
    for index in 0..count {
        let own = 3 * own[index];
        target[2 * index] = ((own + before[index] + EVEN) >> BITS) as u8;
        target[2 * index + 1] = ((own + after[index] + ODD) >> BITS) as u8;
    }
}
