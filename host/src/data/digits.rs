//! The data set in the binary: handwritten digits, 1,797 grey pictures of 8 x 8 pixels.
//!
//! The file appears to group the pictures by writer (for 42 % of them the nearest one of the same
//! class is within 64 lines, where 7 % would be by chance), so the last fifth of each class is kept
//! for validation: most of its writers should not be among those that are trained on.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;

use super::DataError;
use super::config::{DataConfig, Limits};
use super::memory::MemoryPictures;
use super::normalisation::{Choice, KnownNormalisation, choose};
use super::picture::{Dataset, Pictures};

/// One line a picture: 64 values from 0 to 16, then the class.
const FILE: &[u8] = include_bytes!("../../assets/digits.csv.gz");
const NAME: &str = "digits.csv.gz";
const SIDE: usize = 8;
const CLASSES: usize = 10;
const WHITE: u16 = 16;

/// Opens the embedded set.
pub(super) fn open(config: &DataConfig, limits: Limits) -> Result<Dataset, DataError> {
    let path = Path::new(NAME);
    let all = parse(FILE, path)?;
    let mut digest = Sha256::new();
    all.update(&mut digest);
    let (train, validation) = split(all.labels());
    let (train, validation) = (all.select(&train), all.select(&validation));
    let normalisation = match choose(config, 1, KnownNormalisation::Measured)? {
        Choice::Given(normalisation) => normalisation,
        Choice::Measured => train.normalisation(path)?,
    };
    let resize = config.resize.unwrap_or(false);
    let limit = limits.train(train.len());
    Ok(Dataset {
        name: "digits".to_owned(),
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        channels: 1,
        picture_size: Some((SIDE, SIDE)),
        resize,
        evaluation_crop: config.evaluation_crop(resize)?,
        threads: config.threads,
        normalisation,
        train: Arc::new(train.limit(limit)),
        validation: Arc::new(validation.limit(limits.validation)),
        ignored_files: 0,
        left_out: Vec::new(),
        digest: hexadecimal(digest),
    })
}

/// The indices for training and for validation: of each class, the last fifth (rounded) is for
/// validation.
fn split(labels: &[u8]) -> (Vec<usize>, Vec<usize>) {
    let mut remaining = [0_usize; CLASSES];
    for label in labels {
        remaining[usize::from(*label)] += 1;
    }
    let kept = remaining.map(|count| (2 * count + 5) / 10);
    (0..labels.len()).partition(|index| {
        let class = usize::from(labels[*index]);
        remaining[class] -= 1;
        remaining[class] >= kept[class]
    })
}

fn parse(compressed: &[u8], path: &Path) -> Result<MemoryPictures, DataError> {
    let corrupt = |what: String| DataError::Corrupt {
        path: path.to_path_buf(),
        what,
    };
    let mut text = String::new();
    GzDecoder::new(compressed)
        .read_to_string(&mut text)
        .map_err(|error| corrupt(error.to_string()))?;
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let values: Vec<u16> = line
            .split(',')
            .map(|value| value.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|error| corrupt(format!("line {number}: {error}")))?;
        let Some((label, values)) = values
            .split_last()
            .filter(|(_, values)| values.len() == SIDE * SIDE)
        else {
            return Err(corrupt(format!(
                "line {number} has {} values instead of {}",
                values.len(),
                SIDE * SIDE + 1
            )));
        };
        if usize::from(*label) >= CLASSES {
            return Err(corrupt(format!("line {number} has class {label}")));
        }
        if let Some(value) = values.iter().find(|value| **value > WHITE) {
            return Err(corrupt(format!(
                "line {number} has a pixel of value {value}"
            )));
        }
        labels.push(*label as u8);
        pixels.extend(
            values
                .iter()
                .map(|value| ((value * 255 + WHITE / 2) / WHITE) as u8),
        );
    }
    let pictures = MemoryPictures::new("digits".to_owned(), (SIDE, SIDE), pixels, labels);
    if pictures.is_empty() {
        return Err(corrupt("it has no lines".to_owned()));
    }
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn compressed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn failure(bytes: &[u8]) -> String {
        parse(bytes, Path::new(NAME)).unwrap_err().to_string()
    }

    #[test]
    fn the_split_keeps_the_last_fifth_of_each_class() {
        let labels: Vec<u8> = [[0_u8; 10], [1; 10]].concat();
        let (train, validation) = split(&labels);
        assert_eq!(validation, [8, 9, 18, 19]);
        assert_eq!(train.len(), 16);
    }

    #[test]
    fn values_are_scaled_to_bytes() {
        let mut values = vec!["0"; 65];
        (values[1], values[2], values[3], values[64]) = ("16", "8", "1", "9");
        let pictures = parse(&compressed(&values.join(",")), Path::new(NAME)).unwrap();
        let picture = pictures.picture(0).unwrap();
        assert_eq!(picture.pixels[..5], [0, 255, 128, 16, 0]);
        assert_eq!(pictures.label(0), 9);
    }

    #[test]
    fn corrupt_files_are_refused() {
        let line = |pixel: &str, label: &str| {
            let mut values = vec![pixel; 64];
            values.push(label);
            compressed(&values.join(","))
        };
        assert!(parse(&line("3", "4"), Path::new(NAME)).is_ok());
        assert!(failure(&line("17", "4")).contains("line 1 has a pixel of value 17"));
        assert!(failure(&line("3", "10")).contains("line 1 has class 10"));
        assert!(failure(&line("x", "1")).contains("line 1: invalid digit"));
        assert!(failure(&compressed("1,2,3")).contains("3 values instead of 65"));
        assert!(failure(&compressed("")).contains("no lines"));
        assert!(failure(&FILE[..FILE.len() / 2]).starts_with("digits.csv.gz is corrupt: "));
        assert!(failure(b"no gzip").contains("corrupt"));
    }
}
