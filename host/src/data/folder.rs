//! Image folders: `train` and `val`, in each a folder for every class, in it PNG and JPEG files.
//!
//! Opening lists the files; a picture is decoded when it is asked for.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use image::error::{LimitError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;
use crate::file;

use super::config::{DataConfig, Limits, folder_name};
use super::jpeg::Jpeg;
use super::normalisation::{Choice, KnownNormalisation, choose};
use super::picture::{Dataset, Picture, Pictures};
use super::resize::Region;
use super::{Corrupt, DataError, LeftOut, Part, corrupt, statistics, subset};

/// What a folder with pictures is.
pub(super) const EXPECTED: &str = "a folder with `train` and `val` (or `validation`, or `test`), in each a folder for every class, in it PNG or JPEG files";

const TRAIN: &str = "train";
/// The first of these that is there is used.
const VALIDATION: [&str; 3] = ["val", "validation", "test"];
const DECODED: [&str; 3] = ["png", "jpg", "jpeg"];
/// Pictures that are too likely to be meant as such for being ignored.
const UNSUPPORTED: [&str; 12] = [
    "avif", "bmp", "gif", "heic", "heif", "jp2", "jxl", "pbm", "ppm", "tif", "tiff", "webp",
];
/// Folders in a class folder, one in the other; more can only be a cycle of links.
const MAX_DEPTH: usize = 8;

/// Bytes of a picture's file.
const PICTURE_BYTES_MAX: u64 = 256 << 20;
/// Pixels of a picture: beyond it, a small file is rather made to fill the memory than a photograph.
const PIXELS_MAX: u64 = 1 << 27;
/// Bytes that decoding takes at most, beside the pixels.
const DECODING_BYTES_MAX: u64 = 1 << 30;

/// Opens the set in a folder.
pub(super) fn open(
    config: &DataConfig,
    folder: &Path,
    limits: Limits,
) -> Result<Dataset, DataError> {
    let missing = |names: &[&str]| DataError::Missing {
        folder: folder.to_path_buf(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        expected: EXPECTED.to_owned(),
    };
    let train_folder = folder.join(TRAIN);
    if !train_folder.is_dir() {
        return Err(missing(&[TRAIN]));
    }
    let validation_folder = VALIDATION
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_dir())
        .ok_or_else(|| missing(&VALIDATION))?;

    let mut ignored_files = 0;
    let train_classes = class_folders(&train_folder, &mut ignored_files)?;
    if train_classes.is_empty() {
        return Err(DataError::Missing {
            folder: train_folder,
            names: vec!["a class folder".to_owned()],
            expected: EXPECTED.to_owned(),
        });
    }
    let indices: HashMap<&str, usize> = train_classes
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (name.as_str(), index))
        .collect();
    let mut train = Vec::new();
    for (label, (name, path)) in train_classes.iter().enumerate() {
        list_class(name, path, label, &mut train, &mut ignored_files)?;
    }
    let mut validation = Vec::new();
    for (name, path) in class_folders(&validation_folder, &mut ignored_files)? {
        let Some(label) = indices.get(name.as_str()) else {
            return Err(DataError::UnknownClass {
                folder: path,
                train: train_folder,
            });
        };
        list_class(&name, &path, *label, &mut validation, &mut ignored_files)?;
    }
    if validation.is_empty() {
        return Err(DataError::Missing {
            folder: validation_folder,
            names: vec!["a class folder".to_owned()],
            expected: EXPECTED.to_owned(),
        });
    }

    let mut digest = Sha256::new();
    let mut times = Sha256::new();
    for (part, entries) in [(TRAIN, &train), ("validation", &validation)] {
        update(&mut digest, &mut times, part, folder, entries)?;
    }
    let digest = hexadecimal(digest);
    times.update(digest.as_bytes());
    let mut key = hexadecimal(times);
    let mut left_out = Vec::new();
    let mut names = Vec::new();
    if config.corrupt == Some(Corrupt::Skip) {
        let (mut parts, threads) = ([train, validation].map(FolderPictures), config.threads);
        let (in_train, in_validation) = corrupt::find(&parts[0], &parts[1], &key, threads)?;
        for (part, (pictures, found)) in [Part::Train, Part::Validation]
            .into_iter()
            .zip(parts.iter_mut().zip([in_train, in_validation]))
        {
            for (index, reason) in &found {
                let path = pictures.0[*index].path.clone();
                let name = path.strip_prefix(folder).unwrap_or(&path);
                names.push((part, name.display().to_string()));
                let reason = reason.clone();
                left_out.push(LeftOut { part, path, reason });
            }
            let mut found = found.iter().map(|(index, _)| *index).peekable();
            let mut index = 0;
            pictures.0.retain(|_| {
                index += 1;
                found.next_if_eq(&(index - 1)).is_none()
            });
        }
        [train, validation] = parts.map(|pictures| pictures.0);
        check_classes(&train_classes, &train, &validation, &validation_folder)?;
    }
    let digest = corrupt::digest_without(&digest, &names);
    key = corrupt::digest_without(&key, &names);
    let resize = config.resize.unwrap_or(true);
    let evaluation_crop = config.evaluation_crop(resize)?;
    let limit = limits.train(train.len());
    let (train, normalisation) = match choose(config, 3, KnownNormalisation::Imagenet)? {
        Choice::Given(normalisation) => (train, normalisation),
        Choice::Measured => {
            let all = FolderPictures(train);
            let found = statistics::measure(&all, &key, &train_folder, config.threads)?;
            (all.0, found)
        }
    };
    Ok(Dataset {
        name: folder_name(folder),
        classes: train_classes.into_iter().map(|(name, _)| name).collect(),
        channels: 3,
        picture_size: None,
        resize,
        evaluation_crop,
        threads: config.threads,
        normalisation,
        train: Arc::new(FolderPictures::new(train, limit)),
        validation: Arc::new(FolderPictures::new(validation, limits.validation)),
        ignored_files,
        left_out,
        digest,
    })
}

/// Refuses a set in which every picture of a class, or all of those for validation, are left out.
fn check_classes(
    classes: &[(String, PathBuf)],
    train: &[Entry],
    validation: &[Entry],
    validation_folder: &Path,
) -> Result<(), DataError> {
    let mut there = vec![false; classes.len()];
    for entry in train {
        there[entry.label] = true;
    }
    if let Some(index) = there.iter().position(|there| !there) {
        let (class, path) = classes[index].clone();
        return Err(DataError::AllCorrupt { class, path });
    }
    if validation.is_empty() {
        return Err(DataError::AllCorrupt {
            class: "validation".to_owned(),
            path: validation_folder.to_path_buf(),
        });
    }
    Ok(())
}

struct Entry {
    path: PathBuf,
    label: usize,
}

struct FolderPictures(Vec<Entry>);

impl FolderPictures {
    fn new(entries: Vec<Entry>, limit: Option<usize>) -> Self {
        let Some(indices) = subset::balanced(entries.iter().map(|entry| entry.label), limit) else {
            return Self(entries);
        };
        let mut chosen = indices.into_iter().peekable();
        let entries = entries.into_iter().enumerate();
        Self(
            entries
                .filter(|(index, _)| chosen.next_if_eq(index).is_some())
                .map(|(_, entry)| entry)
                .collect(),
        )
    }
}

impl fmt::Debug for FolderPictures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FolderPictures")
            .field("len", &self.0.len())
            .finish_non_exhaustive()
    }
}

impl Pictures for FolderPictures {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn label(&self, index: usize) -> usize {
        self.0[index].label
    }

    fn name(&self, index: usize) -> String {
        self.0[index].path.display().to_string()
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        self.part(index, &mut Region::of_size)
    }

    /// In red, green and blue. The format is told by the content, since names lie; the orientation in
    /// the metadata of a photograph is not applied.
    fn part(
        &self,
        index: usize,
        wanted: &mut dyn FnMut(usize, usize) -> Region,
    ) -> Result<Picture, DataError> {
        let path = &self.0[index].path;
        let unreadable = |source| DataError::Read {
            path: path.clone(),
            source,
        };
        let bytes = file::read(path, PICTURE_BYTES_MAX).map_err(unreadable)?;
        let reader = ImageReader::new(Cursor::new(&bytes))
            .with_guessed_format()
            .map_err(unreadable)?;
        // The decoder would make up what is missing.
        if reader.format() == Some(ImageFormat::Jpeg) {
            if !is_complete_jpeg(&bytes) {
                return Err(DataError::Truncated { path: path.clone() });
            }
            // What is not decoded here is decoded below, or refused there.
            let photograph = Jpeg::open(&bytes).filter(|jpeg| {
                let (width, height) = jpeg.dimensions();
                width as u64 * height as u64 <= PIXELS_MAX
            });
            if let Some(jpeg) = photograph {
                let (width, height) = jpeg.dimensions();
                if let Some(picture) = jpeg.decode(wanted(width, height)) {
                    return Ok(picture);
                }
            }
        }
        let pixels = decode(reader)
            .map_err(|source| match source {
                ImageError::Unsupported(_) => DataError::NoPicture { path: path.clone() },
                source => DataError::Decode {
                    path: path.clone(),
                    source,
                },
            })?
            .into_rgb8();
        let picture = Picture {
            width: pixels.width() as usize,
            height: pixels.height() as usize,
            channels: 3,
            pixels: pixels.into_raw(),
        };
        let region = wanted(picture.width, picture.height);
        Ok(picture.part(region))
    }

    fn costly(&self) -> bool {
        true
    }
}

/// Decodes a picture whose header does not announce more than a photograph has.
fn decode(mut reader: ImageReader<Cursor<&Vec<u8>>>) -> Result<DynamicImage, ImageError> {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(DECODING_BYTES_MAX);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        let kind = LimitErrorKind::DimensionError;
        return Err(ImageError::Limits(LimitError::from_kind(kind)));
    }
    DynamicImage::from_decoder(decoder)
}

/// Whether the marker of the end follows the start of the scan: before it, thumbnails have one too.
fn is_complete_jpeg(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // The marker of the start has no length.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        match rest {
            // Padding.
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, START_OF_SCAN, scan @ ..] => {
                // From behind, where it is.
                return scan.windows(2).rev().any(|pair| pair == END_OF_IMAGE);
            }
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(2 + length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
}

/// What is in a folder, by name; hidden files and folders are left out.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let unreadable = |source| DataError::Read {
        path: folder.to_path_buf(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().into_string().map_err(|name| {
            unreadable(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("the name {name:?} in it is not Unicode (rename it)"),
            ))
        })?;
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

fn class_folders(
    folder: &Path,
    ignored_files: &mut usize,
) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut classes = Vec::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            classes.push((name, path));
        } else if matches!(kind(&path), Kind::Other) {
            *ignored_files += 1;
        } else {
            return Err(DataError::NoClass { path });
        }
    }
    Ok(classes)
}

fn list_class(
    name: &str,
    folder: &Path,
    label: usize,
    pictures: &mut Vec<Entry>,
    ignored_files: &mut usize,
) -> Result<(), DataError> {
    let before = pictures.len();
    list(folder, label, MAX_DEPTH, pictures, ignored_files)?;
    if pictures.len() == before {
        return Err(DataError::EmptyClass {
            class: name.to_owned(),
            path: folder.to_path_buf(),
        });
    }
    Ok(())
}

fn list(
    folder: &Path,
    label: usize,
    depth: usize,
    pictures: &mut Vec<Entry>,
    ignored_files: &mut usize,
) -> Result<(), DataError> {
    if depth == 0 {
        return Err(DataError::Read {
            path: folder.to_path_buf(),
            source: std::io::Error::other(format!(
                "it is more than {MAX_DEPTH} folders deep in a class folder (is a link a cycle?)"
            )),
        });
    }
    for (_, path) in entries(folder)? {
        if path.is_dir() {
            list(&path, label, depth - 1, pictures, ignored_files)?;
            continue;
        }
        match kind(&path) {
            Kind::Decoded => pictures.push(Entry { path, label }),
            Kind::Unsupported => return Err(DataError::Format { path }),
            Kind::Other => *ignored_files += 1,
        }
    }
    Ok(())
}

enum Kind {
    Decoded,
    Unsupported,
    Other,
}

/// What the extension says a file is.
fn kind(path: &Path) -> Kind {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    if DECODED.contains(&extension.as_str()) {
        Kind::Decoded
    } else if UNSUPPORTED.contains(&extension.as_str()) {
        Kind::Unsupported
    } else {
        Kind::Other
    }
}

/// Adds the names and sizes of files to a digest, the names without where the data set is, and when
/// they were written to another one.
fn update(
    digest: &mut Sha256,
    times: &mut Sha256,
    part: &str,
    folder: &Path,
    entries: &[Entry],
) -> Result<(), DataError> {
    digest.update(part.as_bytes());
    digest.update((entries.len() as u64).to_le_bytes());
    for Entry { path, .. } in entries {
        let metadata = fs::metadata(path).map_err(|source| DataError::Read {
            path: path.clone(),
            source,
        })?;
        let name = path.strip_prefix(folder).unwrap_or(path);
        // A zero byte ends the name, since no name contains one.
        for component in name.components().skip(1) {
            digest.update(b"/");
            digest.update(component.as_os_str().as_encoded_bytes());
        }
        digest.update([0]);
        digest.update(metadata.len().to_le_bytes());
        let written = metadata.modified().map_err(|source| DataError::Read {
            path: path.clone(),
            source,
        })?;
        let since = written.duration_since(SystemTime::UNIX_EPOCH);
        times.update(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
    }
    Ok(())
}
