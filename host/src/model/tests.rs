//! The network as a whole: stages, hybrids, weights, costs.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use safetensors::SafeTensors;

use super::parameters::parameters;
use super::*;
use crate::phase::Phase;
use crate::random::{Key, Seed};

const SEED: Seed = Seed(7);

fn config() -> VitConfig {
    VitConfig {
        image_size: 8,
        patch_size: 4,
        channels: 2,
        classes: 5,
        width: 12,
        depth: 6,
        heads: 3,
        mlp_ratio: 4,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    }
}

fn network(depths: &[usize]) -> Network {
    Architecture::Vit(config())
        .network(depths, SEED, Phase::Meta, &Device::flex())
        .unwrap()
}

fn images(batch: usize) -> Tensor<4> {
    let mut stream = SEED.stream(&Key {
        phase: Phase::Meta,
        epoch: 0,
        sample: 0,
        purpose: "test",
    });
    let values: Vec<f32> = (0..batch * 128).map(|_| stream.random()).collect();
    Tensor::from_data(TensorData::new(values, [batch, 2, 8, 8]), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn names(stage: &Stage) -> Vec<String> {
    parameters(stage)
        .into_iter()
        .map(|parameter| parameter.name)
        .collect()
}

#[test]
fn stages_own_what_the_method_says() {
    let stages = network(&[1, 2, 1]).into_stages();
    let outside = |stage: &Stage| -> Vec<String> {
        names(stage)
            .into_iter()
            .filter(|name| !name.starts_with("blocks."))
            .collect()
    };
    assert_eq!(
        outside(&stages[0]),
        [
            "pos_embed",
            "cls_token",
            "patch_embed.proj.weight",
            "patch_embed.proj.bias"
        ]
    );
    assert!(outside(&stages[1]).is_empty());
    assert_eq!(
        outside(&stages[2]),
        ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    );
    assert!(names(&stages[1]).contains(&"blocks.1.attn.qkv.weight".to_owned()));
    assert_eq!(network(&[1, 2, 1]).depths(), [1, 2, 1]);
    // One stage owns all of it.
    assert_eq!(outside(&network(&[2]).into_stages()[0]).len(), 8);
}

#[test]
fn names_are_known_before_there_is_a_network() {
    for qkv_bias in [true, false] {
        let architecture = Architecture::Vit(VitConfig {
            qkv_bias,
            ..config()
        });
        for depths in [&[3][..], &[1, 2, 1]] {
            let network = architecture
                .network(depths, SEED, Phase::Meta, &Device::flex())
                .unwrap();
            let found: Vec<Vec<String>> = network.stages().iter().map(names).collect();
            assert_eq!(architecture.parameter_names(depths), found);
        }
    }
}

#[test]
fn trained_weights_are_those_of_the_weight_file_and_no_others() {
    let network = network(&[1, 2, 1]).freeze_all_but(1);
    let bytes = network_to_safetensors(&network, &BTreeMap::new());
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let trained = trained_weights(&network, |_| true).unwrap();
    let stage = names(&network.stages()[1]);
    let expected: Vec<String> = stage
        .iter()
        .map(|name| format!("stages.1.{name}"))
        .collect();
    let found: Vec<&String> = trained.iter().map(|(name, _)| name).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    for (name, tensor) in trained {
        let view = file.tensor(&name).unwrap();
        assert_eq!(tensor.shape(), view.shape(), "{name}");
        let (chunks, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().copied().map(f32::from_le_bytes).collect();
        assert_eq!(tensor.read().unwrap(), values, "{name}");
    }
    let norms = trained_weights(&network, |name| name.contains("norm")).unwrap();
    assert_eq!(norms.len(), 8);
}

#[test]
fn presets_have_the_published_sizes() {
    let expected = [
        ("deit-tiny", 12, 5_717_416),
        ("deit-small", 12, 22_050_664),
        ("deit-base", 12, 86_567_656),
        ("vit-base", 12, 86_567_656),
        ("vit-large", 24, 304_326_632),
        ("vit-huge", 32, 631_922_920),
    ];
    for (name, depth, parameters) in expected {
        let costs = Architecture::preset(name).unwrap().costs(1);
        let blocks: u64 = costs.blocks.iter().map(|block| block.parameters).sum();
        assert_eq!(costs.blocks.len(), depth, "{name}");
        assert_eq!(
            costs.entry.parameters + blocks + costs.exit.parameters,
            parameters,
            "{name}"
        );
    }
    for name in Architecture::PRESETS {
        let architecture = Architecture::preset(name).unwrap();
        assert_eq!(architecture.validate(), Ok(()), "{name}");
        assert_eq!(architecture.costs(1).blocks.len(), architecture.depth());
    }
    assert_eq!(Architecture::preset("vit"), None);
    // Multiplications per picture, in units of 10⁹: the figures of the paper's tables.
    for (name, expected) in [
        ("vit-base", 17.6),
        ("deit-tiny-32", 1.0),
        ("deit-tiny-128", 3.9),
    ] {
        let architecture = Architecture::preset(name).unwrap();
        let macs = architecture.training_macs(&[architecture.depth()], Trained::All);
        assert!(
            (macs.forward as f64 / 1e9 - expected).abs() < 0.06,
            "{name}"
        );
    }
}

#[test]
fn counted_parameters_are_those_of_the_network() {
    for qkv_bias in [true, false] {
        let config = VitConfig {
            qkv_bias,
            ..config()
        };
        let architecture = Architecture::Vit(config);
        let network = architecture
            .network(&[2, 3, 1], SEED, Phase::Meta, &Device::flex())
            .unwrap();
        let costs = architecture.costs(4);
        let parts = [&costs.entry, &costs.exit];
        let total: u64 = parts
            .into_iter()
            .chain(&costs.blocks)
            .map(|cost| cost.parameters)
            .sum();
        assert_eq!(network.parameter_count(), total);
        assert_eq!(network.trained_parameter_count(), total);
        let frozen = network.freeze_all_but(1);
        assert_eq!(
            frozen.trained_parameter_count(),
            3 * costs.blocks[0].parameters
        );
    }
}

#[test]
fn training_counts_what_is_needed() {
    let architecture = Architecture::Vit(config());
    // 4 patches of 32 values, 5 tokens, width 12, 5 classes.
    let entry = 4 * 32 * 12;
    let linear = 5 * 12 * 12 * 12;
    let products = 2 * 5 * 5 * 12;
    let exit = 12 * 5;
    let all = architecture.training_macs(&[1, 3, 1], Trained::All);
    assert_eq!(all.forward, entry + 5 * (linear + products) + exit);
    assert_eq!(all.backward, entry + 10 * (linear + products) + 2 * exit);
    let first = architecture.training_macs(&[3, 1, 1], Trained::Module(0));
    assert_eq!(first.forward, all.forward);
    assert_eq!(
        first.backward,
        entry + 6 * (linear + products) + 2 * (linear + 2 * products) + exit
    );
    let middle = architecture.training_macs(&[1, 3, 1], Trained::Module(1));
    assert_eq!(
        middle.backward,
        6 * (linear + products) + (linear + 2 * products) + exit
    );
    let last = architecture.training_macs(&[1, 1, 3], Trained::Module(2));
    assert_eq!(last.backward, 6 * (linear + products) + 2 * exit);
    assert_eq!(last.total(), last.forward + last.backward);
    // The parts of the network add up to the same.
    let costs = architecture.costs(10);
    let parts = costs.entry.forward_macs + 5 * costs.blocks[0].forward_macs;
    assert_eq!(parts + costs.exit.forward_macs, 10 * all.forward);
}

#[test]
fn impossible_networks_are_refused() {
    let refused = |change: fn(&mut VitConfig), message: &str| {
        let mut config = config();
        change(&mut config);
        let error = Architecture::Vit(config).validate().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    };
    refused(
        |config| config.heads = 5,
        "width 12 of the network is not a multiple of heads 5",
    );
    refused(|config| config.patch_size = 3, "image_size 8");
    refused(|config| config.channels = 0, "channels of the network is 0");
    refused(|config| config.heads = 0, "heads of the network is 0");
    refused(
        |config| config.patch_size = 0,
        "patch_size of the network is 0",
    );
    refused(|config| config.layer_norm_eps = f64::NAN, "layer_norm_eps");
    let depths = |depths: &[usize]| {
        Architecture::Vit(config())
            .network(depths, SEED, Phase::Meta, &Device::flex())
            .unwrap_err()
            .to_string()
    };
    assert!(depths(&[1, 0, 2]).contains("stage 1 has no blocks"));
    assert!(depths(&[]).contains("no stages"));
}

#[test]
fn architectures_are_written_with_their_family() {
    let architecture = Architecture::Vit(config());
    let text = serde_json::to_string(&architecture).unwrap();
    assert!(text.contains(r#""family":"vit""#), "{text}");
    assert_eq!(
        serde_json::from_str::<Architecture>(&text).unwrap(),
        architecture
    );
}

#[test]
fn initial_weights_depend_on_seed_phase_and_name_alone() {
    let make = |seed, phase, depths: &[usize]| {
        Architecture::Vit(config())
            .network(depths, seed, phase, &Device::flex())
            .unwrap()
            .into_stages()
    };
    let bytes = |stage: &Stage| stage_to_safetensors(stage, &BTreeMap::new());
    let first = make(SEED, Phase::Meta, &[1, 2]);
    // The other stage's depth does not matter.
    assert_eq!(
        bytes(&first[0]),
        bytes(&make(SEED, Phase::Meta, &[1, 3])[0])
    );
    assert_ne!(
        bytes(&first[0]),
        bytes(&make(Seed(8), Phase::Meta, &[1, 2])[0])
    );
    assert_ne!(
        bytes(&first[0]),
        bytes(&make(SEED, Phase::Module(0), &[1, 2])[0])
    );
    let middle = make(SEED, Phase::Meta, &[1, 1, 1, 1]);
    assert_ne!(bytes(&middle[1]), bytes(&middle[2]));
}

#[test]
fn initial_weights_have_the_stated_distribution() {
    let stages = network(&[2, 2]).into_stages();
    let file = stage_to_safetensors(&stages[0], &BTreeMap::new());
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let read = |name: &str| -> Vec<f32> {
        let (chunks, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
        chunks.iter().copied().map(f32::from_le_bytes).collect()
    };
    let weight = read("blocks.0.mlp.fc1.weight");
    let variance = weight.iter().map(|value| value * value).sum::<f32>() / weight.len() as f32;
    assert!((variance.sqrt() / 0.02 - 1.0).abs() < 0.15, "{variance}");
    assert_ne!(weight, read("blocks.1.mlp.fc1.weight"));
    assert!(
        read("blocks.0.mlp.fc1.bias")
            .iter()
            .all(|value| *value == 0.0)
    );
    assert!(
        read("blocks.0.norm1.weight")
            .iter()
            .all(|value| *value == 1.0)
    );
    let bound = 1.0 / 32.0_f32.sqrt();
    let patch = read("patch_embed.proj.weight");
    let largest = patch.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!(largest <= bound && largest > 0.9 * bound, "{largest}");
}

#[test]
fn hybrids_give_what_the_whole_network_gives() {
    let network = network(&[1, 2, 1]);
    let plain = network.valid().forward(images(3), &Noise::off());
    assert_eq!(plain.logits.dims(), [3, 5]);
    assert_eq!(plain.boundaries.len(), 2);
    assert_eq!(plain.boundaries[1].dims(), [3, 5, 12]);
    assert!(!plain.logits.is_autodiff());
    for trained in 0..3 {
        let hybrid = network.clone().freeze_all_but(trained);
        let forward = hybrid.forward_hybrid(images(3), trained, &Noise::off());
        assert!(forward.logits.is_tracked());
        for boundary in &forward.boundaries {
            assert!(boundary.is_autodiff());
        }
        for (index, boundary) in forward.boundaries.iter().enumerate() {
            assert_eq!(
                boundary.is_tracked(),
                index >= trained,
                "{index} of {trained}"
            );
        }
        let differences = values(forward.logits)
            .into_iter()
            .zip(values(plain.logits.clone()));
        for (found, expected) in differences {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn a_hybrid_from_its_features_gives_the_same_bits() {
    let network = network(&[1, 2, 1]);
    let bits = |tensor: Tensor<2>| -> Vec<u32> {
        values(tensor).iter().map(|value| value.to_bits()).collect()
    };
    for trained in 1..3 {
        let hybrid = network.clone().freeze_all_but(trained);
        let whole = hybrid.forward_hybrid(images(3), trained, &Noise::off());
        let features = hybrid.frozen_features(images(3), trained);
        assert!(!features.is_autodiff());
        let from = hybrid.forward_hybrid_from(features, trained, &Noise::off());
        assert_eq!(bits(from.logits), bits(whole.logits));
        assert_eq!((whole.first, from.first), (0, trained - 1));
        assert_eq!(from.boundaries.len(), 3 - trained);
        for (found, expected) in from.boundaries.iter().zip(&whole.boundaries[from.first..]) {
            assert_eq!(values(found.clone()), values(expected.clone()));
            assert_eq!(found.is_tracked(), expected.is_tracked());
        }
    }
}

/// Features are kept and used in other batches than they were made in: no bit may depend on that.
#[test]
fn what_a_network_makes_of_a_picture_depends_on_no_other_and_on_no_place() {
    /// A tiny network, the one of the benches, one for photographs, and a batch of one.
    const SHAPES: [(usize, usize, usize, usize, usize); 5] = [
        (8, 4, 12, 2, 7),
        (28, 4, 192, 3, 64),
        (8, 1, 32, 2, 50),
        (224, 16, 96, 3, 3),
        (28, 4, 192, 3, 1),
    ];
    for (image_size, patch_size, width, heads, batch) in SHAPES {
        let config = VitConfig {
            image_size,
            patch_size,
            width,
            heads,
            depth: 4,
            ..config()
        };
        let channels = config.channels;
        let network = Architecture::Vit(config)
            .network(&[1, 2, 1], SEED, Phase::Meta, &Device::flex())
            .unwrap();
        let picture = channels * image_size * image_size;
        let pictures: Vec<Vec<f32>> = (0..3 * batch)
            .map(|index| {
                let value = |at: usize| ((index * picture + at) as f32 * 0.731).sin();
                (0..picture).map(value).collect()
            })
            .collect();
        for precision in [Precision::Float32, Precision::BFloat16] {
            let network = network.clone().computing(Numerics {
                precision,
                ..Numerics::default()
            });
            let features = |indices: &[usize]| -> Vec<Vec<u32>> {
                let values: Vec<f32> = indices
                    .iter()
                    .flat_map(|index| pictures[*index].clone())
                    .collect();
                let shape = [indices.len(), channels, image_size, image_size];
                let images =
                    Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
                let features = network.frozen_features(images, 2);
                let [_, tokens, width] = features.dims();
                let bits: Vec<u32> = features
                    .into_data()
                    .iter::<f32>()
                    .map(f32::to_bits)
                    .collect();
                bits.chunks(tokens * width).map(<[u32]>::to_vec).collect()
            };
            let count = 3 * batch;
            let mut expected = Vec::new();
            for first in (0..count).step_by(batch) {
                expected.extend(features(&(first..first + batch).collect::<Vec<_>>()));
            }
            // Steps that have no factor in common with the number of pictures reorder all of them.
            for step in (2..count).filter(|step| gcd(*step, count) == 1).take(1) {
                let order: Vec<usize> = (0..count).map(|place| place * step % count).collect();
                for indices in order.chunks(batch) {
                    for (index, found) in indices.iter().zip(features(indices)) {
                        assert!(
                            found == expected[*index],
                            "{image_size} pixels, width {width}, batch {batch}, {precision}"
                        );
                    }
                }
            }
        }
    }
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}

#[test]
fn only_the_trained_stage_drops_paths() {
    let network = network(&[1, 2, 1]);
    let rates = NoiseRates {
        drop_path: 0.9,
        ..NoiseRates::default()
    };
    let drop_path = Noise::new(rates, SEED, Phase::Module(1), 0, (0..16).collect());
    let off = network.valid().forward(images(16), &Noise::off());
    let boundary = |forward: &Forward, index: usize| values(forward.boundaries[index].clone());
    for trained in 0..3 {
        let hybrid = network.clone().freeze_all_but(trained);
        let on = hybrid.forward_hybrid(images(16), trained, &drop_path);
        for index in 0..trained {
            let found = boundary(&on, index).into_iter();
            for (found, expected) in found.zip(boundary(&off, index)) {
                assert!((found - expected).abs() < 1e-5, "{index} of {trained}");
            }
        }
        if trained == 1 {
            assert_ne!(boundary(&on, 1), boundary(&off, 1));
        }
        let again = hybrid.forward_hybrid(images(16), trained, &drop_path);
        assert_eq!(values(on.logits), values(again.logits));
    }
    // All of them when all are trained; the first block has rate 0.
    let on = network.forward(images(16), &drop_path);
    assert_eq!(on.boundaries.len(), 2);
    assert_ne!(boundary(&on, 1), boundary(&off, 1));
}

#[test]
fn weights_survive_a_file() {
    let network = network(&[1, 2]);
    let metadata = BTreeMap::from([
        ("phase".to_owned(), "meta".to_owned()),
        ("seed".to_owned(), "7".to_owned()),
    ]);
    let bytes = network_to_safetensors(&network, &metadata);
    assert_eq!(bytes, network_to_safetensors(&network, &metadata));
    assert_eq!(metadata_of(&bytes).unwrap(), metadata);
    let other = Architecture::Vit(config())
        .network(&[1, 2], Seed(99), Phase::Baseline, &Device::flex())
        .unwrap()
        .freeze_all_but(1);
    let loaded = load_network(other, &bytes).unwrap();
    assert_eq!(bytes, network_to_safetensors(&loaded, &metadata));
    // Loading does not thaw.
    assert!(
        parameters(&loaded.stages()[0])
            .iter()
            .all(|parameter| !parameter.trained)
    );
    assert!(
        parameters(&loaded.stages()[1])
            .iter()
            .all(|parameter| parameter.trained)
    );
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("stages.1.blocks.1.attn.qkv.weight"), [36, 12]);
    assert_eq!(shape("stages.0.patch_embed.proj.weight"), [12, 2, 4, 4]);
    assert_eq!(shape("stages.0.pos_embed"), [1, 5, 12]);
    assert_eq!(shape("stages.1.head.weight"), [5, 12]);
    // A stage from the file of a network, and from its own.
    let stages = network.into_stages();
    let from_network = load_stage(stages[1].clone(), &bytes, "stages.1.").unwrap();
    let own = stage_to_safetensors(&from_network, &BTreeMap::new());
    assert_eq!(own, stage_to_safetensors(&stages[1], &BTreeMap::new()));
    load_stage(stages[1].clone(), &own, "").unwrap();
    assert!(metadata_of(&own).unwrap().is_empty());
}

#[test]
fn weights_of_another_network_are_refused() {
    let bytes = |depths: &[usize]| network_to_safetensors(&network(depths), &BTreeMap::new());
    let refused = |network: Network, bytes: &[u8], message: &str| {
        let error = load_network(network, bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    refused(
        network(&[1, 2]),
        &bytes(&[1, 1]),
        "12 tensors are lacking, such as `stages.1.blocks.1.norm1.weight`",
    );
    refused(
        network(&[1, 1]),
        &bytes(&[1, 2]),
        "12 tensors are unknown to this network, such as `stages.1.blocks.1.attn.proj.bias`",
    );
    let classes = Architecture::Vit(VitConfig {
        classes: 6,
        ..config()
    });
    let other = classes
        .network(&[1], SEED, Phase::Meta, &Device::flex())
        .unwrap();
    refused(
        other,
        &bytes(&[1]),
        "`stages.0.head.weight` has shape [5, 12] where the network has [6, 12]",
    );
    refused(network(&[1]), b"no weights", "not a safetensors file");
    let whole = bytes(&[1]);
    refused(
        network(&[1]),
        &whole[..whole.len() - 4],
        "not a safetensors file",
    );
    let place = whole.windows(3).position(|bytes| bytes == b"F32").unwrap();
    let mut other_type = whole;
    other_type[place..place + 3].copy_from_slice(b"I32");
    refused(
        network(&[1]),
        &other_type,
        "values of type I32 where F32 is needed",
    );
}
