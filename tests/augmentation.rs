//! Augmentation as a run has it: the same numbers on any number of threads and from any batch on,
//! repeats, settings, and the sheet that shows all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use incubate::data::{
    Augmentation, Batch, DataConfig, DataSet, Dataset, KnownNormalisation, Loader, Part, open,
};
use incubate::phase::Phase;
use incubate::random::Seed;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Answer, incubate};

const PHASE: Phase = Phase::Module(1);

/// Everything of the published recipe.
const RECIPE: &str = r#"
random_resized_crop = true
flip = true
rand_augment = "rand-m9-mstd0.5-inc1"
random_erasing = 0.25
mixup = 0.8
cutmix = 1.0
repeats = 3
"#;

fn recipe() -> Augmentation {
    toml::from_str(RECIPE).unwrap()
}

/// Photographs of several sizes, in two classes: 20 to train on, 2 to measure on.
fn photographs() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (part, count) in [("train", 10), ("val", 1)] {
        for (class, shift) in [("cat", 0), ("dog", 90)] {
            let path = folder.path().join(part).join(class);
            fs::create_dir_all(&path).unwrap();
            for number in 0..count {
                let picture = RgbImage::from_fn(20 + 3 * number, 40 - 2 * number, |x, y| {
                    Rgb([(x * 9 + shift) as u8, (y * 7) as u8, (x * y + number) as u8])
                });
                picture.save(path.join(format!("{number}.png"))).unwrap();
            }
        }
    }
    folder
}

fn config(folder: &TempDir) -> DataConfig {
    DataConfig {
        set: DataSet::Folder,
        path: Some(folder.path().to_path_buf()),
        ..DataConfig::default()
    }
}

fn loader(dataset: &Dataset, size: usize, batch: usize, augmentation: Augmentation) -> Loader {
    let augmentation = Some(augmentation);
    Loader::new(
        dataset,
        Part::Train,
        size,
        batch,
        augmentation,
        Seed(3),
        PHASE,
    )
    .unwrap()
}

fn batches(loader: &Loader, epoch: u64, first: usize) -> Vec<Batch> {
    loader
        .epoch_from(epoch, first)
        .map(Result::unwrap)
        .collect()
}

#[test]
fn threads_and_places_in_an_epoch_do_not_change_the_recipe() {
    let folder = photographs();
    let all = |threads| {
        let config = DataConfig {
            threads: Some(threads),
            ..config(&folder)
        };
        let loader = loader(&open(&config).unwrap(), 16, 4, recipe());
        (0..3)
            .map(|epoch| batches(&loader, epoch, 0))
            .collect::<Vec<_>>()
    };
    let single = all(1);
    assert_eq!(single[0].len(), 5);
    assert_eq!(all(3), single);
    let loader = loader(&open(&config(&folder)).unwrap(), 16, 4, recipe());
    for first in 0..=5 {
        assert_eq!(batches(&loader, 2, first), single[2][first..]);
    }
    assert_ne!(single[0][0].images, single[1][0].images);
}

#[test]
fn the_recipe_works_on_small_grey_pictures() {
    let digits = open(&DataConfig::default()).unwrap();
    let loader = loader(&digits, 8, 32, recipe());
    let all = batches(&loader, 0, 0);
    assert_eq!(all.len(), 1438 / 32);
    let mut sums = Vec::new();
    for batch in &all {
        assert_eq!(batch.shape, [32, 1, 8, 8]);
        assert!(batch.images.iter().all(|value| value.is_finite()));
        let targets = batch.soft_targets.as_ref().unwrap();
        sums.extend(targets.chunks_exact(10).map(|row| row.iter().sum::<f32>()));
    }
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
}

#[test]
fn repeats_give_fewer_pictures_with_draws_of_their_own() {
    let digits = open(&DataConfig::default()).unwrap();
    let repeated = Augmentation {
        repeats: 3,
        crop_padding: 3,
        ..Augmentation::default()
    };
    let loader = loader(&digits, 8, 50, repeated);
    let all = batches(&loader, 1, 0);
    // As many pictures as ever.
    assert_eq!(all.len(), 1438 / 50);
    let indices: Vec<usize> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
    let samples: BTreeSet<u64> = all.iter().flat_map(|batch| batch.samples.clone()).collect();
    assert_eq!(samples.len(), indices.len(), "two draws have one number");
    let distinct: BTreeSet<usize> = indices.iter().copied().collect();
    assert_eq!(distinct.len(), indices.len().div_ceil(3));
    for copies in indices.chunks_exact(3) {
        assert!(copies.iter().all(|index| *index == copies[0]), "{copies:?}");
    }
    // With 49 windows, the copies of most pictures differ from each other.
    let images: Vec<&[f32]> = all
        .iter()
        .flat_map(|batch| batch.images.chunks_exact(64))
        .collect();
    let different = |pair: &[&[f32]]| pair[0] != pair[1];
    let count = images
        .chunks_exact(3)
        .filter(|copies| different(&copies[..2]))
        .count();
    assert!(count * 10 > images.len() / 3 * 9, "{count}");
    // Other pictures in another epoch.
    let other = batches(&loader, 2, 0);
    let other: BTreeSet<usize> = other
        .iter()
        .flat_map(|batch| batch.indices.clone())
        .collect();
    let both = distinct.intersection(&other).count();
    assert!((100..220).contains(&both), "{both}");
}

#[test]
fn views_come_back_and_are_all_there_in_order() {
    let folder = photographs();
    let dataset = open(&config(&folder)).unwrap();
    let augmentation = Augmentation {
        mixup: 0.0,
        cutmix: 0.0,
        repeats: 2,
        views: 3,
        ..recipe()
    };
    let shuffled = loader(&dataset, 16, 4, augmentation.clone());
    let ordered = Loader::new(
        &dataset,
        Part::TrainInOrder,
        16,
        6,
        Some(augmentation),
        Seed(3),
        PHASE,
    )
    .unwrap();
    assert_eq!(ordered.batches_per_epoch(), 7);
    let by_sample = |batches: &[Batch]| -> BTreeMap<u64, (usize, i64, Vec<f32>)> {
        let mut found = BTreeMap::new();
        for batch in batches {
            let pictures = batch.images.chunks_exact(3 * 16 * 16);
            for (place, values) in pictures.enumerate() {
                let (index, label) = (batch.indices[place], batch.labels[place]);
                found.insert(batch.samples[place], (index, label, values.to_vec()));
            }
        }
        found
    };
    let views: Vec<_> = (0..3)
        .map(|view| by_sample(&batches(&ordered, view, 0)))
        .collect();
    let numbers: Vec<u64> = views[0].keys().copied().collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    for epoch in 0..7 {
        let seen = by_sample(&batches(&shuffled, epoch, 0));
        assert_eq!(seen.len(), 20);
        for (sample, picture) in seen {
            assert_eq!(
                picture,
                views[epoch as usize % 3][&sample],
                "{epoch}, {sample}"
            );
        }
    }
    assert_ne!(views[0], views[1]);
    // The order is that of the epoch, and pictures that nobody needs are not read.
    assert_ne!(shuffled.order(0), shuffled.order(3));
    let bare = batches(&shuffled.clone().without_pictures(), 1, 2);
    for (bare, whole) in bare.iter().zip(batches(&shuffled, 1, 2)) {
        assert!(bare.images.is_empty());
        let images = whole.images.clone();
        assert_eq!(
            Batch {
                images,
                ..bare.clone()
            },
            whole
        );
    }
}

#[test]
fn without_repeats_numbers_are_indices() {
    let digits = open(&DataConfig::default()).unwrap();
    let batch = batches(&loader(&digits, 8, 64, Augmentation::default()), 0, 0).remove(0);
    let numbers: Vec<u64> = batch.indices.iter().map(|index| *index as u64).collect();
    assert_eq!(batch.samples, numbers);
}

#[test]
fn a_picture_is_seen_as_it_is_in_its_batch() {
    let folder = photographs();
    let dataset = open(&config(&folder)).unwrap();
    for (repeats, batch) in [(1, 6), (3, 4), (1, 7)] {
        let augmentation = Augmentation {
            repeats,
            ..recipe()
        };
        let loader = loader(&dataset, 16, batch, augmentation);
        let mut found = BTreeMap::new();
        for batch in batches(&loader, 4, 0) {
            let pictures = batch.images.chunks_exact(3 * 16 * 16);
            for (index, values) in batch.indices.iter().zip(pictures) {
                found.entry(*index).or_insert(values.to_vec());
            }
        }
        let seen = |index| loader.seen(4, index).unwrap().map(|seen| seen.values);
        for index in 0..20 {
            assert_eq!(seen(index), found.get(&index).cloned(), "{index}");
        }
        assert!(found.len() < 20, "nothing was left out");
    }
}

#[test]
fn evaluation_sees_the_centre_that_is_configured() {
    let folder = TempDir::new().unwrap();
    // A white frame of two pixels around black.
    for part in ["train", "val"] {
        let path = folder.path().join(part).join("one");
        fs::create_dir_all(&path).unwrap();
        let frame = RgbImage::from_fn(32, 32, |x, y| {
            let inside = (2..30).contains(&x) && (2..30).contains(&y);
            Rgb([if inside { 0 } else { 255 }; 3])
        });
        frame.save(path.join("a.png")).unwrap();
    }
    let white = |crop, size, part| {
        let config = DataConfig {
            evaluation_crop: crop,
            mean: Some(vec![0.0; 3]),
            std: Some(vec![1.0; 3]),
            ..config(&folder)
        };
        let dataset = open(&config).unwrap();
        let loader = Loader::new(&dataset, part, size, 1, None, Seed(0), PHASE).unwrap();
        let batch = batches(&loader, 0, 0).remove(0);
        batch.images.iter().filter(|value| **value > 0.5).count() as f64 / batch.images.len() as f64
    };
    let frame = 1.0 - (28.0 / 32.0_f64).powi(2);
    assert!((white(None, 32, Part::Validation) - frame).abs() < 1e-9);
    assert_eq!(white(Some(0.875), 28, Part::Validation), 0.0);
    // Training without a random crop sees all of it.
    assert!(white(Some(0.875), 28, Part::Train) > 0.1);
}

#[test]
fn fractions_are_balanced_and_nested() {
    let chosen = |train_fraction| {
        let config = DataConfig {
            train_fraction,
            ..DataConfig::default()
        };
        let digits = open(&config).unwrap();
        let pictures = (0..digits.train.len()).map(|index| digits.train.picture(index).unwrap());
        let pixels: BTreeSet<Vec<u8>> = pictures.map(|picture| picture.pixels).collect();
        let mut counts = [0; 10];
        (0..digits.train.len()).for_each(|index| counts[digits.train.label(index)] += 1);
        (digits.train.len(), counts, pixels)
    };
    let (all, ..) = chosen(None);
    let (quarter, counts, smaller) = chosen(Some(0.25));
    let (half, _, larger) = chosen(Some(0.5));
    assert_eq!((quarter, half), (all.div_ceil(4), all / 2));
    let least = *counts.iter().min().unwrap();
    assert!(counts.iter().all(|count| count - least <= 1), "{counts:?}");
    assert!(smaller.is_subset(&larger));
    assert_eq!(chosen(Some(1.0)).0, all);
    assert_eq!(chosen(Some(1e-9)).0, 1);
}

#[test]
fn settings_of_the_data_that_contradict_each_other_are_refused() {
    let folder = photographs();
    type Change = fn(&mut DataConfig);
    let cases: [(Change, &str); 7] = [
        (
            |config| (config.train_limit, config.train_fraction) = (Some(3), Some(0.5)),
            "setting `train_fraction` is 0.5, but `train_limit` is set, too",
        ),
        (
            |config| config.train_fraction = Some(0.0),
            "setting `train_fraction` is 0, but it has to be a share above 0",
        ),
        (
            |config| config.train_fraction = Some(f64::NAN),
            "setting `train_fraction` is NaN",
        ),
        (
            |config| config.evaluation_crop = Some(1.2),
            "setting `evaluation_crop` is 1.2, but it has to be a share of the shorter side",
        ),
        (
            |config| (config.resize, config.evaluation_crop) = (Some(false), Some(0.875)),
            "pictures of this set are not resized; set `resize = true`",
        ),
        (
            |config| {
                config.normalisation = Some(KnownNormalisation::Measured);
                (config.mean, config.std) = (Some(vec![0.0; 3]), Some(vec![1.0; 3]));
            },
            "setting `mean` is [0.0, 0.0, 0.0], but `normalisation` is set, too",
        ),
        (
            |config| {
                *config = DataConfig::default();
                config.normalisation = Some(KnownNormalisation::Imagenet);
            },
            "setting `normalisation` is \"imagenet\", but these pictures are grey",
        ),
    ];
    for (change, phrase) in cases {
        let mut config = config(&folder);
        change(&mut config);
        let error = open(&config).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error}");
    }
}

// The command.

#[test]
fn mistakes_name_the_key_of_the_phase() {
    let set = |assignment: &str| incubate(&["plan", "--set", assignment]);
    set("training.augmentation.flip=2")
        .failed(2, &["`meta.augmentation.flip` is 2", "probability"]);
    set("fine-tune.augmentation.rand_augment=rand-m9-x3").failed(
        2,
        &[
            "`fine-tune.augmentation.rand_augment`",
            "`x3` in `rand-m9-x3` is unknown",
            "mstd",
        ],
    );
    set("module.augmentation.crop_padding=8")
        .failed(2, &["`module.augmentation.crop_padding` is 8"]);
    set("training.augmentation.cut_mix=1").failed(2, &["cut_mix", "did you mean `cutmix`?"]);
    set("data.train_fraction=2").failed(3, &["`train_fraction` is 2"]);
    incubate(&[
        "plan",
        "--set",
        "training.augmentation.rand_augment=rand-m9",
        "--set",
        "training.augmentation.colour_jitter=0.4",
    ])
    .failed(2, &["colour_jitter` is 0.4", "`rand_augment` is on"]);
}

#[test]
fn older_keys_go_on_working() {
    let answer = incubate(&[
        "plan",
        "--json",
        "--set",
        "training.augmentation={ flip = true, mixup = 0.8, crop_padding = 1 }",
    ])
    .succeeded();
    let plan = &answer.json_lines()[0];
    let settings = plan["settings"].as_array().unwrap();
    let value = |key: &str| {
        let setting = settings.iter().find(|setting| setting["key"] == key);
        setting.unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value("baseline.augmentation.flip"), "0.5");
    assert_eq!(value("meta.augmentation.mixup"), "0.8");
    assert_eq!(value("meta.augmentation.crop_padding"), "1");
    assert_eq!(value("module.augmentation.rand_augment"), "false");
}

/// `data show` of the photographs with the recipe in `[module]` alone.
fn show(folder: &Path, sheet: &Path, more: &[&str]) -> Answer {
    let experiment = folder.join("experiment.toml");
    let text = format!(
        "[data]\nset = \"folder\"\npath = \".\"\n[model]\nimage_size = 16\npatch_size = 4\n\
         width = 16\ndepth = 4\nheads = 2\n[training]\nbatch = 4\n[module.augmentation]{RECIPE}"
    );
    fs::write(&experiment, text).unwrap();
    let (experiment, sheet) = (experiment.to_str().unwrap(), sheet.to_str().unwrap());
    let mut all = vec!["data", "show", experiment, "--out", sheet];
    all.extend(more);
    incubate(&all)
}

#[test]
fn a_sheet_shows_pictures_and_tells_their_draws() {
    let folder = photographs();
    let file = folder.path().join("sheet.png");
    let more = ["--phase", "module.2", "--count", "3", "--epochs", "2"];
    let answer = show(folder.path(), &file, &more).succeeded();
    for phrase in [
        "sheet.png: 208 x 208 pixels",
        "  epoch 1: ",
        "(class ",
        "region ",
    ] {
        assert!(answer.stdout.contains(phrase), "{}", answer.stdout);
    }
    let picture = image::open(&file).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (208, 208));

    let answer = show(folder.path(), &file, &[&more[..], &["--json"]].concat()).succeeded();
    let told = &answer.json_lines()[0];
    assert_eq!(
        (&told["width"], &told["phase"]),
        (&Value::from(208), &Value::from("module.2"))
    );
    let pictures = told["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 3);
    // The recipe crops every picture that is in an epoch.
    let first = &pictures[0]["epochs"][0];
    assert!(
        first["draws"]["crop"]["resized"]["width"].is_u64(),
        "{told}"
    );
    assert_eq!(fs::read(&file).unwrap(), {
        show(folder.path(), &file, &more).succeeded();
        fs::read(&file).unwrap()
    });
}

#[test]
fn a_phase_without_augmentation_shows_the_picture_itself() {
    let folder = photographs();
    let file = folder.path().join("sheet.png");
    let more = ["--phase", "meta", "--count", "2", "--epochs", "2"];
    let answer = show(folder.path(), &file, &more).succeeded();
    assert_eq!(
        answer.stdout.matches(": unchanged").count(),
        4,
        "{}",
        answer.stdout
    );
    let sheet = image::open(&file).unwrap().into_rgb8();
    for row in 0..2 {
        let cell = |column: u32| {
            image::imageops::crop_imm(&sheet, 4 + column * 68, 4 + row * 68, 64, 64).to_image()
        };
        assert_eq!(cell(0), cell(1));
        assert_eq!(cell(0), cell(2));
        let colours: BTreeSet<[u8; 3]> = cell(0).pixels().map(|pixel| pixel.0).collect();
        assert!(colours.len() > 100);
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let folder = photographs();
    let file = folder.path().join("sheet.png");
    let refused = |more: &[&str], status, phrases: &[&str]| {
        show(folder.path(), &file, more).failed(status, phrases);
        assert!(!file.exists());
    };
    refused(
        &["--phase", "modul"],
        2,
        &["modul", "fine-tune, or baseline"],
    );
    refused(&["--phase", "module.9"], 2, &["module.9", "4 modules"]);
    refused(
        &["--count", "100000"],
        2,
        &["`count` is 100000", "ask for fewer"],
    );
    refused(
        &["--epochs", "99999999999999"],
        2,
        &["`epochs` is", "ask for fewer"],
    );
    let nowhere = folder.path().join("no/such/folder/sheet.png");
    show(folder.path(), &nowhere, &[]).failed(2, &["cannot write", "no/such/folder/sheet.png"]);
}

#[test]
fn inspection_tells_counts_and_measured_values() {
    let folder = photographs();
    let cache = TempDir::new().unwrap();
    let path = format!("data.path={}", folder.path().display());
    let inspect = |json: bool| {
        let sets = [
            "data.set=folder",
            &path,
            "data.normalisation=measured",
            "data.train_fraction=0.5",
            "model.image_size=16",
            "training.batch=5",
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
        command
            .args(["data", "inspect"])
            .env("XDG_CACHE_HOME", cache.path());
        for set in sets {
            command.args(["--set", set]);
        }
        if json {
            command.arg("--json");
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let found: Value = serde_json::from_str(&inspect(true)).unwrap();
    // Over all training pictures, whatever part of them is used.
    let (mut sum, mut count) = (0, 0);
    for class in ["cat", "dog"] {
        for entry in fs::read_dir(folder.path().join("train").join(class)).unwrap() {
            let picture = image::open(entry.unwrap().path()).unwrap().into_rgb8();
            sum += picture
                .pixels()
                .map(|pixel| u64::from(pixel.0[1]))
                .sum::<u64>();
            count += picture.pixels().len() as u64;
        }
    }
    let mean = found["normalisation"]["mean"][1].as_f64().unwrap();
    assert!(
        (mean - sum as f64 / count as f64 / 255.0).abs() < 1e-6,
        "{mean}"
    );
    assert_eq!(
        (&found["train"], &found["validation"]),
        (&Value::from(10), &Value::from(2))
    );
    assert_eq!(found["classes"][1]["name"], "dog");
    assert_eq!(found["classes"][1]["train"], 5);
    let text = inspect(false);
    for phrase in [
        "10 training and 2 validation",
        "colour, of any size",
        &format!("{mean:.4}"),
    ] {
        assert!(text.contains(phrase), "{text}");
    }

    // The numbers were kept, and are not taken for other pictures.
    let kept: Vec<_> = fs::read_dir(cache.path().join("incubate/statistics"))
        .unwrap()
        .collect();
    assert_eq!(kept.len(), 1);
    RgbImage::new(50, 50)
        .save(folder.path().join("train/cat/0.png"))
        .unwrap();
    let changed: Value = serde_json::from_str(&inspect(true)).unwrap();
    let darker = changed["normalisation"]["mean"][1].as_f64().unwrap();
    assert!(darker < mean - 0.01, "{darker} {mean}");
}
