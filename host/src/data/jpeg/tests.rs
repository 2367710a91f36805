use serde::Deserialize;

use super::*;
use crate::data::reference::pixels;

#[derive(Deserialize)]
struct Case {
    name: String,
    width: usize,
    height: usize,
    file: String,
    pixels: Option<String>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../../tests/data/photographs.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 12);
    cases
}

fn decode(bytes: &[u8], region: Option<Region>) -> Option<Picture> {
    let jpeg = Jpeg::open(bytes)?;
    let (width, height) = jpeg.dimensions();
    jpeg.decode(region.unwrap_or(Region::of_size(width, height)))
}

#[test]
fn photographs_have_pillows_bytes() {
    for case in cases() {
        let found = decode(&pixels(&case.file), None);
        let Some(expected) = case.pixels else {
            assert_eq!(found, None, "{}", case.name);
            continue;
        };
        let found = found.unwrap_or_else(|| panic!("{} is not decoded", case.name));
        assert_eq!((found.width, found.height), (case.width, case.height));
        assert_eq!(found.pixels, pixels(&expected), "{}", case.name);
    }
}

#[test]
fn a_region_has_the_pixels_of_the_whole() {
    for case in cases().into_iter().filter(|case| case.pixels.is_some()) {
        let bytes = pixels(&case.file);
        let whole = decode(&bytes, None).unwrap();
        for left in (0..case.width).step_by(3) {
            for top in (0..case.height).step_by(3) {
                for side in [1, 2, 7, 16, 50] {
                    let region = Region {
                        left,
                        top,
                        width: side.min(case.width - left),
                        height: side.min(case.height - top),
                    };
                    let found = decode(&bytes, Some(region)).unwrap();
                    let expected = whole.clone().part(region);
                    assert_eq!(found, expected, "{} {region:?}", case.name);
                }
            }
        }
    }
}

/// What is damaged is decoded to something or left to the other decoder, and ends nothing.
#[test]
fn damaged_files_end_nothing() {
    let mut left = 0;
    let mut all = 0;
    for case in cases() {
        let bytes = pixels(&case.file);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            // A size that is not there is refused before it is decoded.
            let small = |jpeg: &Jpeg<'_>| jpeg.header.width * jpeg.header.height < 1 << 16;
            if Jpeg::open(&damaged).is_none_or(|jpeg| small(&jpeg)) {
                let whole = decode(&damaged, None);
                left += usize::from(whole.is_none());
                all += 1;
                // Where nothing is needed, the same is found.
                let pixel = Region::of_size(1, 1);
                let corner = decode(&damaged, Some(pixel));
                let expected = whole.map(|whole| whole.part(pixel));
                assert_eq!(corner, expected, "{} {place}", case.name);
            }
            // Nothing of a file that was cut off is accepted.
            assert_eq!(decode(&bytes[..place], None), None, "{} {place}", case.name);
        }
    }
    assert!(left > all / 10 && left < all, "{left} of {all}");
}
