//! Data sets in the IDX format of MNIST: a header of big-endian numbers, then bytes.
//!
//! Nothing is believed of a header before the bytes that it announces have been read: a corrupt
//! count allocates nothing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;

use super::DataError;
use super::config::{DataConfig, Limits, folder_name};
use super::memory::MemoryPictures;
use super::normalisation::{Choice, KnownNormalisation, choose};
use super::picture::{Dataset, Pictures};

/// What a folder with IDX files is.
pub(super) const EXPECTED: &str = "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or with .gz (Fashion-MNIST: install Debian's package dataset-fashion-mnist and set `path = \"/usr/share/datasets/fashion-mnist\"`)";

/// Bytes without sign, in three dimensions: pictures, rows, columns.
const IMAGES: u32 = 0x0803;
/// Bytes of one file that are taken; the largest known set has 550 MB. A few compressed bytes can
/// stand for any number.
const MOST_BYTES: usize = 4 << 30;
/// Bytes without sign, in one dimension.
const LABELS: u32 = 0x0801;

/// Opens the set in a folder.
pub(super) fn open(
    config: &DataConfig,
    folder: &Path,
    limits: Limits,
) -> Result<Dataset, DataError> {
    let (train, train_images, train_labels) = read_part(folder, "train")?;
    let (validation, validation_images, validation_labels) = read_part(folder, "t10k")?;
    if train.size() != validation.size() {
        let ((width, height), (train_width, train_height)) = (validation.size(), train.size());
        return Err(DataError::Corrupt {
            path: validation_images,
            what: format!(
                "its pictures have {width} x {height} pixels, those for training {train_width} x {train_height}"
            ),
        });
    }
    let classes = count_classes(train.labels(), &train_labels)?;
    if let Some(index) = validation
        .labels()
        .iter()
        .position(|label| usize::from(*label) >= classes)
    {
        return Err(DataError::Corrupt {
            path: validation_labels,
            what: format!(
                "picture {index} has label {}, but the labels for training are 0 to {}",
                validation.label(index),
                classes - 1
            ),
        });
    }
    let normalisation = match choose(config, 1, KnownNormalisation::Measured)? {
        Choice::Given(normalisation) => normalisation,
        Choice::Measured => train.normalisation(&train_images)?,
    };
    let resize = config.resize.unwrap_or(false);
    let limit = limits.train(train.len());
    let mut digest = Sha256::new();
    train.update(&mut digest);
    validation.update(&mut digest);
    Ok(Dataset {
        name: folder_name(folder),
        classes: (0..classes).map(|class| class.to_string()).collect(),
        channels: 1,
        picture_size: Some(train.size()),
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

/// The number of classes, all of which occur.
fn count_classes(labels: &[u8], path: &Path) -> Result<usize, DataError> {
    let mut present = [false; 256];
    for label in labels {
        present[usize::from(*label)] = true;
    }
    let classes = 1 + present.iter().rposition(|present| *present).unwrap_or(0);
    match present[..classes].iter().position(|present| !present) {
        Some(class) => Err(DataError::EmptyClass {
            class: class.to_string(),
            path: path.to_path_buf(),
        }),
        None => Ok(classes),
    }
}

/// Reads the pictures and labels of a part; also gives the paths of both files.
fn read_part(folder: &Path, part: &str) -> Result<(MemoryPictures, PathBuf, PathBuf), DataError> {
    let images_path = find(folder, &format!("{part}-images-idx3-ubyte"))?;
    let labels_path = find(folder, &format!("{part}-labels-idx1-ubyte"))?;
    let ([count, height, width], pixels) = read(&images_path, IMAGES)?;
    let ([labels_count], labels) = read(&labels_path, LABELS)?;
    if count != labels_count {
        return Err(DataError::Corrupt {
            path: labels_path,
            what: format!(
                "it has {labels_count} labels for the {count} pictures in {}",
                images_path.display()
            ),
        });
    }
    let name = format!("{part}-images-idx3-ubyte");
    let pictures = MemoryPictures::new(name, (width, height), pixels, labels);
    Ok((pictures, images_path, labels_path))
}

/// The plain file, otherwise the compressed one.
fn find(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let names = vec![name.to_owned(), format!("{name}.gz")];
    names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| DataError::Missing {
            folder: folder.to_path_buf(),
            names,
            expected: EXPECTED.to_owned(),
        })
}

fn read<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DataError> {
    let file = File::open(path).map_err(|source| DataError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        parse(MultiGzDecoder::new(BufReader::new(file)), path, magic)
    } else {
        parse(BufReader::new(file), path, magic)
    }
}

/// Reads a header with this magic number and `N` sizes, and exactly the bytes that it announces.
fn parse<const N: usize>(
    mut reader: impl Read,
    path: &Path,
    magic: u32,
) -> Result<([usize; N], Vec<u8>), DataError> {
    let corrupt = |what: String| DataError::Corrupt {
        path: path.to_path_buf(),
        what,
    };
    // Compressed data that is damaged or cut gives these kinds; others are the disk's fault.
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("it is truncated".to_owned()),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => corrupt(error.to_string()),
        _ => DataError::Read {
            path: path.to_path_buf(),
            source: error,
        },
    };
    let mut number = || {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(failed)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let found = number()?;
    if found != magic {
        return Err(corrupt(format!(
            "its magic number is {found:#010x} instead of {magic:#010x}"
        )));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = number()? as usize;
    }
    if sizes.contains(&0) {
        return Err(corrupt(format!("its sizes are {sizes:?}")));
    }
    let Some(expected) = sizes
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .filter(|expected| *expected <= MOST_BYTES)
    else {
        return Err(corrupt(format!(
            "its sizes are {sizes:?}, more than the {MOST_BYTES} bytes that are taken"
        )));
    };
    let mut bytes = Vec::new();
    // One byte more, to see whether the file ends there.
    reader
        .take(expected as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() < expected {
        return Err(corrupt(format!(
            "it is truncated: {expected} bytes should follow the header, {} do",
            bytes.len()
        )));
    }
    if bytes.len() > expected {
        return Err(corrupt(format!(
            "more than the {expected} bytes of the header's sizes {sizes:?} follow it"
        )));
    }
    bytes.shrink_to_fit();
    Ok((sizes, bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn images(sizes: [u32; 3], bytes: usize) -> Vec<u8> {
        let mut file = IMAGES.to_be_bytes().to_vec();
        sizes
            .iter()
            .for_each(|size| file.extend(size.to_be_bytes()));
        file.extend((0..bytes).map(|byte| byte as u8));
        file
    }

    fn parse_images(file: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
        parse(file, Path::new("some-file"), IMAGES).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_and_bytes_are_read() {
        let (sizes, bytes) = parse_images(&images([2, 3, 4], 24)).unwrap();
        assert_eq!(sizes, [2, 3, 4]);
        assert_eq!(bytes, (0..24).collect::<Vec<u8>>());
    }

    #[test]
    fn corrupt_files_are_refused() {
        let failure = |file: &[u8]| parse_images(file).unwrap_err();
        let good = images([2, 3, 4], 24);
        assert_eq!(
            failure(&good[..good.len() - 1]),
            "some-file is corrupt: it is truncated: 24 bytes should follow the header, 23 do (get the file once more)"
        );
        for length in 0..16 {
            assert!(
                failure(&good[..length]).contains("it is truncated"),
                "{length}"
            );
        }
        assert!(failure(&images([2, 3, 4], 25)).contains("more than the 24 bytes"));
        assert!(failure(&images([2, 0, 4], 0)).contains("sizes are [2, 0, 4]"));
        let mut labels = good;
        labels[3] = 1;
        assert!(failure(&labels).contains("0x00000801 instead of 0x00000803"));
    }

    #[test]
    fn huge_counts_allocate_nothing() {
        let failure = |sizes| parse_images(&images(sizes, 100)).unwrap_err();
        assert!(failure([u32::MAX, 1, 1]).contains("truncated"));
        assert!(failure([u32::MAX, 28, 28]).contains("bytes that are taken"));
        assert!(failure([u32::MAX; 3]).contains("its sizes are"));
        assert!(failure([1 << 20, 1 << 10, 5]).contains("bytes that are taken"));
    }

    #[test]
    fn every_class_must_occur() {
        let path = Path::new("labels");
        assert_eq!(count_classes(&[1, 0, 2], path).unwrap(), 3);
        let error = count_classes(&[0, 2], path).unwrap_err().to_string();
        assert!(error.starts_with("class `1` has no pictures in labels"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut file in prop::collection::vec(any::<u8>(), 0..64)) {
            if file.len() >= 4 {
                file[..4].copy_from_slice(&IMAGES.to_be_bytes());
            }
            if let Ok((sizes, bytes)) = parse_images(&file) {
                prop_assert_eq!(sizes.iter().product::<usize>(), bytes.len());
            }
        }
    }
}
