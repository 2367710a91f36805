//! What the method saves is not computed: the multiplications that a step really does are those of the model
//! of costs, module by module, and nothing is remembered of what is frozen.
//!
//! The count is of a whole process, so it is taken in a child, in which nothing else goes on.

use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use incubate::device::{self, DeviceChoice};
use incubate::event::{Event, Observer};
use incubate::experiment;
use incubate::kernels::count::multiplications;
use incubate::model::{Architecture, Network, Noise, Trained, VitConfig, trained_tensors};
use incubate::optimizer::{AdamWConfig, Group, Optimizer};
use incubate::phase::Phase;
use incubate::plugin::PluginHost;
use incubate::random::Seed;
use incubate::training::{Changed, Runner, prepare};
use tempfile::tempdir;

use crate::resume::json;

/// Set in the child.
const CHILD: &str = "INCUBATE_COUNTS";

/// Runs the test `name` in a process of its own; whether this is that process.
fn alone(name: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("savings::{name}"), "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    false
}

/// What the model of costs does not count, of a picture: attention keeps no shares for its backward pass and
/// computes them again, one product in each of `blocks` blocks.
fn shares_again(architecture: &Architecture, blocks: usize) -> u64 {
    let [tokens, width] = architecture.tokens();
    (tokens * tokens * width * blocks) as u64
}

const BATCH: usize = 6;

fn architecture() -> Architecture {
    Architecture::Vit(VitConfig {
        image_size: 12,
        patch_size: 4,
        channels: 2,
        classes: 5,
        width: 24,
        depth: 9,
        heads: 3,
        mlp_ratio: 4,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    })
}

fn images() -> Tensor<4> {
    let values: Vec<f32> = (0..BATCH * 2 * 144)
        .map(|index| (index as f32 * 0.37).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, [BATCH, 2, 12, 12]), &Device::flex())
}

/// What `work` gives, and the multiplications that it did.
fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = multiplications();
    let value = work();
    (value, multiplications() - before)
}

/// Forward, backward, and one step of the optimizer: the multiplications of each.
fn step(
    network: Network,
    phase: Phase,
    forward: impl FnOnce(&Network) -> Tensor<2>,
) -> ([u64; 3], Network) {
    let mut optimizer = Optimizer::new(AdamWConfig::default(), &network, phase);
    let (logits, forward) = counted(|| forward(&network));
    let loss = (logits.clone() * logits).mean();
    let (result, backward) = counted(|| optimizer.accumulate(&network, loss));
    result.unwrap();
    let rates = [1e-3; Group::ALL.len()];
    let (stepped, update) = counted(|| optimizer.step(network, &rates).unwrap());
    let trained = trained_tensors(&stepped.network).to_safetensors().unwrap();
    let trained = safetensors::SafeTensors::deserialize(&trained).unwrap();
    // A state for each trained parameter, and for no other.
    assert_eq!(optimizer.state_len(), trained.len());
    ([forward, backward, update], stepped.network)
}

#[test]
fn a_step_computes_what_the_model_of_costs_says() {
    if !alone("a_step_computes_what_the_model_of_costs_says") {
        return;
    }
    let architecture = architecture();
    let network = |depths: &[usize]| {
        architecture
            .network(depths, Seed(1), Phase::Meta, &Device::flex())
            .unwrap()
    };
    let batch = BATCH as u64;
    let depths = [3, 3, 3];
    let cost = architecture.training_macs(&depths, Trained::All);
    let (found, _) = step(network(&depths), Phase::Baseline, |network| {
        network.forward(images().autodiff(), &Noise::off()).logits
    });
    let backward = cost.backward + shares_again(&architecture, 9);
    assert_eq!(found, [cost.forward * batch, backward * batch, 0]);
    let end_to_end = found;
    for module in 0..3 {
        let mut depths = [1; 3];
        depths[module] = 3;
        let hybrid = || network(&depths).freeze_all_but(module);
        let phase = Phase::Module(module);
        let cost = architecture.training_macs(&depths, Trained::Module(module));
        let prefix = architecture.prefix_macs(&depths, module) * batch;
        let backward = cost.backward + shares_again(&architecture, 5 - module);
        let (found, trained) = step(hybrid(), phase, |network| {
            network
                .forward_hybrid(images(), module, &Noise::off())
                .logits
        });
        assert_eq!(
            found,
            [cost.forward * batch, backward * batch, 0],
            "module {module}"
        );
        assert!(found[1] < end_to_end[1]);
        let all: usize = network(&depths).depths().iter().sum();
        let states = trained_tensors(&trained).to_safetensors().unwrap();
        let states = safetensors::SafeTensors::deserialize(&states)
            .unwrap()
            .len();
        // Twelve parameters in each of the three blocks, and what stands at the end of the module.
        let ends = [4, 0, 4][module];
        assert_eq!((all, states), (5, 3 * 12 + ends), "module {module}");
        if module == 0 {
            continue;
        }
        let (features, once) = counted(|| hybrid().frozen_features(images(), module));
        assert_eq!(once, prefix);
        let (found, _) = step(hybrid(), phase, |network| {
            network
                .forward_hybrid_from(features, module, &Noise::off())
                .logits
        });
        let forward = cost.forward * batch - prefix;
        assert_eq!(found, [forward, backward * batch, 0], "module {module}");
    }
}

/// An observer that remembers nothing.
struct Nobody;

impl Observer for Nobody {
    fn observe(&mut self, _: &Event) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_unit_computes_what_its_result_says() {
    if !alone("a_unit_computes_what_its_result_says") {
        return;
    }
    const PICTURES: u64 = 40;
    const EPOCHS: u64 = 3;
    let folder = tempdir().unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    for cache_setting in ["features.cache=auto", "features.cache=off"] {
        let run = folder.path().join(cache_setting);
        let assignments: Vec<String> = [
            "data.train_limit=100",
            "data.validation_limit=40",
            "model.width=16",
            "model.heads=2",
            "model.depth=6",
            "partition.modules=3",
            "training.batch=20",
            "meta.epochs=1",
            "module.epochs=3",
            cache_setting,
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        let resolved = experiment::load(Some("digits"), &assignments).unwrap();
        let architecture = resolved.experiment.model.clone();
        let host = PluginHost::new(Some(&cache)).unwrap();
        let prepared = prepare(resolved, &host).unwrap();
        let device = device::choose(DeviceChoice::Cpu, false).unwrap();
        let runner = Runner::open(prepared, &run, device, Changed::Refused).unwrap();
        for (unit, depths, epochs) in [
            ("meta", [1, 1, 1], 1),
            ("module.0", [2, 1, 1], EPOCHS),
            ("module.2", [1, 1, 2], EPOCHS),
        ] {
            let units = [runner.unit(unit).unwrap()];
            let (result, found) = counted(|| runner.run(&units, &mut Nobody));
            result.unwrap();
            let result = json(&run.join("units").join(unit).join("result.json"));
            let [forward, backward] =
                ["forward_macs", "backward_macs"].map(|key| result[key].as_u64().unwrap());
            let evaluation = architecture.training_macs(&depths, Trained::All).forward;
            let evaluations = epochs * PICTURES * evaluation;
            let first = depths.iter().position(|depth| *depth > 1).unwrap_or(0);
            let blocks = depths[first..].iter().sum();
            let trained = result["pictures"].as_u64().unwrap();
            let again = trained * shares_again(&architecture, blocks);
            assert_eq!(
                found,
                forward + backward + again + evaluations,
                "{unit}, {cache_setting}"
            );
        }
    }
}
