//! Training on a GPU adapter gives the losses of the CPU, waits for the device once in twenty updates,
//! and asks the same of it every time. Each side is a process of its own, since a driver can crash or
//! hang; a software adapter will do.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// 320 pictures in batches of 32, twice: 20 updates of the meta model and 20 of a hybrid, whose
/// suffix is frozen.
const EXPERIMENT: &str = r#"
name = "gpu"
seed = 5

[data]
set = "digits"
train_limit = 320
validation_limit = 32

[model]
family = "vit"
patch_size = 4
width = 32
depth = 4
heads = 2
mlp_ratio = 2
qkv_bias = true
layer_norm_eps = 1e-6

[partition]
plugin = "uniform"
modules = 2

[training]
batch = 32
rate = 1e-3
clip = 1.0
evaluate_every = 2

[meta]
epochs = 2

[module]
epochs = 2

[fine-tune]
epochs = 1

[baseline]
epochs = 1
"#;

/// 160 updates of a small meta model: eight times as many as there are between two reads.
const COUNTED: &str = r#"
name = "counted"
seed = 5

[data]
set = "digits"
train_limit = 640
validation_limit = 16

[model]
family = "vit"
patch_size = 4
width = 16
depth = 2
heads = 1
mlp_ratio = 2
qkv_bias = true
layer_norm_eps = 1e-6

[partition]
plugin = "uniform"
modules = 2

[training]
batch = 16
rate = 1e-3
clip = 1.0
evaluate_every = 4

[meta]
epochs = 4

[module]
epochs = 1

[fine-tune]
epochs = 1

[baseline]
epochs = 1
"#;

/// The adapter measures its kernels before it chooses among them; on a software adapter that is
/// most of the time, and the choice does not matter here. What it chose is kept beside the test.
const AUTOTUNE: &str = "
[environment]
path = \"local\"

[autotune]
level = \"minimal\"

[autotune.bench]
min_samples = 1
max_samples = 1
short_circuit_samples = 1
";

const UNITS: [&str; 2] = ["meta", "module.0"];

/// Losses of 20 updates in single precision, by kernels that add in another order.
const TOLERANCE: f64 = 1e-3;

/// A software adapter compiles every kernel by itself: minutes, but not this many.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// The exit status of a device that cannot be used.
const DEVICE_STATUS: i32 = 30;

/// What a process left behind.
struct Trained {
    /// The events of every unit, in the order of the units.
    events: Vec<Vec<Value>>,
    /// What it said on standard error.
    said: String,
}

/// A folder with an experiment and the backend's settings.
fn workplace(experiment: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("experiment.toml"), experiment).expect("the experiment");
    fs::write(folder.path().join("cubecl.toml"), AUTOTUNE).expect("the backend's settings");
    folder
}

/// Trains units on `device` in a process of its own, into the run folder `out`.
fn train(folder: &Path, out: &str, device: &str, units: &[&str]) -> Trained {
    let out = folder.join(out);
    let log = out.with_extension("stderr");
    let errors = File::create(&log).expect("the log of the process");
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args([
        "run",
        "experiment.toml",
        "--device",
        device,
        "--allow-software-gpu",
    ]);
    for unit in units {
        command.args(["--unit", unit]);
    }
    command.arg("--out").arg(&out).current_dir(folder);
    // Drivers complain without it.
    command.env("XDG_RUNTIME_DIR", folder);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    let start = Instant::now();
    let mut process = command.spawn().expect("the binary starts");
    let status = loop {
        if let Some(status) = process.try_wait().expect("the state of the process") {
            break status;
        }
        if start.elapsed() > PATIENCE {
            process.kill().expect("the process ends");
            panic!("--device {device}: no result within {PATIENCE:?}: the driver hangs");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(
        status.code() != Some(DEVICE_STATUS),
        "--device {device} cannot be used; this test needs a Vulkan driver, for instance \
         Debian's package mesa-vulkan-drivers. The program said: {said}"
    );
    assert!(
        status.success(),
        "--device {device} ended with {status} and said: {said}"
    );
    let events = |unit: &&str| {
        let path = out.join("units").join(unit).join("events.jsonl");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    };
    Trained {
        events: units.iter().map(events).collect(),
        said,
    }
}

/// The events of this kind.
fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    let found = events.iter().filter(|event| event["event"] == kind);
    found.collect()
}

/// The losses of the updates that each unit recorded.
fn losses(folder: &Path, device: &str) -> Vec<Vec<f64>> {
    let trained = train(folder, &device.replace(':', "-"), device, &UNITS);
    let losses = |events: &Vec<Value>| {
        let updates = of_kind(events, "update").into_iter();
        updates
            .map(|event| event["loss"].as_f64().expect("a loss"))
            .collect()
    };
    trained.events.iter().map(losses).collect()
}

#[test]
fn a_gpu_adapter_gives_the_losses_of_the_cpu() {
    let folder = workplace(EXPERIMENT);
    let cpu = losses(folder.path(), "cpu");
    let gpu = losses(folder.path(), "wgpu:0");
    for (unit, (cpu, gpu)) in UNITS.iter().zip(cpu.iter().zip(&gpu)) {
        assert_eq!((cpu.len(), gpu.len()), (20, 20), "updates of {unit}");
        assert!(cpu[19] < cpu[0], "{unit} learns: {cpu:?}");
        let difference = cpu
            .iter()
            .zip(gpu)
            .map(|(cpu, gpu)| (cpu - gpu).abs())
            .fold(0.0, f64::max);
        assert!(
            difference < TOLERANCE,
            "{unit}: {difference:e} between {cpu:?} and {gpu:?}"
        );
    }
}

/// Updates between two reads, as `host/src/training/runner.rs` has it for a GPU.
const BETWEEN_READS: u64 = 20;

/// More kernels than an update of the small meta model can need, by counting its operations one by one:
/// some twelve of the optimizer for each of its trained tensors, which are about thirty, and two
/// hundred of the two blocks forward and backward. Fusion makes far fewer of them.
const MOST_LAUNCHES: u64 = 600;

/// Bytes of an update: 16 pictures of 8 × 8 numbers, and their labels of 32 bits.
const BYTES: u64 = 16 * 8 * 8 * 4 + 16 * 4;

#[test]
fn an_update_waits_for_nothing_and_asks_the_same_of_the_device_every_time() {
    let folder = workplace(COUNTED);
    let first = train(folder.path(), "first", "wgpu:0", &["meta"]);
    let second = train(folder.path(), "second", "wgpu:0", &["meta"]);
    let mut launches = Vec::new();
    for trained in [&first, &second] {
        let events = &trained.events[0];
        let updates: Vec<u64> = of_kind(events, "update")
            .into_iter()
            .map(|event| event["update"].as_u64().expect("a number"))
            .collect();
        assert!(updates.iter().copied().eq(0..160), "{updates:?}");
        let work = of_kind(events, "device-work");
        assert_eq!(work.len(), 8, "{work:?}");
        for (place, work) in work.into_iter().enumerate() {
            let number = |key: &str| work[key].as_u64().expect("a count");
            assert_eq!(number("update"), place as u64 * BETWEEN_READS, "{work}");
            assert_eq!(number("updates"), BETWEEN_READS, "{work}");
            assert_eq!(number("reads"), 1, "{work}");
            assert_eq!(number("uploads"), 2 * BETWEEN_READS, "{work}");
            assert_eq!(number("uploaded_bytes"), BYTES * BETWEEN_READS, "{work}");
            launches.push(number("launches"));
        }
    }
    // The first updates of a process measure kernels, unless an earlier process kept that, and choose among
    // them, which the next ones may do for the last time; after them an update is an update. Two
    // processes may choose differently.
    let kept = cfg!(feature = "tuning-cache");
    for (process, counts) in launches.chunks(8).enumerate() {
        let usual = counts[2];
        assert!(
            counts[2..].iter().all(|count| *count == usual),
            "{launches:?}"
        );
        assert!(counts[1].abs_diff(usual) <= BETWEEN_READS, "{launches:?}");
        let measured = counts[0] > counts[1];
        assert_eq!(measured, process == 0 || !kept, "{launches:?}");
        assert!(usual <= MOST_LAUNCHES * BETWEEN_READS, "{launches:?}");
    }
    for said in [&first.said, &second.said] {
        let told = said.contains("the first updates measure");
        assert_eq!(told, !kept || said == &first.said, "{said}");
    }
}
