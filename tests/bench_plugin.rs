//! `incubate plugin bench`: that every figure is there and that the figures fit each other.

use serde_json::Value;

use crate::command::incubate;

fn bench(arguments: &[&str]) -> Value {
    let mut all = vec!["plugin", "bench"];
    all.extend(arguments);
    all.push("--json");
    incubate(&all).succeeded().json_lines().remove(0)
}

fn call<'a>(bench: &'a Value, name: &str) -> &'a Value {
    let calls = bench["calls"].as_array().unwrap();
    calls.iter().find(|call| call["call"] == name).unwrap()
}

#[track_caller]
fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_loss_hook_is_measured_against_a_step_and_against_the_native_loss() {
    let plain = bench(&["cross-entropy"]);
    let smooth = bench(&["cross-entropy", "--set", "smoothing=0.1"]);
    let compute = call(&plain, "compute");
    // One operation more where the targets are smoothed; none waits for the device.
    assert_eq!(number(compute, "operations"), 5.0);
    assert_eq!(number(call(&smooth, "compute"), "operations"), 6.0);
    assert_eq!(number(compute, "readbacks"), 0.0);
    assert!(number(call(&smooth, "compute"), "fuel") > number(compute, "fuel"));
    for key in [
        "calls",
        "median_ns",
        "guest_ns",
        "host_ns",
        "fuel",
        "peak_tensors",
    ] {
        assert!(number(compute, key) > 0.0, "{key}");
    }
    // Medians of parts, so their sum need not be less than the median of the whole; it is near it.
    let parts = number(compute, "guest_ns") + number(compute, "host_ns");
    assert!(parts < 1.5 * number(compute, "median_ns"), "{compute}");
    for key in [
        "bytes",
        "load_cold_ms",
        "load_cached_ms",
        "start_us",
        "memory_bytes",
    ] {
        assert!(number(&plain, key) > 0.0, "{key}");
    }
    assert!(number(&plain, "load_cached_ms") < number(&plain, "load_cold_ms"));
    let expected = number(compute, "median_ns") / 1e6 / number(&plain, "step_ms");
    assert!((number(&plain, "share_of_step") / expected - 1.0).abs() < 1e-6);
    // The issue that this figure answers: less than a hundredth of a step.
    assert!(number(&plain, "share_of_step") < 0.01, "{plain}");
    let native = &plain["native"];
    let ratio = number(compute, "median_ns") / number(native, "compose_ns");
    assert!((number(native, "ratio") / ratio - 1.0).abs() < 1e-6);
    assert!(number(native, "backward_ns") > number(native, "compose_ns"));
}

#[test]
fn schedules_and_partition_schemes_are_measured_too() {
    let cosine = bench(&["cosine"]);
    assert!(cosine["native"].is_null());
    assert!(number(call(&cosine, "observe"), "fuel") > 0.0);
    assert_eq!(number(call(&cosine, "rate"), "host_ns"), 0.0);
    assert!(number(&cosine, "share_of_step") < 0.001, "{cosine}");
    let uniform = bench(&["uniform"]);
    assert!(uniform["share_of_step"].is_null());
    assert!(number(call(&uniform, "divide"), "fuel") > 1000.0);
}

#[test]
fn a_plugin_that_reads_back_shows_its_waits_and_text_has_every_line() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/plugins/faulty-read-back.wasm"
    );
    let reading = bench(&[file]);
    assert!(
        number(call(&reading, "compute"), "readbacks") >= 1.0,
        "{reading}"
    );
    assert!(reading["native"].is_null());
    let text = incubate(&["plugin", "bench", "constant"])
        .succeeded()
        .stdout;
    for phrase in [
        "component:",
        "load:",
        "from the cache",
        "start:",
        "memory:",
        "instructions",
        "share of a training step",
    ] {
        assert!(text.contains(phrase), "no `{phrase}` in: {text}");
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    incubate(&["plugin", "bench", "no-such"]).failed(10, &["no-such"]);
    incubate(&["plugin", "bench", "cosine", "--set", "warm=1"]).failed(10, &["warm", "warmup"]);
    incubate(&["plugin", "bench", "cosine", "--set", "warmup"]).failed(2, &["key=value"]);
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/plugins/faulty-loss.wasm"
    );
    incubate(&["plugin", "bench", file, "--set", "fault=trap"]).failed(11, &["trapped on request"]);
}
