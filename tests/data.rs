//! Data sets and batches through the public interface: what is read, and how bad data is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use incubate::data::{
    Augmentation, Batch, DataConfig, DataError, DataSet, Dataset, Loader, Part, open,
};
use incubate::phase::Phase;
use incubate::random::Seed;
use tempfile::TempDir;

const PHASE: Phase = Phase::Module(1);

fn config(set: DataSet, path: &Path) -> DataConfig {
    DataConfig {
        set,
        path: Some(path.to_path_buf()),
        ..DataConfig::default()
    }
}

fn refused(config: &DataConfig) -> String {
    chain(&open(config).unwrap_err())
}

/// The error with its causes.
fn chain(error: &DataError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn train_loader(dataset: &Dataset, size: usize, batch: usize) -> Result<Loader, DataError> {
    Loader::new(dataset, Part::Train, size, batch, None, Seed(1), PHASE)
}

fn batches(loader: &Loader) -> Vec<Batch> {
    loader.epoch(0).map(Result::unwrap).collect()
}

// The built-in digits.

#[test]
fn digits_are_complete_and_split_by_class() {
    let digits = open(&DataConfig::default()).unwrap();
    assert_eq!(digits.name, "digits");
    assert_eq!((digits.train.len(), digits.validation.len()), (1438, 359));
    assert_eq!(digits.classes.len(), 10);
    assert_eq!(digits.picture_size, Some((8, 8)));
    for class in 0..10 {
        let count = |part: &dyn incubate::data::Pictures| {
            (0..part.len())
                .filter(|index| part.label(*index) == class)
                .count()
        };
        let (train, validation) = (count(&*digits.train), count(&*digits.validation));
        let share = validation as f64 / (train + validation) as f64;
        assert!((share - 0.2).abs() < 0.003, "class {class}: {share}");
    }
    // The first line of the file, a zero: 0 0 5 13 9 1 0 0.
    let picture = digits.train.picture(0).unwrap();
    assert_eq!(digits.train.label(0), 0);
    assert_eq!(picture.pixels[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
}

#[test]
fn digits_are_normalised_and_identified() {
    let digits = open(&DataConfig::default()).unwrap();
    let all = train_loader(&digits, 8, digits.train.len()).unwrap();
    let images = &batches(&all)[0].images;
    let count = images.len() as f64;
    let mean = images.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares = images
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        / count;
    assert!(mean.abs() < 1e-5, "{mean}");
    assert!((squares - 1.0).abs() < 1e-5, "{squares}");
    assert_eq!(
        digits.digest,
        "865bda1ca2db126c994a898fdcf47c076b701220ec31a018baeeaba0e5c82ffd"
    );
}

#[test]
fn digits_need_no_path() {
    let error = refused(&config(DataSet::Digits, Path::new("somewhere")));
    assert!(
        error.starts_with("setting `path` is `somewhere`, but the set `digits`"),
        "{error}"
    );
}

#[test]
fn limits_keep_classes_balanced() {
    let limited = open(&DataConfig {
        train_limit: Some(200),
        validation_limit: Some(50),
        ..DataConfig::default()
    })
    .unwrap();
    assert_eq!((limited.train.len(), limited.validation.len()), (200, 50));
    for class in 0..10 {
        let count = (0..200)
            .filter(|index| limited.train.label(*index) == class)
            .count();
        assert_eq!(count, 20);
    }
    let all = open(&DataConfig::default()).unwrap();
    assert_eq!(limited.digest, all.digest);
    assert_eq!(limited.normalisation, all.normalisation);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let default = DataConfig::default;
    let cases = [
        (
            DataConfig {
                train_limit: Some(0),
                ..default()
            },
            "setting `train_limit` is 0, but",
        ),
        (
            DataConfig {
                validation_limit: Some(0),
                ..default()
            },
            "setting `validation_limit` is 0",
        ),
        (
            DataConfig {
                threads: Some(0),
                ..default()
            },
            "setting `threads` is 0",
        ),
        (
            DataConfig {
                mean: Some(vec![0.5]),
                ..default()
            },
            "`std` is missing",
        ),
        (
            DataConfig {
                std: Some(vec![0.5]),
                ..default()
            },
            "`mean` is missing",
        ),
        (
            DataConfig {
                mean: Some(vec![0.5; 3]),
                std: Some(vec![0.5; 3]),
                ..default()
            },
            "setting `mean` is [0.5, 0.5, 0.5], but these pictures have 1 channels",
        ),
        (
            DataConfig {
                mean: Some(vec![f32::NAN]),
                std: Some(vec![0.5]),
                ..default()
            },
            "it has to be finite",
        ),
        (
            DataConfig {
                mean: Some(vec![0.5]),
                std: Some(vec![0.0]),
                ..default()
            },
            "setting `std` is [0.0], but it has to be positive",
        ),
        (
            DataConfig {
                set: DataSet::Idx,
                ..default()
            },
            "setting `path` is missing",
        ),
    ];
    for (config, expected) in cases {
        let error = refused(&config);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn settings_are_read_and_unknown_ones_refused() {
    let text = "set = \"idx\"\npath = \"there\"\ntrain_limit = 3\nresize = true\n";
    let config: DataConfig = toml::from_str(text).unwrap();
    assert_eq!(config.set, DataSet::Idx);
    assert_eq!(config.train_limit, Some(3));
    assert_eq!(
        toml::from_str::<DataConfig>(&toml::to_string(&config).unwrap()).unwrap(),
        config
    );
    let error = toml::from_str::<DataConfig>("set = \"digits\"\ntrainlimit = 3").unwrap_err();
    assert!(error.to_string().contains("trainlimit"));
    let error = toml::from_str::<Augmentation>("mix-up = 0.1").unwrap_err();
    assert!(error.to_string().contains("mix-up"));
}

// IDX files.

fn idx(magic: u32, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = magic.to_be_bytes().to_vec();
    for size in sizes {
        file.extend(size.to_be_bytes());
    }
    file.extend(bytes);
    file
}

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let bytes: Vec<u8> = (0..count * height * width)
        .map(|byte| (byte * 7) as u8)
        .collect();
    idx(0x0803, &[count, height, width], &bytes)
}

fn labels(labels: &[u8]) -> Vec<u8> {
    idx(0x0801, &[labels.len() as u32], labels)
}

/// A good set: 6 pictures of 3 x 2 pixels for training, 4 for validation, two classes.
fn idx_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("train-images-idx3-ubyte", &images(6, 2, 3));
    write("train-labels-idx1-ubyte", &labels(&[0, 1, 0, 1, 0, 1]));
    write("t10k-images-idx3-ubyte", &images(4, 2, 3));
    write("t10k-labels-idx1-ubyte", &labels(&[1, 0, 0, 1]));
    folder
}

#[test]
fn idx_files_are_read_plain_and_compressed() {
    let folder = idx_folder();
    let config = config(DataSet::Idx, folder.path());
    let plain = open(&config).unwrap();
    assert_eq!((plain.train.len(), plain.validation.len()), (6, 4));
    assert_eq!(plain.classes, ["0", "1"]);
    assert_eq!(plain.picture_size, Some((3, 2)));
    let picture = plain.train.picture(1).unwrap();
    assert_eq!((picture.width, picture.height, picture.channels), (3, 2, 1));
    assert_eq!(picture.pixels, [42, 49, 56, 63, 70, 77]);
    assert_eq!(plain.train.label(1), 1);
    assert_eq!(plain.train.name(1), "train-images-idx3-ubyte #1");

    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&fs::read(&path).unwrap()).unwrap();
        fs::write(format!("{}.gz", path.display()), encoder.finish().unwrap()).unwrap();
        fs::remove_file(path).unwrap();
    }
    let compressed = open(&config).unwrap();
    assert_eq!(compressed.digest, plain.digest);
    assert_eq!(compressed.train.picture(1).unwrap(), picture);

    let path = folder.path().join("train-images-idx3-ubyte.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&config);
    assert!(
        error.contains("train-images-idx3-ubyte.gz is corrupt: it is truncated"),
        "{error}"
    );
    fs::write(&path, b"this is not gzip").unwrap();
    assert!(refused(&config).contains("train-images-idx3-ubyte.gz is corrupt: "));
}

#[test]
fn missing_idx_files_name_the_package() {
    let folder = idx_folder();
    let path = folder.path().join("t10k-labels-idx1-ubyte");
    fs::remove_file(&path).unwrap();
    let error = refused(&config(DataSet::Idx, folder.path()));
    assert!(
        error.starts_with("t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz is missing in"),
        "{error}"
    );
    assert!(error.contains("dataset-fashion-mnist"), "{error}");

    let error = refused(&config(DataSet::Idx, &folder.path().join("nowhere")));
    assert!(
        error.contains("nowhere does not exist; expected a folder with train-images"),
        "{error}"
    );
    assert!(error.contains("dataset-fashion-mnist"), "{error}");
}

#[test]
fn corrupt_idx_files_are_refused() {
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "train-images-idx3-ubyte",
            images(6, 2, 3)[..50].to_vec(),
            "it is truncated: 36 bytes",
        ),
        (
            "train-images-idx3-ubyte",
            labels(&[0; 6]),
            "its magic number is 0x00000801",
        ),
        (
            "train-images-idx3-ubyte",
            idx(0x0803, &[u32::MAX, 9999, 9999], &[0; 9]),
            "bytes that are taken",
        ),
        (
            "train-images-idx3-ubyte",
            idx(0x0803, &[6, 2, 3], &[9; 36]),
            "all pixels are equal",
        ),
        (
            "train-labels-idx1-ubyte",
            labels(&[0, 1]),
            "it has 2 labels for the 6 pictures in",
        ),
        (
            "train-labels-idx1-ubyte",
            labels(&[0, 3, 0, 1, 0, 1]),
            "class `2` has no pictures in",
        ),
        (
            "t10k-labels-idx1-ubyte",
            labels(&[0, 1, 2, 0]),
            "picture 2 has label 2, but the labels for training are 0 to 1",
        ),
        ("t10k-labels-idx1-ubyte", Vec::new(), "it is truncated"),
        (
            "t10k-images-idx3-ubyte",
            images(4, 3, 3),
            "its pictures have 3 x 3 pixels, those for training 3 x 2",
        ),
    ];
    for (name, bytes, expected) in cases {
        let folder = idx_folder();
        fs::write(folder.path().join(name), bytes).unwrap();
        let error = refused(&config(DataSet::Idx, folder.path()));
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
}

#[test]
fn wrong_picture_size_says_both_sizes() {
    let folder = idx_folder();
    let mut config = config(DataSet::Idx, folder.path());
    let error = train_loader(&open(&config).unwrap(), 4, 2)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("wrong picture size 3 x 2: the model takes 4 x 4"),
        "{error}"
    );
    assert!(
        error.contains("`image_size`") && error.contains("`resize = true`"),
        "{error}"
    );

    config.resize = Some(true);
    let loader = train_loader(&open(&config).unwrap(), 4, 2).unwrap();
    assert_eq!(batches(&loader)[0].shape, [2, 1, 4, 4]);
}

// Image folders.

fn colours(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 20 + seed) as u8, (y * 20) as u8, (seed * 31) as u8])
    })
}

/// Two classes, in each three pictures for training and one for validation, all 8 x 8.
fn image_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (part, count) in [("train", 3), ("val", 1)] {
        for (class, shift) in [("dog", 0), ("cat", 100)] {
            let path = folder.path().join(part).join(class);
            fs::create_dir_all(&path).unwrap();
            for number in 0..count {
                let picture = colours(8, 8, shift + number);
                picture.save(path.join(format!("{number}.png"))).unwrap();
            }
        }
    }
    folder
}

fn first(dataset: &Dataset) -> Result<Batch, DataError> {
    let batch = dataset.train.len();
    train_loader(dataset, 8, batch)
        .unwrap()
        .epoch(0)
        .next()
        .unwrap()
}

#[test]
fn image_folders_are_listed_by_name() {
    let folder = image_folder();
    let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
    assert_eq!(dataset.classes, ["cat", "dog"]);
    assert_eq!((dataset.train.len(), dataset.validation.len()), (6, 2));
    assert_eq!(dataset.channels, 3);
    assert_eq!(dataset.picture_size, None);
    assert!(dataset.train.name(3).ends_with("train/dog/0.png"));
    assert_eq!(dataset.train.label(3), 1);
    let picture = dataset.train.picture(3).unwrap();
    assert_eq!(picture.pixels, colours(8, 8, 0).into_raw());

    let batch = first(&dataset).unwrap();
    let position = batch.indices.iter().position(|index| *index == 3).unwrap();
    // Row 2, column 5 of the green channel, with the mean and deviation of ImageNet.
    let value = batch.images[(position * 3 + 1) * 64 + 2 * 8 + 5];
    assert!(
        (value - (40.0 / 255.0 - 0.456) / 0.224).abs() < 1e-5,
        "{value}"
    );
}

#[test]
fn the_digest_of_a_folder_depends_on_names_and_sizes() {
    let folder = image_folder();
    let config = config(DataSet::Folder, folder.path());
    let digest = || open(&config).unwrap().digest;
    let before = digest();
    assert_eq!(digest(), before);
    let elsewhere = image_folder();
    assert_eq!(
        open(&self::config(DataSet::Folder, elsewhere.path()))
            .unwrap()
            .digest,
        before
    );
    let path = folder.path().join("train/cat");
    fs::rename(path.join("2.png"), path.join("3.png")).unwrap();
    let renamed = digest();
    assert_ne!(renamed, before);
    colours(9, 9, 0).save(path.join("3.png")).unwrap();
    assert_ne!(digest(), renamed);
}

#[test]
fn every_kind_of_picture_becomes_colour() {
    let folder = image_folder();
    let class = folder.path().join("train/cat");
    for entry in fs::read_dir(&class).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let flat = |picture: DynamicImage, name: &str| picture.save(class.join(name)).unwrap();
    let size = (8, 8);
    flat(
        GrayImage::from_pixel(size.0, size.1, Luma([90])).into(),
        "0-grey.png",
    );
    flat(
        GrayImage::from_pixel(size.0, size.1, Luma([90])).into(),
        "1-grey.JPEG",
    );
    flat(
        RgbImage::from_pixel(size.0, size.1, Rgb([90; 3])).into(),
        "2-colour.jpg",
    );
    let transparent = image::RgbaImage::from_pixel(size.0, size.1, Rgba([90, 90, 90, 7]));
    flat(transparent.into(), "3-transparent.png");
    let deep = image::ImageBuffer::from_pixel(size.0, size.1, LumaA([90 * 257_u16, 9]));
    flat(DynamicImage::ImageLumaA16(deep), "4-deep.png");
    // The content tells the format.
    let jpeg = fs::read(class.join("1-grey.JPEG")).unwrap();
    fs::write(class.join("5-named-wrongly.png"), jpeg).unwrap();
    let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
    for index in 0..6 {
        let picture = dataset.train.picture(index).unwrap();
        assert_eq!((picture.width, picture.height, picture.channels), (8, 8, 3));
        let close = picture.pixels.iter().all(|value| value.abs_diff(90) <= 1);
        assert!(close, "{} {:?}", dataset.train.name(index), picture.pixels);
    }
}

#[test]
fn pictures_of_all_sizes_are_resized_or_refused() {
    let folder = image_folder();
    let large = RgbImage::from_fn(40, 16, |x, _| {
        if (8..32).contains(&x) {
            Rgb([200; 3])
        } else {
            Rgb([0; 3])
        }
    });
    large.save(folder.path().join("train/cat/0.png")).unwrap();
    let mut config = config(DataSet::Folder, folder.path());
    config.mean = Some(vec![0.0; 3]);
    config.std = Some(vec![1.0 / 255.0; 3]);
    let batch = first(&open(&config).unwrap()).unwrap();
    let position = batch.indices.iter().position(|index| *index == 0).unwrap();
    let picture = &batch.images[position * 192..(position + 1) * 192];
    assert!(
        picture.iter().all(|value| (value - 200.0).abs() < 1e-3),
        "{picture:?}"
    );

    config.resize = Some(false);
    let error = first(&open(&config).unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("train/cat/0.png has wrong picture size 40 x 16: the model takes 8 x 8"),
        "{error}"
    );
}

#[test]
fn other_files_are_ignored_and_counted() {
    let folder = image_folder();
    fs::write(folder.path().join("train/cat/notes.txt"), "text").unwrap();
    fs::write(folder.path().join("train/README"), "text").unwrap();
    fs::write(folder.path().join("val/dog/.hidden.png"), "text").unwrap();
    fs::create_dir(folder.path().join("train/.cache")).unwrap();
    let nested = folder.path().join("train/dog/images");
    fs::create_dir(&nested).unwrap();
    colours(8, 8, 9).save(nested.join("more.png")).unwrap();
    let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
    assert_eq!(dataset.classes.len(), 2);
    assert_eq!(dataset.train.len(), 7);
    assert_eq!(dataset.ignored_files, 2);
}

#[test]
fn names_of_the_validation_folder() {
    for name in ["validation", "test"] {
        let folder = image_folder();
        fs::rename(folder.path().join("val"), folder.path().join(name)).unwrap();
        let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
        assert_eq!(dataset.validation.len(), 2);
    }
}

#[test]
fn bad_image_folders_are_refused() {
    type Change = fn(&Path);
    let cases: [(Change, &str, &str); 9] = [
        (
            |path| fs::remove_dir_all(path.join("train")).unwrap(),
            "train is missing in",
            "expected a folder with `train` and `val`",
        ),
        (
            |path| fs::remove_dir_all(path.join("val")).unwrap(),
            "val or validation or test is missing in",
            "",
        ),
        (
            |path| fs::rename(path.join("val/cat"), path.join("val/bird")).unwrap(),
            "unknown class folder",
            "val/bird: the training folder",
        ),
        (
            |path| fs::create_dir(path.join("train/bird")).unwrap(),
            "class `bird` has no pictures in",
            "train/bird",
        ),
        (
            |path| fs::remove_file(path.join("val/cat/0.png")).unwrap(),
            "class `cat` has no pictures in",
            "val/cat",
        ),
        (
            |path| fs::write(path.join("train/cat/a.webp"), "").unwrap(),
            "train/cat/a.webp is neither PNG nor JPEG",
            "convert",
        ),
        (
            |path| fs::write(path.join("train/a.png"), "").unwrap(),
            "train/a.png is in no class folder",
            "move it",
        ),
        (
            |path| {
                fs::remove_dir_all(path.join("train")).unwrap();
                fs::create_dir(path.join("train")).unwrap();
            },
            "a class folder is missing in",
            "train",
        ),
        (
            |path| {
                fs::remove_dir_all(path.join("val")).unwrap();
                fs::create_dir(path.join("val")).unwrap();
            },
            "a class folder is missing in",
            "val",
        ),
    ];
    for (change, expected, also) in cases {
        let folder = image_folder();
        change(folder.path());
        let error = refused(&config(DataSet::Folder, folder.path()));
        assert!(error.contains(expected) && error.contains(also), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_cycle_of_links_is_refused() {
    let folder = image_folder();
    let class = folder.path().join("train/cat");
    std::os::unix::fs::symlink(&class, class.join("again")).unwrap();
    let error = refused(&config(DataSet::Folder, folder.path()));
    assert!(error.contains("is a link a cycle?"), "{error}");
}

#[test]
fn undecodable_pictures_are_named() {
    let good = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        colours(64, 64, 1).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let png = good(ImageFormat::Png);
    let mut flipped = png.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let jpeg = good(ImageFormat::Jpeg);
    let cases: [(&str, &[u8], &str); 7] = [
        ("bad.png", b"", "is neither PNG nor JPEG"),
        ("bad.png", b"no picture at all", "is neither PNG nor JPEG"),
        ("bad.png", &png[..png.len() / 2], "cannot decode picture"),
        ("bad.png", &flipped, "cannot decode picture"),
        ("bad.jpg", &jpeg[..100], "is corrupt: it is truncated"),
        (
            "bad.jpg",
            &jpeg[..jpeg.len() - 2],
            "is corrupt: it is truncated",
        ),
        ("bad.jpg", b"GIF89a\x01\0\x01\0", "is neither PNG nor JPEG"),
    ];
    for (name, bytes, expected) in cases {
        let folder = image_folder();
        let path = folder.path().join("train/cat").join(name);
        fs::write(&path, bytes).unwrap();
        let error = first(&open(&config(DataSet::Folder, folder.path())).unwrap()).unwrap_err();
        let error = chain(&error);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_picture_that_vanished_is_named() {
    let folder = image_folder();
    let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
    let path: PathBuf = folder.path().join("train/dog/1.png");
    fs::remove_file(&path).unwrap();
    let error = first(&dataset).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}", path.display()));
}

// Batches.

#[test]
fn threads_do_not_change_the_result() {
    let folder = TempDir::new().unwrap();
    for part in ["train", "val"] {
        for class in ["a", "b", "c"] {
            let path = folder.path().join(part).join(class);
            fs::create_dir_all(&path).unwrap();
            for number in 0..7 {
                let picture = colours(10 + 3 * number, 30 - 2 * number, number * 9);
                picture.save(path.join(format!("{number}.jpg"))).unwrap();
            }
        }
    }
    let augmentation = Augmentation {
        crop_padding: 2,
        flip: 0.5,
        mixup: 0.8,
        ..Augmentation::default()
    };
    let all = |threads| {
        let config = DataConfig {
            threads: Some(threads),
            ..config(DataSet::Folder, folder.path())
        };
        let dataset = open(&config).unwrap();
        let augmentation = Some(augmentation.clone());
        let loader =
            Loader::new(&dataset, Part::Train, 12, 5, augmentation, Seed(3), PHASE).unwrap();
        let epochs = (0..2).flat_map(|epoch| loader.epoch(epoch));
        epochs.map(Result::unwrap).collect::<Vec<Batch>>()
    };
    let single = all(1);
    assert_eq!(single.len(), 8);
    assert_eq!(all(4), single);
}

#[test]
fn augmentation_depends_on_the_sample_and_not_on_the_batch() {
    let digits = open(&DataConfig::default()).unwrap();
    let augmentation = Augmentation {
        crop_padding: 1,
        flip: 0.5,
        ..Augmentation::default()
    };
    let pictures = |batch| {
        let augmentation = Some(augmentation.clone());
        let loader =
            Loader::new(&digits, Part::Train, 8, batch, augmentation, Seed(0), PHASE).unwrap();
        let mut images = Vec::new();
        for batch in loader.epoch(4) {
            images.extend(batch.unwrap().images);
        }
        images.truncate(1400 * 64);
        images
    };
    assert_eq!(pictures(7), pictures(100));
}

#[test]
fn mixup_gives_soft_targets_with_one_weight_a_batch() {
    let digits = open(&DataConfig::default()).unwrap();
    let augmentation = Augmentation {
        mixup: 0.8,
        ..Augmentation::default()
    };
    let loader = Loader::new(
        &digits,
        Part::Train,
        8,
        32,
        Some(augmentation),
        Seed(0),
        PHASE,
    )
    .unwrap();
    let plain = train_loader(&digits, 8, 32).unwrap();
    assert!(
        plain
            .epoch(0)
            .all(|batch| batch.unwrap().soft_targets.is_none())
    );
    let mut weights = Vec::new();
    for batch in loader.epoch(0).map(Result::unwrap) {
        let targets = batch.soft_targets.unwrap();
        assert_eq!(targets.len(), 320);
        for (position, row) in targets.chunks_exact(10).enumerate() {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let (label, partner) = (batch.labels[position], batch.labels[31 - position]);
            if label != partner {
                weights.push(row[label as usize]);
                assert!((row[label as usize] + row[partner as usize] - 1.0).abs() < 1e-6);
            }
        }
        let first = weights[0];
        assert!(weights.iter().all(|weight| *weight == first));
        weights.clear();
    }
}

#[test]
fn batches_that_cannot_be_are_refused() {
    let digits = open(&DataConfig::default()).unwrap();
    let failure = |size, batch| train_loader(&digits, size, batch).unwrap_err().to_string();
    assert_eq!(
        failure(8, 1439),
        "a batch of 1439 pictures cannot be filled: there are 1438 training pictures (set a smaller batch, or a larger `train_limit`)"
    );
    assert!(failure(8, 0).starts_with("setting `batch` is 0"));
    assert!(failure(0, 8).starts_with("setting `image_size` is 0"));
    assert!(failure(28, 8).starts_with("data set digits has wrong picture size 8 x 8"));
    let augmentation = Augmentation {
        crop_padding: 8,
        ..Augmentation::default()
    };
    let refused = Loader::new(
        &digits,
        Part::Train,
        8,
        8,
        Some(augmentation),
        Seed(0),
        PHASE,
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with("setting `crop_padding` is 8")
    );
}

#[test]
fn an_epoch_ends_after_an_error() {
    let folder = image_folder();
    fs::write(folder.path().join("val/cat/0.png"), "broken").unwrap();
    let dataset = open(&config(DataSet::Folder, folder.path())).unwrap();
    let loader = Loader::new(&dataset, Part::Validation, 8, 1, None, Seed(0), PHASE).unwrap();
    let mut batches = loader.epoch(0);
    assert!(batches.next().unwrap().is_err());
    assert!(batches.next().is_none());
    assert!(batches.next().is_none());
}
