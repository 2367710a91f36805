//! A picture of any size as a square one: the shorter side fits, the longer is cut at both ends.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Pixel, Rgb};

use super::picture::Picture;

/// The picture with `size` pixels in each direction.
///
/// The centre square is cut out and resampled with the Catmull-Rom cubic, over more pixels when it
/// is made smaller. That equals resampling the whole picture and cutting afterwards, except within
/// the reach of the filter at the two cut edges, but its cost is bounded for every aspect ratio.
pub(super) fn to_square(picture: Picture, size: usize) -> Picture {
    if (picture.width, picture.height) == (size, size) {
        return picture;
    }
    match picture.channels {
        1 => resample::<Luma<u8>>(picture, size),
        3 => resample::<Rgb<u8>>(picture, size),
        channels => unreachable!("a picture has 1 or 3 channels, not {channels}"),
    }
}

fn resample<P: Pixel<Subpixel = u8> + 'static>(picture: Picture, size: usize) -> Picture {
    let Picture {
        width,
        height,
        channels,
        pixels,
    } = picture;
    let (width, height) = (width as u32, height as u32);
    let buffer: ImageBuffer<P, Vec<u8>> =
        ImageBuffer::from_raw(width, height, pixels).expect("a picture has all its pixels");
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let centre = imageops::crop_imm(&buffer, left, top, side, side);
    let resized = imageops::resize(&*centre, size as u32, size as u32, FilterType::CatmullRom);
    Picture {
        width: size,
        height: size,
        channels,
        pixels: resized.into_raw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let pixels = (0..width * height)
            .map(|index| value(index % width, index / width))
            .collect();
        Picture {
            width,
            height,
            channels: 1,
            pixels,
        }
    }

    #[test]
    fn a_picture_that_fits_stays() {
        let fitting = picture(3, 3, |x, y| (3 * y + x) as u8);
        assert_eq!(to_square(fitting.clone(), 3), fitting);
    }

    #[test]
    fn the_centre_is_cut_out() {
        // Only the centre is white: wide and tall pictures both become all white.
        let wide = picture(12, 4, |x, _| if (4..8).contains(&x) { 255 } else { 0 });
        let tall = picture(4, 12, |_, y| if (4..8).contains(&y) { 255 } else { 0 });
        for cut in [wide, tall] {
            assert_eq!(to_square(cut, 4).pixels, vec![255; 16]);
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let large = picture(32, 32, |x, _| (8 * x) as u8);
        let small = to_square(large, 8);
        // The middle of four pixels of slope 8; the edges lack neighbours.
        for x in 2..6 {
            let expected = (8.0 * (4.0 * x as f32 + 1.5)).round() as i32;
            assert!(
                (i32::from(small.pixels[x]) - expected).abs() <= 1,
                "{x}: {small:?}"
            );
        }
    }

    #[test]
    fn channels_stay_apart() {
        let pixels = [10, 20, 30].repeat(35);
        let flat = Picture {
            width: 7,
            height: 5,
            channels: 3,
            pixels,
        };
        let resized = to_square(flat, 9);
        assert_eq!((resized.width, resized.height, resized.channels), (9, 9, 3));
        assert_eq!(resized.pixels, [10, 20, 30].repeat(81));
    }
}
