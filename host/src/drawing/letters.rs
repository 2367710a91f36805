//! Words in pictures: capital letters, digits and some signs, three pixels wide and five high.

use image::{Rgb, RgbImage};

/// Pixels of a picture for one pixel of a letter.
const SCALE: u32 = 2;

/// Pixels from one letter to the next.
pub(super) const ADVANCE: u32 = 4 * SCALE;

/// Height of a word in pixels.
pub(super) const HEIGHT: u32 = 5 * SCALE;

/// Which way a word runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the right.
    Right,
    /// Upwards, for the heads of narrow columns.
    Up,
}

/// The form of a letter: an octal digit for each row from the top, whose bits are the pixels of the
/// row from the left.
fn form(letter: char) -> u16 {
    match letter.to_ascii_uppercase() {
        ' ' => 0,
        '0' => 0o75557,
        '1' => 0o26227,
        '2' => 0o71747,
        '3' => 0o71717,
        '4' => 0o55711,
        '5' => 0o74717,
        '6' => 0o74757,
        '7' => 0o71111,
        '8' => 0o75757,
        '9' => 0o75717,
        'A' => 0o25755,
        'B' => 0o65656,
        'C' => 0o34443,
        'D' => 0o65556,
        'E' => 0o74647,
        'F' => 0o74644,
        'G' => 0o34553,
        'H' => 0o55755,
        'I' => 0o72227,
        'J' => 0o11152,
        'K' => 0o55655,
        'L' => 0o44447,
        'M' => 0o57755,
        'N' => 0o65555,
        'O' => 0o25552,
        'P' => 0o65644,
        'Q' => 0o25573,
        'R' => 0o65655,
        'S' => 0o34216,
        'T' => 0o72222,
        'U' => 0o55557,
        'V' => 0o55552,
        'W' => 0o55775,
        'X' => 0o55255,
        'Y' => 0o55222,
        'Z' => 0o71247,
        '-' => 0o00700,
        '_' => 0o00007,
        '.' => 0o00002,
        ',' => 0o00024,
        ':' => 0o02020,
        '/' => 0o11244,
        '+' => 0o02720,
        '&' => 0o25253,
        '(' => 0o12221,
        ')' => 0o42224,
        '\'' => 0o22000,
        _ => 0o71202,
    }
}

/// Pixels that a word is long, without the gap after its last letter.
pub(super) fn length(word: &str) -> u32 {
    (word.chars().count() as u32 * ADVANCE).saturating_sub(SCALE)
}

/// Writes a word whose first letter begins at `left` and `top`; for a word that runs upwards, `top`
/// is the lowest row of the first letter. What lies outside of the picture is left out.
pub(super) fn write(
    picture: &mut RgbImage,
    word: &str,
    (left, top): (u32, u32),
    direction: Direction,
    colour: Rgb<u8>,
) {
    for (index, letter) in word.chars().enumerate() {
        let form = form(letter);
        for along in 0..3 * SCALE {
            for across in 0..HEIGHT {
                let row = across / SCALE;
                let bit = (4 - row) * 3 + (2 - along / SCALE);
                if form >> bit & 1 == 0 {
                    continue;
                }
                let along = index as u32 * ADVANCE + along;
                let (x, y) = match direction {
                    Direction::Right => (left + along, Some(top + across)),
                    Direction::Up => (left + across, top.checked_sub(along)),
                };
                if let Some(pixel) = y.and_then(|y| picture.get_pixel_mut_checked(x, y)) {
                    *pixel = colour;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a picture, `#` for what is written.
    fn rows(picture: &RgbImage) -> Vec<String> {
        picture
            .rows()
            .map(|row| {
                row.map(|pixel| if pixel.0[0] > 0 { '#' } else { '.' })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_letter_has_its_form_in_both_directions() {
        let white = Rgb([255; 3]);
        let mut right = RgbImage::new(6, 10);
        write(&mut right, "L", (0, 0), Direction::Right, white);
        let mut expected = vec!["##...."; 8];
        expected.extend(["######"; 2]);
        assert_eq!(rows(&right), expected);
        let mut up = RgbImage::new(10, 6);
        write(&mut up, "l", (0, 5), Direction::Up, white);
        let mut expected = vec!["........##"; 4];
        expected.extend(["##########"; 2]);
        assert_eq!(rows(&up), expected);
    }

    #[test]
    fn letters_and_digits_differ_from_each_other() {
        let all: Vec<char> = ('A'..='Z')
            .chain('0'..='9')
            .chain("-_.,:/+&()'?".chars())
            .collect();
        for (index, letter) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(form(*letter), form(*other), "{letter} and {other}");
            }
        }
    }
}
