//! Precision, checkpointed activations, averages, rates by layer, accumulation, and dropout of a
//! network, against values of PyTorch and timm (`tests/recipe/reference.py`) and against each other.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use incubate::model::parameters::parameters;
use incubate::model::{
    Architecture, Network, Noise, NoiseRates, Numerics, Precision, VitConfig, load_network,
    network_to_safetensors,
};
use incubate::optimizer::{AdamWConfig, Average, Optimizer};
use incubate::phase::Phase;
use incubate::random::Seed;
use safetensors::SafeTensors;
use serde_json::Value;

const SEED: Seed = Seed(11);

fn file(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name),
    )
    .unwrap()
}

/// What PyTorch and timm give.
fn expected() -> Value {
    serde_json::from_slice(&file("recipe/expected.json")).unwrap()
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().unwrap();
    list.iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The dimensions of the networks in `tests/parity`.
fn config() -> VitConfig {
    VitConfig {
        image_size: 16,
        patch_size: 4,
        channels: 3,
        classes: 10,
        width: 24,
        depth: 7,
        heads: 2,
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
    Tensor::<1, Int>::arange(0..(batch * 768) as i64, &Device::flex())
        .float()
        .mul_scalar(0.731)
        .sin()
        .reshape([batch, 3, 16, 16])
}

/// A mixture of two classes for every picture.
fn targets(batch: usize) -> Tensor<2> {
    let mut values = vec![0.01; batch * 10];
    for picture in 0..batch {
        values[picture * 10 + picture % 10] += 0.6;
        values[picture * 10 + (picture * 7 + 3) % 10] += 0.3;
    }
    Tensor::from_data(TensorData::new(values, [batch, 10]), &Device::flex())
}

/// Mean cross-entropy with soft targets.
fn loss(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    -(log_softmax(logits, 1) * targets.autodiff())
        .sum_dim(1)
        .mean()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The gradients of a loss by the names of the parameters.
fn gradients(network: &Network, loss: &Tensor<1>) -> BTreeMap<String, Vec<f32>> {
    struct Collector {
        source: burn::tensor::Gradients,
        found: Vec<Option<Vec<f32>>>,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(&self.source);
            if let Some(gradient) = &gradient {
                assert_eq!(gradient.dtype(), DType::F32, "gradients arrive in float32");
            }
            self.found.push(gradient.map(values));
        }
    }
    let mut collector = Collector {
        source: loss.backward(),
        found: Vec::new(),
    };
    network.visit(&mut collector);
    parameters(network)
        .into_iter()
        .zip(collector.found)
        .filter_map(|(parameter, gradient)| Some((parameter.name, gradient?)))
        .collect()
}

/// Noise of every kind.
fn noise(rates: [f64; 3], batch: usize) -> Noise {
    let [drop_path, dropout, attention_dropout] = rates;
    let rates = NoiseRates {
        drop_path,
        dropout,
        attention_dropout,
    };
    Noise::new(
        rates,
        SEED,
        Phase::Module(1),
        3,
        (0..batch as u64).collect(),
    )
}

fn computing(precision: Precision, checkpoint_activations: bool) -> Numerics {
    Numerics {
        precision,
        checkpoint_activations,
    }
}

/// The names of timm for the name of a parameter in a network with these depths.
fn flat_name(name: &str, depths: &[usize]) -> String {
    let parts: Vec<&str> = name.splitn(5, '.').collect();
    match parts[..] {
        ["stages", stage, "blocks", block, rest] => {
            let before: usize = depths[..stage.parse().unwrap()].iter().sum();
            let block: usize = block.parse().unwrap();
            format!("blocks.{}.{rest}", before + block)
        }
        _ => parts[2..].join("."),
    }
}

#[test]
fn bfloat16_agrees_with_pytorchs_autocast() {
    let reference = &expected()["precision"];
    let meta = load_network(network(&[1, 1, 1]), &file("parity/meta.safetensors")).unwrap();
    let batch = file("parity/batch.safetensors");
    let batch = SafeTensors::deserialize(&batch).unwrap();
    let view = batch.tensor("images").unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    let pictures: Vec<f32> = chunks.iter().copied().map(f32::from_le_bytes).collect();
    let count = view.shape()[0];
    let (chunks, _) = batch.tensor("labels").unwrap().data().as_chunks::<8>();
    let labels: Vec<i64> = chunks.iter().copied().map(i64::from_le_bytes).collect();
    let device = Device::flex();
    let pictures = Tensor::<4>::from_data(TensorData::new(pictures, [count, 3, 16, 16]), &device);
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), &device)
        .one_hot::<2>(10)
        .float();
    // Both round in their own places, to 8 bits: how far apart that puts two of them is what it
    // puts between one of them and float32, 0.0034 in the logits.
    let float32 = ("float32", Precision::Float32, 1e-5, 1e-4);
    let bfloat16 = ("bfloat16", Precision::BFloat16, 5e-3, 2.5e-2);
    // Attention in one kernel, and as it is composed where shares may be dropped, of which none is here.
    let ways = || [Noise::off(), noise([0.0, 0.0, 1e-9], count)];
    for ((name, precision, in_logits, in_norms), noise) in [float32, bfloat16]
        .into_iter()
        .flat_map(|numbers| ways().map(|noise| (numbers, noise)))
    {
        let network = meta.clone().computing(computing(precision, false));
        let forward = network.forward(pictures.clone(), &noise);
        assert_eq!(forward.logits.dtype(), DType::F32);
        let loss = loss(forward.logits.clone(), labels.clone());
        let found = gradients(&network, &loss);
        let difference = |others: &[f64]| {
            let logits = values(forward.logits.clone());
            assert_eq!(logits.len(), others.len());
            let pairs = logits.into_iter().zip(others);
            pairs.fold(0.0_f64, |most, (one, other)| {
                most.max((f64::from(one) - other).abs())
            })
        };
        let apart = difference(&numbers(&reference[name]["logits"]));
        assert!(apart < in_logits, "{name}: {apart}");
        if precision == Precision::BFloat16 {
            let from_float32 = difference(&numbers(&reference["float32"]["logits"]));
            assert!(from_float32 > 5e-4, "nothing was rounded: {from_float32}");
        }
        for (parameter, norm) in reference[name]["gradient_norms"].as_object().unwrap() {
            let (_, gradient) = found
                .iter()
                .find(|(name, _)| flat_name(name, &[1, 1, 1]) == *parameter)
                .unwrap();
            let squares = gradient.iter().map(|value| f64::from(*value).powi(2));
            let (norm, found) = (norm.as_f64().unwrap(), squares.sum::<f64>().sqrt());
            let apart = (found - norm).abs() / norm;
            assert!(apart < in_norms, "{name} {parameter}: {found} and {norm}");
        }
    }
}

#[test]
fn bfloat16_leaves_weights_and_steps_in_float32() {
    struct Types(Vec<DType>);
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().dtype());
        }
    }
    let mut half = network(&[2, 1]).computing(computing(Precision::BFloat16, false));
    let before = network_to_safetensors(&half, &BTreeMap::new());
    let config = AdamWConfig {
        clip: Some(1e-3),
        ..AdamWConfig::default()
    };
    let mut optimizer = Optimizer::new(config, &half, Phase::Meta);
    let logits = half.forward(images(4), &Noise::off()).logits;
    optimizer
        .accumulate(&half, loss(logits, targets(4)))
        .unwrap();
    let stepped = optimizer.step(half, &[1e-6; 2]).unwrap();
    half = stepped.network;
    let mut types = Types(Vec::new());
    half.visit(&mut types);
    assert!(types.0.iter().all(|dtype| *dtype == DType::F32));
    // Clipping works in every precision.
    assert!(stepped.gradient_norm.unwrap().into_scalar::<f32>() > 1e-3);
    // A step far below the spacing of bfloat16 numbers arrives.
    let after = network_to_safetensors(&half, &BTreeMap::new());
    let [before, after] = [&before, &after].map(|file| SafeTensors::deserialize(file).unwrap());
    let weight = "stages.0.blocks.1.mlp.fc1.weight";
    let pairs = [before, after].map(|file| {
        let (chunks, _) = file.tensor(weight).unwrap().data().as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().copied().map(f32::from_le_bytes).collect();
        values
    });
    let moved = pairs[0]
        .iter()
        .zip(&pairs[1])
        .filter(|(one, other)| one != other);
    assert!(moved.count() > pairs[0].len() / 2);
}

#[test]
fn checkpointed_activations_change_no_bit() {
    for precision in [Precision::Float32, Precision::BFloat16] {
        for rates in [[0.0; 3], [0.4, 0.2, 0.3]] {
            for trained in [None, Some(0), Some(1), Some(2)] {
                let run = |checkpoint: bool| {
                    let network = network(&[1, 2, 1]).computing(computing(precision, checkpoint));
                    let network = match trained {
                        Some(stage) => network.freeze_all_but(stage),
                        None => network,
                    };
                    let noise = noise(rates, 3);
                    let forward = match trained {
                        Some(stage) => network.forward_hybrid(images(3), stage, &noise),
                        None => network.forward(images(3), &noise),
                    };
                    let logits = forward.logits;
                    let found = gradients(&network, &loss(logits.clone(), targets(3)));
                    (values(logits), found)
                };
                let (kept, again) = (run(false), run(true));
                let what = format!("{precision}, noise {rates:?}, stage {trained:?}");
                assert_eq!(kept.0, again.0, "{what}");
                assert_eq!(
                    kept.1.keys().collect::<Vec<_>>(),
                    again.1.keys().collect::<Vec<_>>(),
                    "{what}"
                );
                for (name, gradient) in kept.1 {
                    assert_eq!(gradient, again.1[&name], "{what}: {name}");
                }
            }
        }
    }
}

#[test]
fn a_network_without_query_bias_can_be_checkpointed() {
    let architecture = Architecture::Vit(VitConfig {
        qkv_bias: false,
        ..config()
    });
    let run = |checkpoint: bool| {
        let network = architecture
            .network(&[2], SEED, Phase::Meta, &Device::flex())
            .unwrap()
            .computing(computing(Precision::Float32, checkpoint));
        let logits = network.forward(images(2), &Noise::off()).logits;
        gradients(&network, &loss(logits, targets(2)))
    };
    assert_eq!(run(false), run(true));
}

/// Multiplies every trained parameter.
struct Times(f32);

impl ModuleMapper for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let scaled = tensor.inner().mul_scalar(self.0).autodiff().require_grad();
        Param::from_mapped_value(id, scaled, mapper)
    }
}

#[test]
fn the_average_of_the_weights_is_timms() {
    let reference = expected();
    let factors = numbers(&reference["weights"]);
    let first = network(&[1, 1]);
    let head = |network: &Network| {
        let bytes = network_to_safetensors(network, &BTreeMap::new());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (chunks, _) = file
            .tensor("stages.1.head.weight")
            .unwrap()
            .data()
            .as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().copied().map(f32::from_le_bytes).collect();
        values
    };
    for (key, warm_up) in [("average_0.9", false), ("average_0.9_with_warm_up", true)] {
        let mut average = Average::new(&first, 0.9, warm_up);
        assert_eq!(head(&average.network(&first)), head(&first));
        for (factor, expected) in factors[1..].iter().zip(numbers(&reference[key])) {
            let weights = first.clone().map(&mut Times(*factor as f32));
            average.update(&weights);
            let found = head(&average.network(&weights));
            for (found, first) in found.into_iter().zip(head(&first)) {
                let expected = expected as f32 * first;
                assert!(
                    (found - expected).abs() <= 2e-6 * expected.abs().max(1e-2),
                    "{key}: {found} {expected}"
                );
            }
        }
        // The average is as trainable as what it is taken of.
        let replaced = average.network(&first);
        assert_eq!(
            replaced.trained_parameter_count(),
            first.trained_parameter_count()
        );
    }
}

#[test]
fn the_average_leaves_frozen_stages_alone() {
    let hybrid = network(&[1, 1]).freeze_all_but(1);
    let mut average = Average::new(&hybrid, 0.5, false);
    let other = Network::from_stages(network(&[1, 1]).map(&mut Times(3.0)).into_stages());
    average.update(&hybrid);
    let found = average.network(&other.freeze_all_but(1));
    // Stage 0 of the network that was given, which is no member of the average.
    let stage = |network: &Network, index: usize| {
        let stages = vec![network.stages()[index].clone()];
        network_to_safetensors(&Network::from_stages(stages), &BTreeMap::new())
    };
    let tripled = network(&[1, 1]).map(&mut Times(3.0));
    assert_eq!(stage(&found, 0), stage(&tripled, 0));
}

#[test]
fn layers_have_timms_rates() {
    let reference = expected();
    let scales = reference["layer_scales_0.75"].as_object().unwrap();
    let config = AdamWConfig {
        layer_decay: 0.75,
        ..AdamWConfig::default()
    };
    for depths in [&[4][..], &[1, 3], &[1, 2, 1]] {
        let network = network(depths);
        let optimizer = Optimizer::new(config, &network, Phase::Meta);
        let found = optimizer.layer_scales(&network);
        assert_eq!(found.len(), scales.len());
        for (name, scale) in found {
            let name = flat_name(&name, depths);
            // timm puts the last norm to the last block, BEiT and MAE to the head, as it is here.
            let expected = if name.starts_with("norm.") {
                1.0
            } else {
                scales[&name].as_f64().unwrap()
            };
            assert!((scale - expected).abs() < 1e-12, "{name}: {scale}");
        }
    }
}

#[test]
fn a_layers_rate_is_what_its_weights_move_by() {
    // AdamW's first step moves every weight by its rate, whatever the gradient.
    let network = network(&[1, 2]);
    let config = AdamWConfig {
        layer_decay: 0.5,
        weight_decay: 0.0,
        epsilon: 0.0,
        ..AdamWConfig::default()
    };
    let mut optimizer = Optimizer::new(config, &network, Phase::Meta);
    let scales: BTreeMap<String, f64> = optimizer.layer_scales(&network).into_iter().collect();
    let logits = network.forward(images(4), &Noise::off()).logits;
    optimizer
        .accumulate(&network, loss(logits, targets(4)))
        .unwrap();
    let after = optimizer.step(network.clone(), &[1e-2; 2]).unwrap().network;
    let [before, after] =
        [network, after].map(|network| network_to_safetensors(&network, &BTreeMap::new()));
    let [before, after] = [&before, &after].map(|file| SafeTensors::deserialize(file).unwrap());
    for (name, view) in before
        .iter()
        .filter(|(name, _)| name.ends_with("fc1.weight"))
    {
        let other = after.tensor(name).unwrap();
        let read = |data: &[u8]| -> Vec<f32> {
            let (chunks, _) = data.as_chunks::<4>();
            chunks.iter().copied().map(f32::from_le_bytes).collect()
        };
        for (one, other) in read(view.data()).into_iter().zip(read(other.data())) {
            let moved = f64::from((one - other).abs());
            assert!(
                (moved / (1e-2 * scales[name]) - 1.0).abs() < 1e-3,
                "{name}: {moved}"
            );
        }
    }
}

#[test]
fn four_parts_of_sixteen_train_as_a_batch_of_sixty_four() {
    const UPDATES: usize = 4;
    const RATE: f64 = 1e-3;
    for (clip, rates) in [
        (None, [0.0; 3]),
        (Some(0.5), [0.0; 3]),
        (Some(0.5), [0.3, 0.1, 0.1]),
    ] {
        let train = |parts: usize| {
            let size = 64 / parts;
            let mut network = network(&[1, 2]);
            let config = AdamWConfig {
                clip,
                ..AdamWConfig::default()
            };
            let mut optimizer = Optimizer::new(config, &network, Phase::Meta);
            let mut norms = Vec::new();
            for _ in 0..UPDATES {
                for part in 0..parts {
                    let first = part * size;
                    let samples = (first..first + size).map(|sample| sample as u64).collect();
                    let [drop_path, dropout, attention_dropout] = rates;
                    let rates = NoiseRates {
                        drop_path,
                        dropout,
                        attention_dropout,
                    };
                    let noise = Noise::new(rates, SEED, Phase::Meta, 0, samples);
                    let pictures = images(64).narrow(0, first, size);
                    let logits = network.forward(pictures, &noise).logits;
                    let loss = loss(logits, targets(64).narrow(0, first, size));
                    let share = loss.div_scalar(parts as f64);
                    optimizer.accumulate(&network, share).unwrap();
                }
                let stepped = optimizer.step(network, &[RATE; 2]).unwrap();
                network = stepped.network;
                norms.extend(stepped.gradient_norm.map(|norm| norm.into_scalar::<f32>()));
            }
            (network, norms)
        };
        let ((whole, whole_norms), (parts, part_norms)) = (train(1), train(4));
        assert_eq!(whole_norms.len(), if clip.is_some() { UPDATES } else { 0 });
        for (one, other) in whole_norms.iter().zip(part_norms) {
            assert!((one - other).abs() < 1e-4 * one, "{one} {other}");
        }
        let [whole, parts] =
            [whole, parts].map(|network| network_to_safetensors(&network, &BTreeMap::new()));
        let [whole, parts] = [&whole, &parts].map(|file| SafeTensors::deserialize(file).unwrap());
        for (name, view) in whole.iter() {
            let read = |data: &[u8]| -> Vec<f32> {
                let (chunks, _) = data.as_chunks::<4>();
                chunks.iter().copied().map(f32::from_le_bytes).collect()
            };
            let (one, other) = (read(view.data()), read(parts.tensor(name).unwrap().data()));
            let (mut squares, mut apart) = (0.0, 0.0);
            for (index, (one, other)) in one.iter().zip(&other).enumerate() {
                // A bias of all keys changes no softmax: its gradient is rounding noise, of which
                // AdamW makes steps of up to the rate.
                if name.ends_with("qkv.bias") && (24..48).contains(&index) {
                    assert!(f64::from((one - other).abs()) <= 2.0 * RATE * UPDATES as f64);
                    continue;
                }
                squares += f64::from(*one).powi(2);
                apart += f64::from(one - other).powi(2);
            }
            // The sums of the batch are rounded in another order, relative 1e-6; AdamW divides
            // gradients by their own size and so makes more of that where they are small.
            let (size, apart) = (squares.sqrt().max(RATE), apart.sqrt());
            assert!(
                apart < 1e-3 * size,
                "{name}: {apart} of {size}, clip {clip:?}"
            );
        }
    }
}

#[test]
fn dropout_is_the_trained_stages_alone() {
    let network = network(&[1, 2, 1]);
    let plain = network.valid().forward(images(8), &Noise::off());
    let boundary = |index: usize, forward: &incubate::model::Forward| {
        values(forward.boundaries[index].clone())
    };
    let apart = |one: Vec<f32>, other: Vec<f32>| {
        let pairs = one.into_iter().zip(other);
        pairs.fold(0.0_f32, |most, (one, other)| most.max((one - other).abs()))
    };
    for rates in [[0.0, 0.3, 0.0], [0.0, 0.0, 0.3]] {
        let noise = noise(rates, 8);
        for trained in 0..3 {
            let hybrid = network.clone().freeze_all_but(trained);
            let on = hybrid.forward_hybrid(images(8), trained, &noise);
            for index in 0..trained {
                assert!(apart(boundary(index, &on), boundary(index, &plain)) < 1e-5);
            }
            if trained < 2 {
                assert!(apart(boundary(trained, &on), boundary(trained, &plain)) > 1e-4);
            }
            // The same pass again leaves the same out.
            let again = hybrid.forward_hybrid(images(8), trained, &noise);
            assert_eq!(values(on.logits), values(again.logits));
        }
        // The reference implementation leaves things out in frozen stages, too.
        let hybrid = network.clone().freeze_all_but(2);
        let everywhere = hybrid.forward_hybrid(images(8), 2, &noise.in_frozen_stages());
        assert!(apart(boundary(0, &everywhere), boundary(0, &plain)) > 1e-4);
    }
}

#[test]
fn every_rate_of_noise_is_on_its_own() {
    let network = network(&[3]);
    let logits = |rates: [f64; 3]| values(network.forward(images(4), &noise(rates, 4)).logits);
    let off = logits([0.0; 3]);
    assert_eq!(
        off,
        values(network.forward(images(4), &Noise::off()).logits)
    );
    let each = [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]].map(logits);
    for (index, one) in each.iter().enumerate() {
        assert_ne!(*one, off);
        assert!(each[..index].iter().all(|other| other != one));
    }
}
