//! Operations that give every byte of a channel another one by a table.

use super::super::Picture;

/// A byte for every byte.
type Table = [u8; 256];

/// The table of a function.
fn table(of: impl Fn(u8) -> u8) -> Table {
    std::array::from_fn(|byte| of(byte as u8))
}

fn replace(picture: &mut Picture, table: &Table) {
    for byte in &mut picture.pixels {
        *byte = table[usize::from(*byte)];
    }
}

/// Replaces by a table for each channel, made of how often each byte occurs in it; where there is
/// none, the channel stays.
fn replace_by_histogram(picture: &mut Picture, make: impl Fn(&[usize; 256]) -> Option<Table>) {
    let channels = picture.channels;
    for channel in 0..channels {
        let mut histogram = [0; 256];
        for byte in picture.pixels[channel..].iter().step_by(channels) {
            histogram[usize::from(*byte)] += 1;
        }
        if let Some(table) = make(&histogram) {
            for byte in picture.pixels[channel..].iter_mut().step_by(channels) {
                *byte = table[usize::from(*byte)];
            }
        }
    }
}

pub(super) fn auto_contrast(picture: &mut Picture) {
    replace_by_histogram(picture, |histogram| {
        let lowest = histogram.iter().position(|count| *count > 0)?;
        let highest = histogram.iter().rposition(|count| *count > 0)?;
        if highest <= lowest {
            return None;
        }
        let scale = 255.0 / (highest - lowest) as f64;
        let offset = -(lowest as f64) * scale;
        // The conversion cuts decimals and saturates.
        Some(table(|byte| (f64::from(byte) * scale + offset) as u8))
    });
}

pub(super) fn equalize(picture: &mut Picture) {
    replace_by_histogram(picture, |histogram| {
        let most = histogram.iter().rposition(|count| *count > 0)?;
        let total: usize = histogram.iter().sum();
        let step = (total - histogram[most]) / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(std::array::from_fn(|byte| {
            let value = (below / step).min(255) as u8;
            below += histogram[byte];
            value
        }))
    });
}

pub(super) fn invert(picture: &mut Picture) {
    for byte in &mut picture.pixels {
        *byte = !*byte;
    }
}

/// `bits` is at most 8.
pub(super) fn posterize(picture: &mut Picture, bits: u8) {
    let mask = (0xff_u16 << (8 - bits)) as u8;
    for byte in &mut picture.pixels {
        *byte &= mask;
    }
}

pub(super) fn solarize(picture: &mut Picture, threshold: u16) {
    replace(
        picture,
        &table(|byte| {
            if u16::from(byte) < threshold {
                byte
            } else {
                !byte
            }
        }),
    );
}

pub(super) fn solarize_add(picture: &mut Picture, addition: u8) {
    replace(
        picture,
        &table(|byte| {
            if byte < 128 {
                byte.saturating_add(addition)
            } else {
                byte
            }
        }),
    );
}
