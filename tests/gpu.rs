//! Training on a GPU adapter gives the losses of the CPU. Each side is a process of its own,
//! since a driver can crash or hang; a software adapter will do.

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

/// The adapter measures its kernels before it chooses among them; on a software adapter that is
/// most of the time, and the choice does not matter here.
const AUTOTUNE: &str = "
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

/// Trains on `device` in a process of its own and reads the losses of each unit's updates.
fn losses(folder: &Path, device: &str) -> Vec<Vec<f64>> {
    let out = folder.join(device.replace(':', "-"));
    let log = folder.join("stderr.txt");
    let errors = File::create(&log).expect("the log of the process");
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args([
        "run",
        "experiment.toml",
        "--device",
        device,
        "--allow-software-gpu",
    ]);
    command.args(UNITS.map(|unit| ["--unit", unit]).concat());
    command.arg("--out").arg(&out).current_dir(folder);
    // Drivers complain without the first. The second keeps the hasty measurements of this test
    // apart from those that serve in earnest.
    command.env("XDG_RUNTIME_DIR", folder);
    command.env("CUBECL_ENVIRONMENT", "incubate-test");
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
    UNITS
        .map(|unit| updates(&out.join("units").join(unit).join("events.jsonl")))
        .into()
}

/// The losses of the updates that a unit recorded.
fn updates(path: &Path) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let events = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"));
    events
        .filter(|event: &Value| event["event"] == "update")
        .map(|event| event["loss"].as_f64().expect("a loss"))
        .collect()
}

#[test]
fn a_gpu_adapter_gives_the_losses_of_the_cpu() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("experiment.toml"), EXPERIMENT).expect("the experiment");
    fs::write(folder.path().join("cubecl.toml"), AUTOTUNE).expect("the backend's settings");
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
