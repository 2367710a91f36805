//! Operations that mix a picture with a poorer one, or go beyond it: a factor of 0 is the poorer
//! picture, 1 the picture itself.

use super::super::Picture;

/// One byte: `factor` of the picture and the rest of the poorer one, decimals cut off.
fn mixed(poorer: u8, byte: u8, factor: f32) -> u8 {
    let difference = f32::from(i16::from(byte) - i16::from(poorer));
    // The conversion saturates where the factor goes beyond the picture.
    (f32::from(poorer) + factor * difference) as u8
}

/// Mixes every byte with the same one.
fn mix_with_byte(picture: &mut Picture, poorer: u8, factor: f64) {
    let table: [u8; 256] = std::array::from_fn(|byte| mixed(poorer, byte as u8, factor as f32));
    for byte in &mut picture.pixels {
        *byte = table[usize::from(*byte)];
    }
}

/// The luminance of a pixel (ITU-R 601), in 16-bit fixed point.
fn luminance([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471;
    ((sum + 0x8000) >> 16) as u8
}

/// Saturation; a grey picture has none.
pub(super) fn colour(picture: &mut Picture, factor: f64) {
    if picture.channels == 3 {
        for pixel in picture.pixels.as_chunks_mut::<3>().0 {
            let grey = luminance(*pixel);
            *pixel = pixel.map(|byte| mixed(grey, byte, factor as f32));
        }
    }
}

/// Contrast around the mean luminance.
pub(super) fn contrast(picture: &mut Picture, factor: f64) {
    let sum: u64 = match picture.channels {
        3 => {
            let pixels = picture.pixels.as_chunks::<3>().0.iter();
            pixels.map(|pixel| u64::from(luminance(*pixel))).sum()
        }
        _ => picture.pixels.iter().map(|byte| u64::from(*byte)).sum(),
    };
    let mean = sum as f64 / (picture.width * picture.height) as f64;
    mix_with_byte(picture, (mean + 0.5) as u8, factor);
}

/// Brightness above black.
pub(super) fn brightness(picture: &mut Picture, factor: f64) {
    mix_with_byte(picture, 0, factor);
}

/// Sharpness above the smoothed picture: each pixel counts five times, each of its eight neighbours
/// once. The border, which lacks neighbours, stays.
pub(super) fn sharpness(picture: &mut Picture, factor: f64) {
    let &mut Picture {
        width,
        height,
        channels,
        ..
    } = picture;
    if width < 3 || height < 3 {
        return;
    }
    let row = width * channels;
    // The rows above and at the one that changes, as they were.
    let mut above = picture.pixels[..row].to_vec();
    let mut own = vec![0; row];
    for y in 1..height - 1 {
        let (upper, below) = picture.pixels.split_at_mut((y + 1) * row);
        let target = &mut upper[y * row..];
        own.copy_from_slice(target);
        for index in channels..row - channels {
            let three = |line: &[u8]| {
                u32::from(line[index - channels])
                    + u32::from(line[index])
                    + u32::from(line[index + channels])
            };
            let sum = three(&above) + three(&own) + three(below) + 4 * u32::from(own[index]);
            // Rounded; a thirteenth is never half a byte.
            let smooth = ((2 * sum + 13) / 26) as u8;
            target[index] = mixed(smooth, own[index], factor as f32);
        }
        std::mem::swap(&mut above, &mut own);
    }
}
