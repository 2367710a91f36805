use super::*;

const SEED: Seed = Seed(3);

fn occasion(number: u64) -> Occasion {
    Occasion {
        seed: SEED,
        phase: Phase::Meta,
        epoch: 0,
        number,
    }
}

fn draws(augmentation: &Augmentation) -> Vec<Draws> {
    (0..4000)
        .map(|number| augmentation.draw(&occasion(number), (8, 8), 8))
        .collect()
}

#[test]
fn nothing_happens_by_default() {
    let off = Augmentation::default();
    assert!(draws(&off).iter().all(|found| *found == Draws::PLAIN));
    assert_eq!(off.mixing(&occasion(0), 8), None);
    assert!(!off.is_costly());
}

#[test]
fn every_window_and_both_directions_occur_equally() {
    let found = draws(&Augmentation {
        crop_padding: 1,
        flip: 0.5,
        ..Augmentation::default()
    });
    for right in -1..=1 {
        for down in -1..=1 {
            for mirrored in [false, true] {
                let wanted = Draws {
                    crop: Crop::Padded { right, down },
                    mirrored,
                    ..Draws::PLAIN
                };
                let count = found.iter().filter(|other| **other == wanted).count() as f64;
                let expected = found.len() as f64 / 18.0;
                assert!(
                    (count - expected).abs() < 5.0 * expected.sqrt(),
                    "{wanted:?} {count}"
                );
            }
        }
    }
}

#[test]
fn a_flip_has_its_probability() {
    for probability in [0.0, 0.1, 0.5, 1.0] {
        let found = draws(&Augmentation {
            flip: probability,
            ..Augmentation::default()
        });
        let count = found.iter().filter(|draws| draws.mirrored).count() as f64;
        let expected = probability * found.len() as f64;
        assert!((count - expected).abs() <= 2.5 * expected.sqrt(), "{count}");
    }
}

/// What older runs drew with `flip = true` stays.
#[test]
fn a_fair_flip_is_one_bit() {
    for number in 0..100 {
        let bit = occasion(number).stream("flip").random::<bool>();
        assert_eq!(flip::draw(&mut occasion(number).stream("flip"), 0.5), bit);
    }
}

/// The recipe with everything on.
fn recipe() -> Augmentation {
    Augmentation {
        random_resized_crop: Some([0.08, 1.0]),
        flip: 0.5,
        rand_augment: Some("rand-m9-mstd0.5-inc1".parse().unwrap()),
        random_erasing: 0.25,
        mixup: 0.8,
        cutmix: 1.0,
        repeats: 3,
        ..Augmentation::default()
    }
}

#[test]
fn purposes_do_not_disturb_each_other() {
    let all = recipe();
    let none = Augmentation::default;
    let alone = [
        draws(&Augmentation {
            random_resized_crop: all.random_resized_crop,
            ..none()
        }),
        draws(&Augmentation {
            flip: all.flip,
            ..none()
        }),
        draws(&Augmentation {
            rand_augment: all.rand_augment,
            ..none()
        }),
        draws(&Augmentation {
            random_erasing: all.random_erasing,
            ..none()
        }),
    ];
    for (index, together) in draws(&all).into_iter().enumerate() {
        assert_eq!(together.crop, alone[0][index].crop);
        assert_eq!(together.mirrored, alone[1][index].mirrored);
        assert_eq!(together.operations, alone[2][index].operations);
        assert_eq!(together.erased, alone[3][index].erased);
    }
}

#[test]
fn every_part_of_the_occasion_matters() {
    let all = recipe();
    let here = occasion(7);
    let draw = |occasion: &Occasion| all.draw(occasion, (40, 30), 16);
    assert_eq!(draw(&here), draw(&here));
    for other in [
        Occasion { number: 8, ..here },
        Occasion { epoch: 1, ..here },
        Occasion {
            seed: Seed(4),
            ..here
        },
        Occasion {
            phase: Phase::Module(0),
            ..here
        },
    ] {
        assert_ne!(draw(&here).crop, draw(&other).crop);
    }
}

/// What is flipped first and rotated then differs from the other order.
#[test]
fn changes_are_made_in_timms_order() {
    let picture = crate::data::reference::source("colour");
    let all = recipe();
    let drawn = Draws {
        mirrored: true,
        operations: vec![Operation::Rotate(20.0), Operation::Invert],
        ..Draws::PLAIN
    };
    let fill = [124, 116, 104];
    let found = all.change(&drawn, picture.clone(), 13, fill);
    let mut expected = picture;
    flip::mirror(&mut expected);
    affine::rotate(&mut expected, 20.0, fill, Interpolation::Bicubic);
    tone::invert(&mut expected);
    assert_eq!(found, expected);
}

#[test]
fn impossible_settings_are_refused() {
    let cases: [(&str, &str); 16] = [
        (
            "crop_padding = 8",
            "setting `crop_padding` is 8, but it has to be less",
        ),
        (
            "crop_padding = 1\nrandom_resized_crop = true",
            "setting `crop_padding` is 1, but `random_resized_crop` is on",
        ),
        (
            "random_resized_crop = [0.0, 1.0]",
            "is [0, 1], but it has to be two shares",
        ),
        ("random_resized_crop = [0.5, 0.4]", "the smaller one first"),
        ("random_resized_crop = [0.5, 1.1]", "up to 1"),
        ("crop_ratio = [0.0, 1.0]", "setting `crop_ratio` is [0, 1]"),
        ("crop_ratio = [2.0, 1.0]", "the smaller one first"),
        (
            "flip = 1.5",
            "setting `flip` is 1.5, but it has to be a probability",
        ),
        ("random_erasing = -0.1", "setting `random_erasing` is -0.1"),
        ("mix_probability = nan", "setting `mix_probability` is NaN"),
        ("mixup = -0.1", "setting `mixup` is -0.1"),
        ("cutmix = inf", "setting `cutmix` is inf"),
        ("erasing_count = 0", "setting `erasing_count` is 0"),
        (
            "repeats = 0",
            "setting `repeats` is 0, but it has to be at least 1",
        ),
        (
            "colour_jitter = [0.4, -1, 0]",
            "setting `colour_jitter` is [0.4, -1, 0]",
        ),
        (
            "colour_jitter = 0.4\nrand_augment = \"rand-m9\"",
            "setting `colour_jitter` is 0.4, but `rand_augment` is on, beside which it is not used",
        ),
    ];
    for (text, phrase) in cases {
        let augmentation: Augmentation = toml::from_str(text).unwrap();
        let error = augmentation.validate(8).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error}");
    }
    recipe().validate(8).unwrap();
}
