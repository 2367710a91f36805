//! The reference's schedules and losses through the sandbox: the plugins that ship reproduce the
//! tables and numbers in `tests/parity` (or in the folder `INCUBATE_PARITY_DIR`). The rates agree to
//! 1e-12, relative; the losses to 1e-5.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Grants, Group, Kind, Limits, LossHook, LossInputs, Moment, PluginHost, Schedule,
    SettingValue, StepInfo, Stepping,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use safetensors::SafeTensors;
use serde_json::Value;

const CONTEXT: Context = Context {
    seed: Seed(0),
    phase: Phase::Meta,
};

fn file(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("INCUBATE_PARITY_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity"),
        PathBuf::from,
    );
    std::fs::read(folder.join(name)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&file("expected.json")).unwrap()
}

/// A built-in schedule with these parameters.
fn schedule(name: &str, parameters: &str) -> Schedule {
    let host = PluginHost::new(None).unwrap();
    let plugin = host
        .load(name, Kind::LrSchedule, &Grants::none(), &Limits::default())
        .unwrap();
    let parameters: BTreeMap<String, SettingValue> = toml::from_str(parameters).unwrap();
    let settings = plugin.settings(&parameters).unwrap();
    Schedule::new(&plugin, &settings, CONTEXT).unwrap()
}

/// Compares a schedule with a table of the reference. Row e + 1 holds f(e): the reference trains
/// epoch e + 1 at that rate, one epoch late, and this host trains epoch e at it.
fn follows(table: &str, name: &str, base_rate: f64, epochs: u32, parameters: &str) {
    let expected = expected();
    let rows = expected["schedules"][table].as_array().unwrap();
    let mut schedule = schedule(name, parameters);
    assert_eq!(schedule.stepping(), Stepping::PerEpoch);
    for (epoch, row) in rows[1..].iter().enumerate() {
        let moment = Moment {
            update: 10 * epoch as u64,
            updates: 10 * u64::from(epochs),
            epoch: epoch as f64,
            epochs,
            base_rate,
            group: Group {
                name: "decay",
                index: 0,
            },
        };
        let (rate, row) = (schedule.rate(&moment).unwrap(), row.as_f64().unwrap());
        assert!(
            (rate - row).abs() <= 1e-12 * row,
            "{table}, epoch {epoch}: {rate:e} instead of {row:e}"
        );
    }
}

#[test]
fn cosine_with_warm_up() {
    follows(
        "cosine_lr2e-3_epochs100_warmup20_from1e-6_min1e-5",
        "cosine",
        2e-3,
        100,
        "per = \"epoch\"\nwarmup = 20\nwarmup_rate = 1e-6\nmin_rate = 1e-5",
    );
}

#[test]
fn cosine_without_warm_up() {
    follows(
        "cosine_lr5e-4_epochs30_nowarmup_min1e-5",
        "cosine",
        5e-4,
        30,
        "per = \"epoch\"\nmin_rate = 1e-5",
    );
}

#[test]
fn cosine_with_restarts() {
    follows(
        "cosine_restarts_lr1e-3_t10_mul2_decay0.5_min1e-6_limit3",
        "cosine",
        1e-3,
        70,
        "per = \"epoch\"\ncycle_epochs = 10\ncycle_mul = 2\ncycle_decay = 0.5\nmin_rate = 1e-6\ncycles = 3",
    );
}

#[test]
fn step_with_warm_up() {
    follows(
        "step_lr1e-3_every30_rate0.1_warmup5_from1e-6",
        "step",
        1e-3,
        100,
        "per = \"epoch\"\nevery = 30\nfactor = 0.1\nwarmup = 5\nwarmup_rate = 1e-6",
    );
}

#[test]
fn tanh_with_warm_up() {
    follows(
        "tanh_lr1e-3_epochs50_min1e-5_warmup5_from1e-6",
        "tanh",
        1e-3,
        50,
        "per = \"epoch\"\nwarmup = 5\nwarmup_rate = 1e-6\nmin_rate = 1e-5",
    );
}

/// A tensor of a file with its shape.
fn floats(bytes: &[u8], name: &str) -> (Vec<f32>, Vec<usize>) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    let values = chunks.iter().copied().map(f32::from_le_bytes).collect();
    (values, view.shape().to_vec())
}

/// The classes of the recorded batch.
fn labels() -> Vec<i64> {
    let batch = file("batch.safetensors");
    let batch = SafeTensors::deserialize(&batch).unwrap();
    let (chunks, _) = batch.tensor("labels").unwrap().data().as_chunks::<8>();
    chunks.iter().copied().map(i64::from_le_bytes).collect()
}

/// The loss of the plugin `cross-entropy` on recorded logits, with the share of each class in each
/// picture, or with class ids.
fn loss(logits: &str, smoothing: f64, shares: Option<&[f32]>) -> f64 {
    let device = Device::flex().autodiff();
    let (values, shape) = floats(&file("logits.safetensors"), logits);
    let logits = Tensor::<2>::from_data(TensorData::new(values, shape.clone()), &device);
    let labels = labels();
    let pictures = labels.len();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [pictures]), &device);
    let soft_targets = shares.map(|shares| {
        let data = TensorData::new(shares.to_vec(), shape.clone());
        AnyTensor::from_tensor(Tensor::<2>::from_data(data, &device)).unwrap()
    });
    let host = PluginHost::new(None).unwrap();
    let plugin = host
        .load(
            "cross-entropy",
            Kind::LossHook,
            &Grants::none(),
            &Limits::default(),
        )
        .unwrap();
    let given = BTreeMap::from([("smoothing".to_owned(), SettingValue::Number(smoothing))]);
    let settings = plugin.settings(&given).unwrap();
    let mut hook = LossHook::new(&plugin, &settings, CONTEXT).unwrap();
    let step = StepInfo {
        update: 0,
        updates: 1,
        epoch: 0.0,
        classes: shape[1] as u32,
        pictures: pictures as u32,
    };
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(logits).unwrap(),
        class_ids: AnyTensor::from_ids(labels).unwrap(),
        soft_targets,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    };
    let loss = hook.compute(&step, inputs).unwrap();
    f64::from(loss.read().unwrap()[0])
}

/// The labels, mixed with their reverse as they were for the record, without smoothing.
fn mixed(expected: &Value) -> Vec<f32> {
    let of = |pointer: &str| expected.pointer(pointer).unwrap().as_f64().unwrap();
    let (share, classes) = (of("/mixup/lam"), of("/config/classes") as usize);
    assert_eq!(of("/mixup/smoothing"), 0.1);
    let labels = labels();
    let mut rows = vec![0.0_f32; labels.len() * classes];
    let pairs = labels.iter().zip(labels.iter().rev());
    for (row, (label, partner)) in rows.chunks_exact_mut(classes).zip(pairs) {
        row[*label as usize] += share as f32;
        row[*partner as usize] += (1.0 - share) as f32;
    }
    rows
}

#[test]
fn losses_of_every_network() {
    let expected = expected();
    let mut networks = vec![
        ("meta.logits".to_owned(), &expected["meta"]),
        ("assembled.logits".to_owned(), &expected["assembled"]),
    ];
    for hybrid in expected["hybrids"].as_array().unwrap() {
        networks.push((
            format!("hybrid_{}.logits", hybrid["index"]),
            &hybrid["losses"],
        ));
    }
    assert!(networks.len() > 2);
    let (soft, _) = floats(&file("batch.safetensors"), "soft_targets");
    let mixed = mixed(&expected);
    for (logits, losses) in networks {
        for (name, smoothing, shares) in [
            ("cross_entropy", 0.0, None),
            ("label_smoothing_0.1", 0.1, None),
            // The recorded targets are smoothed already.
            ("soft_target", 0.0, Some(&soft)),
            // What this host's batches have: the hook smooths them.
            ("soft_target", 0.1, Some(&mixed)),
        ] {
            let (found, wanted) = (
                loss(&logits, smoothing, shares.map(Vec::as_slice)),
                losses[name].as_f64().unwrap(),
            );
            assert!(
                (found - wanted).abs() <= 1e-5 * wanted,
                "{logits}, {name}: {found} instead of {wanted}"
            );
        }
    }
}
