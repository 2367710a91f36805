//! Initial weights follow the distributions that PyTorch and timm draw them from.

use std::collections::BTreeMap;

use burn::tensor::Device;
use incubate::model::{Architecture, VitConfig, network_to_safetensors};
use incubate::phase::Phase;
use incubate::random::Seed;
use serde_json::json;
use tempfile::tempdir;

use super::job::floats;
use super::{answer, python, script};

/// The largest distance between the two empirical distribution functions (Kolmogorov and Smirnov).
fn distance(mut one: Vec<f32>, mut other: Vec<f32>) -> f64 {
    one.sort_by(f32::total_cmp);
    other.sort_by(f32::total_cmp);
    let below = |sorted: &[f32], value: f32| {
        sorted.partition_point(|other| *other <= value) as f64 / sorted.len() as f64
    };
    one.iter()
        .chain(&other)
        .map(|value| (below(&one, *value) - below(&other, *value)).abs())
        .fold(0.0, f64::max)
}

#[test]
fn weights_are_drawn_from_the_same_distributions() {
    let config = VitConfig {
        image_size: 16,
        patch_size: 4,
        channels: 3,
        classes: 100,
        width: 64,
        depth: 2,
        heads: 4,
        mlp_ratio: 4,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    };
    let folder = tempdir().unwrap();
    let (file, weights) = (
        folder.path().join("job.json"),
        folder.path().join("weights"),
    );
    let job = json!({ "model": config, "depths": [1, 1] });
    std::fs::write(&file, job.to_string()).unwrap();
    answer(python().arg(script("initial.py")).arg(&file).arg(&weights));
    let expected = floats(&std::fs::read(&weights).unwrap(), "");
    let network = Architecture::Vit(config)
        .network(&[1, 1], Seed(4), Phase::Meta, &Device::flex())
        .unwrap();
    let found = floats(&network_to_safetensors(&network, &BTreeMap::new()), "");
    assert!(found.keys().eq(expected.keys()));
    let mut drawn = 0;
    for (name, (shape, found)) in found {
        let (expected_shape, expected) = expected[&name].clone();
        assert_eq!(shape, expected_shape, "{name}");
        if expected.iter().all(|value| *value == expected[0]) {
            assert_eq!(found, expected, "{name}");
            continue;
        }
        drawn += 1;
        // Equal distributions are further apart in one of 10,000 cases.
        let most = 2.2 * (2.0 / found.len() as f64).sqrt();
        let apart = distance(found, expected);
        assert!(apart < most, "{name}: {apart} of at most {most}");
    }
    // Both embeddings, weight and bias of the convolution, four matrices in each block, the head.
    assert_eq!(drawn, 13);
}
