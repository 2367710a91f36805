use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::data::Normalisation;
use crate::data::memory::MemoryPictures;

/// Pictures of 2 x 2 pixels; every pixel has the number of its picture.
fn dataset(count: usize) -> Dataset {
    let pixels = (0..count).flat_map(|index| [index as u8; 4]).collect();
    let labels = (0..count).map(|index| (index % 3) as u8).collect();
    let pictures = Arc::new(MemoryPictures::new(
        "test".to_owned(),
        (2, 2),
        pixels,
        labels,
    ));
    Dataset {
        name: "test".to_owned(),
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        channels: 1,
        picture_size: Some((2, 2)),
        resize: false,
        evaluation_crop: 1.0,
        threads: None,
        normalisation: Normalisation {
            mean: vec![0.0],
            std: vec![1.0 / 255.0],
        },
        train: Arc::clone(&pictures) as Arc<dyn Pictures>,
        validation: pictures,
        ignored_files: 0,
        left_out: Vec::new(),
        digest: String::new(),
    }
}

fn loader(count: usize, part: Part, batch: usize, seed: u64, phase: Phase) -> Loader {
    Loader::new(&dataset(count), part, 2, batch, None, Seed(seed), phase).unwrap()
}

#[test]
fn the_order_is_pinned() {
    let order = loader(8, Part::Train, 1, 0, Phase::Meta).0.order(0);
    assert_eq!(order, [1, 6, 0, 2, 5, 7, 3, 4]);
}

#[test]
fn seed_phase_and_epoch_change_the_order() {
    let mut orders = HashSet::new();
    for seed in 0..2 {
        for phase in [
            Phase::Meta,
            Phase::Module(0),
            Phase::Module(1),
            Phase::Baseline,
        ] {
            let loader = loader(30, Part::Train, 4, seed, phase);
            for epoch in 0..3 {
                assert_eq!(loader.0.order(epoch), loader.0.order(epoch));
                orders.insert(loader.0.order(epoch));
            }
        }
    }
    assert_eq!(orders.len(), 24);
}

#[test]
fn training_drops_the_rest_and_validation_does_not() {
    let train = loader(10, Part::Train, 4, 0, Phase::Meta);
    let batches: Vec<Batch> = train.epoch(0).map(Result::unwrap).collect();
    assert_eq!(train.batches_per_epoch(), 2);
    assert_eq!(batches.len(), 2);
    assert!(batches.iter().all(|batch| batch.shape == [4, 1, 2, 2]));

    let validation = loader(10, Part::Validation, 4, 0, Phase::Meta);
    let batches: Vec<Batch> = validation.epoch(7).map(Result::unwrap).collect();
    assert_eq!(validation.batches_per_epoch(), 3);
    let shapes: Vec<[usize; 4]> = batches.iter().map(|batch| batch.shape).collect();
    assert_eq!(shapes, [[4, 1, 2, 2], [4, 1, 2, 2], [2, 1, 2, 2]]);
    let indices: Vec<usize> = batches
        .iter()
        .flat_map(|batch| batch.indices.clone())
        .collect();
    assert_eq!(indices, (0..10).collect::<Vec<usize>>());
}

#[test]
fn pictures_and_labels_belong_together() {
    for batch in loader(10, Part::Train, 4, 0, Phase::Meta).epoch(1) {
        let batch = batch.unwrap();
        for (position, index) in batch.indices.iter().enumerate() {
            assert_eq!(batch.labels[position], (index % 3) as i64);
            for value in &batch.images[4 * position..4 * position + 4] {
                assert!((value - *index as f32).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn an_epoch_continues_where_it_was_left() {
    let loader = loader(30, Part::Train, 4, 5, Phase::FineTune);
    let all: Vec<Batch> = loader.epoch(2).map(Result::unwrap).collect();
    for first in 0..=all.len() + 1 {
        let rest: Vec<Batch> = loader.epoch_from(2, first).map(Result::unwrap).collect();
        assert_eq!(rest, all[first.min(all.len())..]);
    }
}

#[test]
fn a_dropped_epoch_stops_its_thread() {
    let loader = loader(200, Part::Train, 1, 0, Phase::Meta);
    let recipe = Arc::downgrade(&loader.0);
    let mut batches = loader.epoch(0);
    assert!(batches.next().is_some());
    drop(batches);
    drop(loader);
    assert!(recipe.upgrade().is_none());
}

#[derive(Debug)]
struct Panicking;

impl Pictures for Panicking {
    fn len(&self) -> usize {
        4
    }

    fn label(&self, _: usize) -> usize {
        0
    }

    fn name(&self, index: usize) -> String {
        index.to_string()
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        panic!("picture {index} is broken")
    }

    fn costly(&self) -> bool {
        true
    }
}

#[test]
#[should_panic(expected = "is broken")]
fn a_panic_in_the_thread_goes_on_in_the_reader() {
    let broken = Dataset {
        train: Arc::new(Panicking),
        ..dataset(1)
    };
    let loader = Loader::new(&broken, Part::Train, 2, 4, None, Seed(0), Phase::Meta).unwrap();
    let _ = loader.epoch(0).next();
}

proptest! {
    #[test]
    fn an_order_is_a_permutation(count in 1_usize..200, seed: u64, epoch: u64) {
        let mut order = loader(count, Part::Train, 1, seed, Phase::Meta).0.order(epoch);
        order.sort_unstable();
        prop_assert_eq!(order, (0..count).collect::<Vec<usize>>());
    }
}

proptest! {
    #[test]
    fn an_epoch_is_the_same_from_any_batch_on_and_with_any_number_of_threads(
        count in 1_usize..60,
        batch in 1_usize..9,
        threads in 1_usize..4,
        epoch in 0_u64..5,
        first in 0_usize..12,
        seed: u64,
    ) {
        prop_assume!(batch <= count);
        let batches = |threads, first| -> Vec<Batch> {
            let dataset = Dataset { threads: Some(threads), ..dataset(count) };
            Loader::new(&dataset, Part::Train, 2, batch, None, Seed(seed), Phase::Baseline)
                .unwrap()
                .epoch_from(epoch, first)
                .map(Result::unwrap)
                .collect()
        };
        let all = batches(1, 0);
        prop_assert_eq!(all.len(), count / batch);
        prop_assert_eq!(&batches(threads, first), &all[first.min(all.len())..]);
        let seen: HashSet<usize> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
        prop_assert_eq!(seen.len(), all.len() * batch);
    }
}
