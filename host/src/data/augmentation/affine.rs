//! Rotation, shearing, and translation: every pixel is taken from another place of the picture, or
//! is the fill colour where that lies outside.
//!
//! The cubic is Pillow's for transformations, Keys' with a = -1, which is sharper than the one for
//! resizing, and decimals are cut off.

use super::super::Picture;
use super::super::resize::Interpolation;

/// Rotates around the centre, counter-clockwise.
pub(super) fn rotate(
    picture: &mut Picture,
    degrees: f64,
    fill: [u8; 3],
    interpolation: Interpolation,
) {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return;
    }
    let (sine, cosine) = (-degrees.to_radians()).sin_cos();
    // Fifteen decimals, so that the picture does not depend on the last bit of a sine.
    let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (sine, cosine) = (rounded(sine), rounded(cosine));
    let (x, y) = (picture.width as f64 / 2.0, picture.height as f64 / 2.0);
    let right = cosine * -x + sine * -y + x;
    let down = -sine * -x + cosine * -y + y;
    transform(
        picture,
        [cosine, sine, right, -sine, cosine, down],
        fill,
        interpolation,
    );
}

/// Takes the pixel at (x, y) from (a x + b y + c, d x + e y + f), where the centre of the first
/// pixel is (1/2, 1/2).
pub(super) fn transform(
    picture: &mut Picture,
    matrix: [f64; 6],
    fill: [u8; 3],
    interpolation: Interpolation,
) {
    match (picture.channels, interpolation) {
        (1, Interpolation::Bicubic) => sample::<1, 4>(picture, matrix, [fill[0]], cubic),
        (1, Interpolation::Bilinear) => sample::<1, 2>(picture, matrix, [fill[0]], linear),
        (3, Interpolation::Bicubic) => sample::<3, 4>(picture, matrix, fill, cubic),
        (3, Interpolation::Bilinear) => sample::<3, 2>(picture, matrix, fill, linear),
        (channels, _) => unreachable!("a picture has 1 or 3 channels, not {channels}"),
    }
}

/// Between the second and the third of four values.
fn cubic([before, first, second, after]: [f64; 4], part: f64) -> f64 {
    let p1 = first;
    let p2 = -before + second;
    let p3 = 2.0 * (before - first) + second - after;
    let p4 = -before + first - second + after;
    p1 + part * (p2 + part * (p3 + part * p4))
}

/// Between two values.
fn linear([first, second]: [f64; 2], part: f64) -> f64 {
    first + (second - first) * part
}

/// A number from -1/2 on as the whole number below it and the part above that.
fn parts(number: f64) -> (isize, f64) {
    let cut = number as isize;
    let whole = cut - isize::from(number < cut as f64);
    (whole, number - whole as f64)
}

/// Fills the picture from itself; `between` interpolates `REACH` neighbours.
fn sample<const CHANNELS: usize, const REACH: usize>(
    picture: &mut Picture,
    [a, b, c, d, e, f]: [f64; 6],
    fill: [u8; CHANNELS],
    between: impl Fn([f64; REACH], f64) -> f64,
) {
    let (width, height) = (picture.width, picture.height);
    let source = std::mem::take(&mut picture.pixels);
    let source = source.as_chunks::<CHANNELS>().0;
    let mut pixels = Vec::with_capacity(width * height * CHANNELS);
    // The first neighbour lies this far before the place.
    let back = (REACH / 2 - 1) as isize;
    for row in 0..height {
        let y = row as f64 + 0.5;
        for column in 0..width {
            let x = column as f64 + 0.5;
            let (from_x, from_y) = (a * x + b * y + c, d * x + e * y + f);
            let inside = |place: f64, length: usize| (0.0..length as f64).contains(&place);
            if !inside(from_x, width) || !inside(from_y, height) {
                pixels.extend_from_slice(&fill);
                continue;
            }
            let (left, right) = parts(from_x - 0.5);
            let (top, down) = parts(from_y - 0.5);
            // Outside of the picture its border goes on.
            let clamped = |first: isize, length: usize| {
                let mut places = [0; REACH];
                for (step, place) in places.iter_mut().enumerate() {
                    let wanted = first - back + step as isize;
                    *place = wanted.clamp(0, length as isize - 1) as usize;
                }
                places
            };
            let (columns, rows) = (clamped(left, width), clamped(top, height));
            // A part of 0 takes the second neighbour alone, for either interpolation.
            let middle = back as usize;
            let needed = if down == 0.0 {
                middle..middle + 1
            } else {
                0..REACH
            };
            let mut lines = [[0.0; REACH]; CHANNELS];
            for step in needed {
                let line = &source[rows[step] * width..(rows[step] + 1) * width];
                if right == 0.0 {
                    let pixel = line[columns[middle]];
                    for (line, byte) in lines.iter_mut().zip(pixel) {
                        line[step] = f64::from(byte);
                    }
                    continue;
                }
                let pixels = columns.map(|column| line[column]);
                for (channel, line) in lines.iter_mut().enumerate() {
                    line[step] = between(pixels.map(|pixel| f64::from(pixel[channel])), right);
                }
            }
            let values = lines.map(|line| {
                if down == 0.0 {
                    line[middle]
                } else {
                    between(line, down)
                }
            });
            // The conversion cuts decimals and saturates.
            pixels.extend(values.map(|value| value as u8));
        }
    }
    picture.pixels = pixels;
}
