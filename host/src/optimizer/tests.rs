//! The optimizer on small networks; the parity tests compare it with PyTorch.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use proptest::prelude::*;

use super::*;
use crate::model::parameters::parameters;
use crate::model::{
    Architecture, Network, Noise, Tensors, VitConfig, network_to_safetensors, trained_tensors,
    with_trained,
};
use crate::phase::Phase;
use crate::random::Seed;

fn network() -> Network {
    let config = VitConfig {
        image_size: 4,
        patch_size: 2,
        channels: 1,
        classes: 3,
        width: 8,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    };
    Architecture::Vit(config)
        .network(&[1, 1], Seed(1), Phase::Meta, &Device::flex())
        .unwrap()
}

fn images(batch: i64) -> Tensor<4> {
    Tensor::<1, Int>::arange(0..batch * 16, &Device::flex())
        .float()
        .mul_scalar(0.37)
        .sin()
        .reshape([batch, 1, 4, 4])
}

/// Any loss that depends on everything.
fn loss(network: &Network, images: Tensor<4>) -> Tensor<1> {
    let logits = network.forward(images, &Noise::off()).logits;
    logits.exp().sum_dim(1).log().mean()
}

fn optimizer(network: &Network, config: AdamWConfig) -> Optimizer {
    Optimizer::new(config, network, Phase::Meta)
}

fn bytes(network: &Network) -> Vec<u8> {
    network_to_safetensors(network, &std::collections::BTreeMap::new())
}

#[test]
fn a_constant_loss_is_an_error() {
    let network = network();
    let mut optimizer = optimizer(&network, AdamWConfig::default());
    let constant = Tensor::<1>::ones([1], &Device::flex().autodiff());
    assert_eq!(
        optimizer.accumulate(&network, constant),
        Err(OptimizerError::NotConnected)
    );
    let plain = Tensor::<1>::ones([1], &Device::flex());
    assert_eq!(
        optimizer.accumulate(&network, plain),
        Err(OptimizerError::NotConnected)
    );
    assert_eq!(
        optimizer.step(network, &[1e-3; 2]).unwrap_err(),
        OptimizerError::NoGradients
    );
}

#[test]
fn a_loss_beside_the_trained_module_is_an_error() {
    // The output of stage 0 does not depend on stage 1.
    let network = network();
    let features = network
        .forward(images(2), &Noise::off())
        .boundaries
        .remove(0);
    let frozen = network.freeze_all_but(1);
    let mut optimizer = Optimizer::new(AdamWConfig::default(), &frozen, Phase::Module(1));
    assert_eq!(
        optimizer.accumulate(&frozen, features.mean()),
        Err(OptimizerError::NotConnected)
    );
}

#[test]
fn frozen_parameters_have_no_state_and_stay() {
    let network = network().freeze_all_but(0);
    let before = network.clone();
    let mut optimizer = Optimizer::new(AdamWConfig::default(), &network, Phase::Module(0));
    let logits = network.forward_hybrid(images(2), 0, &Noise::off()).logits;
    optimizer.accumulate(&network, logits.exp().mean()).unwrap();
    let network = optimizer.step(network, &[1e-2; 2]).unwrap().network;
    assert_eq!(
        optimizer.state_len(),
        parameters(&network.stages()[0]).len()
    );
    let stage = |network: &Network, index: usize| {
        bytes(&Network::from_stages(vec![network.stages()[index].clone()]))
    };
    assert_ne!(stage(&network, 0), stage(&before, 0));
    assert_eq!(stage(&network, 1), stage(&before, 1));
    // The next graph ends in the same parameters.
    assert_eq!(
        network.trained_parameter_count(),
        before.trained_parameter_count()
    );
}

#[test]
fn accumulated_halves_are_the_whole_batch() {
    let network = network();
    let whole = images(4);
    let mut at_once = optimizer(&network, AdamWConfig::default());
    at_once
        .accumulate(&network, loss(&network, whole.clone()))
        .unwrap();
    let mut in_halves = optimizer(&network, AdamWConfig::default());
    for half in 0..2 {
        let images = whole.clone().narrow(0, 2 * half, 2);
        in_halves
            .accumulate(&network, loss(&network, images) * 0.5)
            .unwrap();
    }
    // One small step from the same place: what remains is the rounding of the sums.
    let [at_once, in_halves] = [at_once, in_halves].map(|mut optimizer| {
        let network = optimizer.step(network.clone(), &[1e-3; 2]).unwrap().network;
        let logits = network.valid().forward(whole.clone(), &Noise::off());
        logits.logits.into_data().try_into_vec::<f32>().unwrap()
    });
    for (one, other) in at_once.iter().zip(in_halves) {
        assert!((one - other).abs() < 1e-4, "{one} {other}");
    }
}

#[test]
fn clipping_bounds_the_global_norm() {
    let network = network();
    let norm = |clip: f64| {
        let config = AdamWConfig {
            clip: Some(clip),
            ..AdamWConfig::default()
        };
        let mut optimizer = optimizer(&network, config);
        optimizer
            .accumulate(&network, loss(&network, images(2)) * 1000.0)
            .unwrap();
        let stepped = optimizer.step(network.clone(), &[1e-3; 2]).unwrap();
        stepped.gradient_norm.unwrap().into_scalar::<f32>()
    };
    // The norm is the one before clipping, whatever the limit.
    assert_eq!(norm(1.0), norm(1e9));
    assert!(norm(1.0) > 1.0);
}

#[test]
fn every_group_has_its_own_rate() {
    let network = network();
    let changed = |rates: [f64; 2]| -> Vec<String> {
        let mut optimizer = optimizer(&network, AdamWConfig::default());
        optimizer
            .accumulate(&network, loss(&network, images(2)))
            .unwrap();
        let after = optimizer.step(network.clone(), &rates).unwrap().network;
        let files = [bytes(&network), bytes(&after)];
        let [before, after] = files
            .each_ref()
            .map(|file| safetensors::SafeTensors::deserialize(file).unwrap());
        let mut names: Vec<String> = before
            .iter()
            .filter(|(name, view)| view.data() != after.tensor(name).unwrap().data())
            .map(|(name, _)| name.to_owned())
            .collect();
        names.sort();
        names
    };
    let mut no_decay = optimizer(&network, AdamWConfig::default())
        .no_decay_names()
        .to_vec();
    no_decay.sort();
    assert_eq!(changed([0.0, 1e-2]), no_decay);
    let decay = changed([1e-2, 0.0]);
    assert!(!decay.is_empty());
    assert!(decay.iter().all(|name| !no_decay.contains(name)));
    assert_eq!(changed([0.0, 0.0]), Vec::<String>::new());
}

/// A network in training: with its optimizer and the average of its weights.
type Training = (Network, Optimizer, Average);

fn begun() -> Training {
    let network = network();
    let optimizer = optimizer(&network, AdamWConfig::default());
    let average = Average::new(&network, 0.9, true);
    (network, optimizer, average)
}

/// One update with each rate.
fn trained((mut network, mut optimizer, mut average): Training, rates: &[f64]) -> Training {
    for &rate in rates {
        let value = loss(&network, images(4));
        optimizer.accumulate(&network, value).unwrap();
        network = optimizer.step(network, &[rate; 2]).unwrap().network;
        average.update(&network);
    }
    (network, optimizer, average)
}

/// What a checkpoint keeps, as bytes.
fn kept((network, optimizer, average): &Training) -> [Vec<u8>; 3] {
    [
        trained_tensors(network),
        optimizer.tensors(network),
        average.tensors(network),
    ]
    .map(|tensors| tensors.to_safetensors().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_restored_has_the_future_of_what_was_saved(
        rates in prop::collection::vec(0.0..0.1_f64, 1..8),
        share in 0.0..=1.0_f64,
    ) {
        let cut = (share * rates.len() as f64) as usize;
        let first = trained(begun(), &rates[..cut]);
        let [network, moments, average] =
            kept(&first).map(|bytes| Tensors::from_safetensors(&bytes).unwrap());
        let device = Device::flex();
        let mut second = begun();
        second.0 = with_trained(second.0, network, &device).unwrap();
        second.1.restore(&second.0, moments, &device).unwrap();
        second.2.restore(&second.0, average, &device).unwrap();
        prop_assert_eq!(
            kept(&trained(second, &rates[cut..])),
            kept(&trained(first, &rates[cut..])),
            "cut at {} of {}", cut, rates.len()
        );
    }
}
