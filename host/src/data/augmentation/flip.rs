//! Mirroring, left to right.

use rand::Rng;

use super::super::Picture;

/// Whether a picture is mirrored: where the draw lies in the upper part that the probability has.
pub(super) fn draw(stream: &mut impl Rng, probability: f64) -> bool {
    f64::from(stream.next_u32()) / 2.0_f64.powi(32) >= 1.0 - probability
}

/// Mirrors every row.
pub(super) fn mirror(picture: &mut Picture) {
    match picture.channels {
        1 => picture
            .pixels
            .chunks_exact_mut(picture.width)
            .for_each(<[u8]>::reverse),
        _ => picture
            .pixels
            .chunks_exact_mut(picture.width * 3)
            .for_each(|row| row.as_chunks_mut::<3>().0.reverse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_reversed_and_channels_are_not() {
        let mut grey = Picture {
            width: 3,
            height: 2,
            channels: 1,
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        mirror(&mut grey);
        assert_eq!(grey.pixels, [3, 2, 1, 6, 5, 4]);
        let mut colour = Picture {
            width: 2,
            height: 1,
            channels: 3,
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        mirror(&mut colour);
        assert_eq!(colour.pixels, [4, 5, 6, 1, 2, 3]);
    }
}
