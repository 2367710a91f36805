//! The method against numbers of the reference implementation (PyTorch, float32, no drop path).
//!
//! The files say their own dimensions, so that another folder of the same kind can be checked by
//! setting `INCUBATE_PARITY_DIR`. A tensor agrees when no value is off by more than a share of the
//! tensor's largest value: [`TOLERANCE`], and for weights after steps [`WEIGHT_TOLERANCE`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use incubate::model::parameters::parameters;
use incubate::model::{
    Architecture, Forward, Network, Noise, Stage, VitConfig, load_network, load_stage,
};
use incubate::optimizer::{AdamWConfig, Decay, Optimizer};
use incubate::phase::Phase;
use incubate::random::Seed;
use safetensors::SafeTensors;
use serde_json::Value;

/// Share of the largest value that float32 in another order of operations may be off.
const TOLERANCE: f64 = 2e-5;

/// The same for weights after steps: AdamW divides gradients by their size, and so enlarges the
/// rounding of small ones.
const WEIGHT_TOLERANCE: f64 = 1e-4;

/// The learning rate of every recorded step.
const RATE: f64 = 1e-3;

/// The recorded numbers and the device to reproduce them on.
struct Parity {
    folder: PathBuf,
    expected: Value,
    device: Device,
}

/// The losses of the reference, composed from plain operations.
#[derive(Clone, Copy, Debug)]
enum Loss {
    CrossEntropy,
    Smoothed,
    SoftTarget,
}

impl Loss {
    const ALL: [(Self, &'static str); 3] = [
        (Self::CrossEntropy, "cross_entropy"),
        (Self::Smoothed, "label_smoothing_0.1"),
        (Self::SoftTarget, "soft_target"),
    ];
}

impl Parity {
    fn on(device: Device) -> Self {
        let folder = match std::env::var_os("INCUBATE_PARITY_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity"),
        };
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        Self {
            expected: serde_json::from_str(&text).unwrap(),
            folder,
            device,
        }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(format!("{name}.safetensors"))).unwrap()
    }

    fn number(&self, pointer: &str) -> f64 {
        self.expected.pointer(pointer).unwrap().as_f64().unwrap()
    }

    fn numbers(&self, pointer: &str) -> Vec<f64> {
        let list = self.expected.pointer(pointer).unwrap().as_array().unwrap();
        list.iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn count(&self, key: &str) -> usize {
        self.number(&format!("/config/{key}")) as usize
    }

    fn depths(&self, key: &str) -> Vec<usize> {
        self.numbers(&format!("/config/{key}"))
            .into_iter()
            .map(|depth| depth as usize)
            .collect()
    }

    fn architecture(&self) -> Architecture {
        Architecture::Vit(VitConfig {
            image_size: self.count("image_size"),
            patch_size: self.count("patch_size"),
            channels: self.count("channels"),
            classes: self.count("classes"),
            width: self.count("embed_dim"),
            depth: self.depths("target_depths").iter().sum(),
            heads: self.count("heads"),
            mlp_ratio: self.count("mlp_ratio"),
            qkv_bias: self.expected["config"]["qkv_bias"].as_bool().unwrap(),
            layer_norm_eps: self.number("/config/layer_norm_eps"),
        })
    }

    /// A network of random weights, to be overwritten.
    fn blank(&self, depths: &[usize]) -> Network {
        self.architecture()
            .network(depths, Seed(1), Phase::Meta, &self.device)
            .unwrap()
    }

    fn meta(&self) -> Network {
        let network = self.blank(&self.depths("meta_depths"));
        load_network(network, &self.bytes("meta")).unwrap()
    }

    fn target_stage(&self, index: usize, file: &str) -> Stage {
        let stage = self
            .blank(&self.depths("target_depths"))
            .into_stages()
            .swap_remove(index);
        load_stage(stage, &self.bytes(file), &format!("stages.{index}.")).unwrap()
    }

    fn hybrid(&self, index: usize) -> Network {
        let target = self.target_stage(index, &format!("module_{index}_initial"));
        self.meta()
            .replace_stage(index, target)
            .freeze_all_but(index)
    }

    fn assembled(&self) -> Network {
        Network::from_stages(
            (0..self.count("modules"))
                .map(|index| self.target_stage(index, &format!("module_{index}_after_5")))
                .collect(),
        )
    }

    fn images(&self) -> Tensor<4> {
        let (values, shape) = floats(&self.bytes("batch"), "images");
        let shape: [usize; 4] = shape.try_into().unwrap();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn targets(&self, loss: Loss) -> Tensor<2> {
        let bytes = self.bytes("batch");
        let classes = self.count("classes");
        let smoothing = match loss {
            Loss::CrossEntropy => 0.0,
            Loss::Smoothed => 0.1,
            Loss::SoftTarget => {
                let (values, shape) = floats(&bytes, "soft_targets");
                let shape: [usize; 2] = shape.try_into().unwrap();
                return Tensor::from_data(TensorData::new(values, shape), &self.device);
            }
        };
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let labels: Vec<i64> = file
            .tensor("labels")
            .unwrap()
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .copied()
            .map(i64::from_le_bytes)
            .collect();
        let mut values = vec![(smoothing / classes as f64) as f32; labels.len() * classes];
        for (row, label) in labels.iter().enumerate() {
            values[row * classes + *label as usize] += (1.0 - smoothing) as f32;
        }
        Tensor::from_data(
            TensorData::new(values, [labels.len(), classes]),
            &self.device,
        )
    }

    /// Mean over the batch of -Σ target · log softmax(logits).
    fn loss(&self, logits: Tensor<2>, loss: Loss) -> Tensor<1> {
        let mut targets = self.targets(loss);
        if logits.is_autodiff() {
            targets = targets.autodiff();
        }
        -(log_softmax(logits, 1) * targets).sum_dim(1).mean()
    }

    fn hybrid_pass(&self, network: &Network, index: usize) -> Forward {
        network.forward_hybrid(self.images(), index, &Noise::off())
    }

    fn assert_losses(&self, logits: &Tensor<2>, pointer: &str) {
        for (loss, name) in Loss::ALL {
            let found = scalar(self.loss(logits.clone(), loss));
            let expected = self.number(&format!("{pointer}/{name}"));
            assert_number(found, expected, &format!("{pointer}/{name}"));
        }
    }

    fn assert_logits(&self, logits: &Tensor<2>, name: &str) {
        let (expected, shape) = floats(&self.bytes("logits"), &format!("{name}.logits"));
        assert_eq!(logits.dims().to_vec(), shape);
        assert_values(&values(logits.clone()), &expected, TOLERANCE, name);
    }

    fn check_meta(&self) {
        let logits = self.meta().forward(self.images(), &Noise::off()).logits;
        self.assert_logits(&logits, "meta");
        self.assert_losses(&logits, "/meta");
        // Evaluation takes the kernels without gradients.
        let valid = self.meta().valid();
        let logits = valid.forward(self.images(), &Noise::off()).logits;
        self.assert_logits(&logits, "meta");
    }

    fn check_hybrids(&self) {
        for index in 0..self.count("modules") {
            let hybrid = self.hybrid(index);
            let forward = self.hybrid_pass(&hybrid, index);
            self.assert_logits(&forward.logits, &format!("hybrid_{index}"));
            self.assert_losses(&forward.logits, &format!("/hybrids/{index}/losses"));
            let plain = hybrid.valid().forward(self.images(), &Noise::off());
            self.assert_logits(&plain.logits, &format!("hybrid_{index}"));
        }
    }

    fn check_gradients(&self) {
        for index in 0..self.count("modules") {
            let hybrid = self.hybrid(index);
            let logits = self.hybrid_pass(&hybrid, index).logits;
            let found = gradients(&hybrid, self.loss(logits, Loss::SoftTarget));
            let expected = self.target_stage(index, &format!("module_{index}_gradients"));
            let expected = parameter_values(&expected);
            let names = parameters(&hybrid.stages()[index]);
            assert_eq!(
                found.len(),
                names.len(),
                "only module {index} has gradients"
            );
            for parameter in names {
                let found = &found[&parameter.id];
                let expected = &expected[&parameter.name];
                let what = format!("gradient of {index}.{}", parameter.name);
                assert_values(found, expected, TOLERANCE, &what);
            }
        }
    }

    fn check_module_steps(&self) {
        for index in 0..self.count("modules") {
            let pointer =
                format!("/hybrids/{index}/loss_trace_5_adamw_steps_lr_1e-3_wd_0.05_soft_target");
            let trace = self.numbers(&pointer);
            let mut network = self.hybrid(index);
            let before = network.clone();
            let config = AdamWConfig {
                decay: Decay::Reference,
                ..AdamWConfig::default()
            };
            let mut optimizer = Optimizer::new(config, &network, Phase::Module(index));
            for (step, expected) in trace.iter().enumerate() {
                let logits = self.hybrid_pass(&network, index).logits;
                let loss = self.loss(logits, Loss::SoftTarget);
                assert_number(scalar(loss.clone()), *expected, &pointer);
                optimizer.accumulate(&network, loss).unwrap();
                network = optimizer.step(network, &[RATE; 2]).unwrap().network;
                if step == 0 || step == 4 {
                    let steps = step + 1;
                    let file = format!("module_{index}_after_{steps}");
                    let expected = self.target_stage(index, &file);
                    Self::assert_weights(&network.stages()[index], &expected, steps, &file);
                }
            }
            let trained = parameters(&network.stages()[index]).len();
            assert_eq!(
                optimizer.state_len(),
                trained,
                "only module {index} has state"
            );
            for (other, (now, then)) in network.stages().iter().zip(before.stages()).enumerate() {
                let changed = parameter_values(now) != parameter_values(then);
                assert_eq!(changed, other == index, "stage {other} in hybrid {index}");
            }
        }
    }

    fn check_fine_tuning(&self) {
        let traces = "/finetune/loss_trace_5_adamw_steps_lr_1e-3_wd_0.05_clip_1_soft_target";
        let mut network = self.assembled();
        let logits = network.forward(self.images(), &Noise::off()).logits;
        self.assert_logits(&logits, "assembled");
        self.assert_losses(&logits, "/assembled");
        let config = AdamWConfig {
            clip: Some(1.0),
            ..AdamWConfig::default()
        };
        let mut optimizer = Optimizer::new(config, &network, Phase::FineTune);
        let norms = self.numbers("/finetune/grad_norms_before_clip");
        for (loss, norm) in self.numbers(traces).into_iter().zip(norms) {
            let logits = network.forward(self.images(), &Noise::off()).logits;
            let found = self.loss(logits, Loss::SoftTarget);
            assert_number(scalar(found.clone()), loss, traces);
            optimizer.accumulate(&network, found).unwrap();
            let stepped = optimizer.step(network, &[RATE; 2]).unwrap();
            network = stepped.network;
            assert_number(scalar(stepped.gradient_norm.unwrap()), norm, "norm");
        }
        let blank = self.blank(&self.depths("target_depths"));
        let expected = load_network(blank, &self.bytes("finetuned_after_5")).unwrap();
        Self::assert_weights(&network, &expected, 5, "finetuned_after_5");
    }

    fn check_no_decay(&self) {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let recorded = |key: &str| {
            let list = self.expected["no_weight_decay"][key].as_array().unwrap();
            sorted(
                list.iter()
                    .map(|name| name.as_str().unwrap().to_owned())
                    .collect(),
            )
        };
        let config = AdamWConfig {
            decay: Decay::Reference,
            ..AdamWConfig::default()
        };
        // The reference registers the two embeddings beside the stages.
        let whole = Optimizer::new(config, &self.assembled(), Phase::FineTune);
        let names =
            whole
                .no_decay_names()
                .iter()
                .map(|name| match name.strip_prefix("stages.0.") {
                    Some(local @ ("pos_embed" | "cls_token")) => local.to_owned(),
                    _ => name.clone(),
                });
        assert_eq!(sorted(names.collect()), recorded("whole_model"));
        let module = Optimizer::new(config, &self.hybrid(0), Phase::Module(0));
        let names = module
            .no_decay_names()
            .iter()
            .map(|name| name.strip_prefix("stages.0.").unwrap().to_owned());
        assert_eq!(sorted(names.collect()), recorded("module_0"));
    }

    fn assert_weights<M: Module>(found: &M, expected: &M, steps: usize, what: &str) {
        let (found, expected) = (parameter_values(found), parameter_values(expected));
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        for (name, mut found) in found {
            let mut expected = expected[&name].clone();
            let what = format!("{what} {name}");
            if name.ends_with("attn.qkv.bias") {
                // A bias of all keys changes no softmax: its gradient is rounding noise, and AdamW
                // makes a step of any size up to the rate of it.
                let width = found.len() / 3;
                let keys = found.drain(width..2 * width);
                let expected_keys = expected.drain(width..2 * width);
                for (found, expected) in keys.zip(expected_keys) {
                    let error = f64::from((found - expected).abs());
                    assert!(error <= steps as f64 * RATE, "{what}: {found} {expected}");
                }
            }
            assert_values(&found, &expected, WEIGHT_TOLERANCE, &what);
        }
    }
}

fn floats(bytes: &[u8], name: &str) -> (Vec<f32>, Vec<usize>) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    (
        chunks.iter().copied().map(f32::from_le_bytes).collect(),
        view.shape().to_vec(),
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

fn assert_number(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs();
    assert!(error <= TOLERANCE, "{what}: {found} instead of {expected}");
}

fn assert_values(found: &[f32], expected: &[f32], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, value| {
        largest.max(f64::from(value.abs()))
    });
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = f64::from((found - expected).abs());
        assert!(
            error <= tolerance * largest,
            "{what}, value {index}: {found} instead of {expected}; the largest is {largest}"
        );
    }
}

/// The gradients of a loss by parameter.
fn gradients(network: &Network, loss: Tensor<1>) -> BTreeMap<ParamId, Vec<f32>> {
    struct Collector {
        source: burn::tensor::Gradients,
        found: BTreeMap<ParamId, Vec<f32>>,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(&self.source) {
                self.found.insert(param.id, values(gradient));
            }
        }
    }
    let mut collector = Collector {
        source: loss.backward(),
        found: BTreeMap::new(),
    };
    network.visit(&mut collector);
    collector.found
}

/// The values of the parameters by name.
fn parameter_values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    #[derive(Default)]
    struct Collector(Vec<Vec<f32>>);
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(values(param.val().inner()));
        }
    }
    let mut collector = Collector::default();
    module.visit(&mut collector);
    parameters(module)
        .into_iter()
        .map(|parameter| parameter.name)
        .zip(collector.0)
        .collect()
}

#[test]
fn meta_model() {
    Parity::on(Device::flex()).check_meta();
}

#[test]
fn hybrids() {
    Parity::on(Device::flex()).check_hybrids();
}

#[test]
fn gradients_of_hybrids() {
    Parity::on(Device::flex()).check_gradients();
}

#[test]
fn modules_after_steps() {
    Parity::on(Device::flex()).check_module_steps();
}

#[test]
fn fine_tuning() {
    Parity::on(Device::flex()).check_fine_tuning();
}

#[test]
fn parameters_without_decay() {
    Parity::on(Device::flex()).check_no_decay();
}
