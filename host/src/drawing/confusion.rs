//! A confusion matrix as a picture: the row is the class that pictures have, the column the one that
//! they were taken for, and the colour the share of the row.

use image::{Rgb, RgbImage};

use super::letters::{self, ADVANCE, Direction, HEIGHT};

/// Pixels that the cells of a picture with many classes fill in each direction.
const CELLS: usize = 1000;
/// Pixels of a cell at most and at least.
const CELL_MOST: usize = 48;
const CELL_LEAST: usize = 2;
/// From this size on a cell has a line around it and its class a name.
const CELL_NAMED: u32 = 14;
/// From this size on a cell has its share in percent.
const CELL_NUMBERED: u32 = 32;
/// Letters of a name that are shown.
const NAME: usize = 16;
/// Pixels around everything.
const MARGIN: u32 = 12;
/// Pixels of a mark beside a class that has its number in place of its name.
const MARK: u32 = 6;

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([40; 3]);
const LINE: Rgb<u8> = Rgb([225; 3]);
const RIGHT: Rgb<u8> = Rgb([18, 92, 58]);
const WRONG: Rgb<u8> = Rgb([176, 24, 32]);

/// Draws the shares of a confusion matrix, row by row, each between 0 and 1, for classes with these
/// names. Rightly classified is green, wrongly red; the colour is as strong as the root of the share,
/// so that one picture in a hundred can still be seen. Up to 71 classes have their names, more have
/// numbers at the side.
///
/// # Panics
/// If there is not one share for every pair of classes.
pub fn confusion(shares: &[f64], names: &[String]) -> RgbImage {
    let classes = names.len();
    assert_eq!(shares.len(), classes * classes);
    let cell = (CELLS / classes.max(1)).clamp(CELL_LEAST, CELL_MOST) as u32;
    let labels = labels(names, cell);
    let longest = labels.iter().map(|(_, label)| letters::length(label)).max();
    let side = longest.unwrap_or_default() + MARK + 2;
    let (left, top) = (MARGIN + side, MARGIN + side);
    let extent = cell * classes as u32;
    let caption = "row: class, column: taken for, colour: share of the row";
    let caption_top = top + extent + MARGIN;
    let width = (left + extent).max(MARGIN + letters::length(caption)) + MARGIN;
    let mut picture = RgbImage::from_pixel(width, caption_top + HEIGHT + MARGIN, PAPER);

    for (index, share) in shares.iter().enumerate() {
        let (row, column) = (index / classes, index % classes);
        let place = (left + column as u32 * cell, top + row as u32 * cell);
        draw_cell(&mut picture, place, cell, *share, row == column);
    }
    for (class, label) in &labels {
        let middle = *class as u32 * cell + cell / 2;
        let length = letters::length(label);
        let across = (middle + 1).saturating_sub(HEIGHT / 2);
        let row = (left - MARK - length, top + across);
        letters::write(&mut picture, label, row, Direction::Right, INK);
        if longest < Some(cell) {
            let column = (left + middle - length / 2, top - MARK - HEIGHT);
            letters::write(&mut picture, label, column, Direction::Right, INK);
        } else {
            let column = (left + across, top - MARK - 1);
            letters::write(&mut picture, label, column, Direction::Up, INK);
        }
        if cell < CELL_NAMED {
            for step in 2..MARK {
                picture.put_pixel(left - step, top + middle, INK);
                picture.put_pixel(left + middle, top - step, INK);
            }
        }
    }
    let caption_place = (MARGIN, caption_top);
    letters::write(&mut picture, caption, caption_place, Direction::Right, INK);
    picture
}

/// Fills a cell, and writes its share into it where there is room.
fn draw_cell(picture: &mut RgbImage, (x, y): (u32, u32), cell: u32, share: f64, right: bool) {
    let colour = blend(if right { RIGHT } else { WRONG }, share.sqrt());
    let lined = cell >= CELL_NAMED;
    for down in 0..cell {
        for across in 0..cell {
            let edge = lined && (down == 0 || across == 0);
            picture.put_pixel(x + across, y + down, if edge { LINE } else { colour });
        }
    }
    let percent = (share * 100.0).round();
    if cell >= CELL_NUMBERED && percent >= 1.0 {
        let number = percent.to_string();
        let place = (
            x + (cell + 1 - letters::length(&number)) / 2,
            y + (cell + 1 - HEIGHT) / 2,
        );
        let ink = if share > 0.25 { PAPER } else { INK };
        letters::write(picture, &number, place, Direction::Right, ink);
    }
}

/// Paper with this much of a colour.
fn blend(colour: Rgb<u8>, strength: f64) -> Rgb<u8> {
    let part = |paper: u8, ink: u8| {
        (f64::from(paper) + (f64::from(ink) - f64::from(paper)) * strength.clamp(0.0, 1.0)).round()
            as u8
    };
    Rgb(std::array::from_fn(|channel| {
        part(PAPER.0[channel], colour.0[channel])
    }))
}

/// The classes that are labelled: all by name, or some by number where there is no room.
fn labels(names: &[String], cell: u32) -> Vec<(usize, String)> {
    if cell >= CELL_NAMED {
        return names
            .iter()
            .map(|name| name.chars().take(NAME).collect())
            .enumerate()
            .collect();
    }
    // The smallest round step at which numbers do not touch each other.
    let room = |step: &usize| *step as u32 * cell >= ADVANCE * 2 + HEIGHT;
    let step = [5, 10, 20, 50, 100].into_iter().find(room).unwrap_or(100);
    (0..names.len())
        .step_by(step)
        .map(|class| (class, class.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("c{class}")).collect()
    }

    /// The colour in the middle of the lower right quarter of a cell, beside its number.
    fn colour(picture: &RgbImage, classes: usize, row: usize, column: usize) -> Rgb<u8> {
        let cell = (CELLS / classes).clamp(CELL_LEAST, CELL_MOST) as u32;
        let longest = labels(&names(classes), cell)
            .iter()
            .map(|(_, label)| letters::length(label))
            .max()
            .unwrap();
        let origin = MARGIN + longest + MARK + 2;
        let at = |index: usize| origin + index as u32 * cell + cell - 1;
        *picture.get_pixel(at(column), at(row))
    }

    #[test]
    fn rows_are_classes_and_columns_what_they_are_taken_for() {
        let picture = confusion(&[0.75, 0.25, 0.0, 1.0], &names(2));
        assert_eq!(colour(&picture, 2, 0, 1), blend(WRONG, 0.5));
        assert_eq!(colour(&picture, 2, 1, 0), PAPER);
        assert_eq!(colour(&picture, 2, 1, 1), RIGHT);
    }

    #[test]
    fn pictures_of_few_and_of_many_classes_can_be_read() {
        for (classes, least, most) in [(10, 480, 800), (100, 1000, 1400), (1000, 2000, 2100)] {
            let mut shares = vec![0.0; classes * classes];
            // The last class is taken for the first.
            shares[classes * (classes - 1)] = 1.0;
            let picture = confusion(&shares, &names(classes));
            let (width, height) = picture.dimensions();
            assert!((least..most).contains(&width), "{classes}: {width}");
            assert!((least..most).contains(&height), "{classes}: {height}");
            assert_eq!(colour(&picture, classes, classes - 1, 0), WRONG);
            assert_eq!(colour(&picture, classes, 0, classes - 1), PAPER);
        }
    }
}
