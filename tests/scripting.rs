//! scratch
use burn::tensor::{Device, Int, Tensor};
use incubate::phase::Phase;
use incubate::plugin::*;
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use std::collections::BTreeMap;
use std::time::Instant;

const CONTEXT: Context = Context {
    seed: Seed(7),
    phase: Phase::Module(2),
};

fn least(what: &str, low: u64, high: u64, ok: impl Fn(u64) -> bool) {
    let (mut low, mut high) = (low, high);
    if !ok(high) {
        eprintln!("{what}: not with {high}");
        return;
    }
    while high - low > (high / 100).max(1) {
        let middle = (low + high) / 2;
        if ok(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    eprintln!("  {what}: needs about {high}");
}

#[test]
fn measure() {
    let host = PluginHost::new(Some(std::path::Path::new("/tmp/scr/cache"))).unwrap();
    for name in std::env::var("SCR").unwrap().split(',') {
        let path = format!("/tmp/scr/{name}.wasm");
        eprintln!("{name}");
        let kind = if name.contains("loss") {
            Kind::LossHook
        } else if name.contains("lr") {
            Kind::LrSchedule
        } else {
            Kind::PartitionScheme
        };
        let start = Instant::now();
        let plugin = host
            .load(&path, kind, &Grants::none(), &Limits::default())
            .unwrap();
        eprintln!("  load 1: {:?}", start.elapsed());
        let start = Instant::now();
        host.load(&path, kind, &Grants::none(), &Limits::default())
            .unwrap();
        eprintln!("  load 2 (cached): {:?}", start.elapsed());
        let with = |limits: Limits| host.load(&path, kind, &Grants::none(), &limits).is_ok();
        least("fuel of load", 0, 50_000_000, |fuel| {
            with(Limits {
                fuel,
                ..Limits::default()
            })
        });
        least("memory", 0, 64 << 20, |memory_bytes| {
            with(Limits {
                memory_bytes,
                ..Limits::default()
            })
        });
        least("instances", 0, 64, |instances| {
            with(Limits {
                instances,
                ..Limits::default()
            })
        });
        least("table", 0, 100_000, |table_elements| {
            with(Limits {
                table_elements,
                ..Limits::default()
            })
        });
        let settings = plugin.settings(&BTreeMap::new()).unwrap();
        match kind {
            Kind::LossHook => {
                let start = Instant::now();
                let mut hook = LossHook::new(&plugin, &settings, CONTEXT).unwrap();
                eprintln!("  new: {:?}, {:?}", start.elapsed(), hook.statistics());
                let device = Device::flex().autodiff();
                let logits = Tensor::<2>::zeros([8, 5], &device).require_grad();
                let ids = Tensor::<1, Int>::from_ints([1, 2, 3, 4, 0, 1, 2, 3], &device);
                for round in 0..3 {
                    let before = hook.statistics().fuel;
                    let start = Instant::now();
                    for update in 0..2000 {
                        let inputs = LossInputs {
                            logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
                            class_ids: AnyTensor::from_ids(ids.clone()).unwrap(),
                            soft_targets: None,
                            network_features: vec![],
                            meta_features: vec![],
                        };
                        hook.compute(
                            &StepInfo {
                                update,
                                updates: 2000,
                                epoch: 0.0,
                                classes: 5,
                                pictures: 8,
                            },
                            inputs,
                        )
                        .unwrap();
                    }
                    eprintln!(
                        "  round {round}: {:?} per compute, fuel {} {:?}",
                        start.elapsed() / 2000,
                        (hook.statistics().fuel - before) / 2000,
                        hook.statistics()
                    );
                }
                least("fuel of compute", 0, 50_000_000, |fuel| {
                    let Ok(plugin) = host.load(
                        &path,
                        kind,
                        &Grants::none(),
                        &Limits {
                            fuel,
                            ..Limits::default()
                        },
                    ) else {
                        return false;
                    };
                    let Ok(mut hook) = LossHook::new(&plugin, &settings, CONTEXT) else {
                        return false;
                    };
                    let inputs = LossInputs {
                        logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
                        class_ids: AnyTensor::from_ids(ids.clone()).unwrap(),
                        soft_targets: None,
                        network_features: vec![],
                        meta_features: vec![],
                    };
                    hook.compute(
                        &StepInfo {
                            update: 0,
                            updates: 2000,
                            epoch: 0.0,
                            classes: 5,
                            pictures: 8,
                        },
                        inputs,
                    )
                    .is_ok()
                });
                for memory_mib in [12, 14, 16, 20, 32, 64] {
                    let limits = Limits {
                        memory_bytes: memory_mib << 20,
                        ..Limits::default()
                    };
                    match host.load(&path, kind, &Grants::none(), &limits) {
                        Err(error) => eprintln!("  {memory_mib} MiB: {error}"),
                        Ok(plugin) => {
                            let mut hook = LossHook::new(&plugin, &settings, CONTEXT).unwrap();
                            let mut done = 0;
                            for update in 0..2000 {
                                let inputs = LossInputs {
                                    logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
                                    class_ids: AnyTensor::from_ids(ids.clone()).unwrap(),
                                    soft_targets: None,
                                    network_features: vec![],
                                    meta_features: vec![],
                                };
                                match hook.compute(
                                    &StepInfo {
                                        update,
                                        updates: 2000,
                                        epoch: 0.0,
                                        classes: 5,
                                        pictures: 8,
                                    },
                                    inputs,
                                ) {
                                    Ok(_) => done += 1,
                                    Err(error) => {
                                        eprintln!("  {error}");
                                        break;
                                    }
                                }
                            }
                            eprintln!("  {memory_mib} MiB: {done} calls");
                        }
                    }
                }
            }
            Kind::LrSchedule => {
                let start = Instant::now();
                let mut schedule = Schedule::new(&plugin, &settings, CONTEXT).unwrap();
                eprintln!("  new: {:?}, {:?}", start.elapsed(), schedule.statistics());
                let moment = |epochs| Moment {
                    update: 0,
                    updates: 100,
                    epoch: 1.0,
                    epochs,
                    base_rate: 1e-3,
                    group: Group {
                        name: "decay",
                        index: 0,
                    },
                };
                let before = schedule.statistics().fuel;
                let start = Instant::now();
                for _ in 0..2000 {
                    schedule.rate(&moment(10)).unwrap();
                }
                eprintln!(
                    "  {:?} per rate, fuel {}",
                    start.elapsed() / 2000,
                    (schedule.statistics().fuel - before) / 2000
                );
                eprintln!("  {}", schedule.restore(&[1, 2]).unwrap_err());
                eprintln!(
                    "  {:?}",
                    schedule.rate(&moment(0)).map_err(|e| e.to_string())
                );
            }
            Kind::PartitionScheme => {
                let start = Instant::now();
                let mut scheme = PartitionScheme::new(&plugin, &settings).unwrap();
                eprintln!("  new: {:?}", start.elapsed());
                let cost = |name: &str| Cost {
                    name: name.into(),
                    parameters: 1,
                    forward_macs: 2,
                    activation_bytes: 3,
                    milliseconds: None,
                };
                let request = |blocks, modules| PartitionRequest {
                    entry: cost("a"),
                    blocks: (0..blocks).map(|_| cost("b")).collect(),
                    exit: cost("c"),
                    modules,
                    devices: vec![],
                    bytes_per_parameter: 16,
                };
                let start = Instant::now();
                for _ in 0..1000 {
                    scheme.divide(&request(24, 4)).unwrap();
                }
                eprintln!("  {:?} per divide of 24", start.elapsed() / 1000);
                eprintln!("  {:?}", scheme.divide(&request(7, 3)).unwrap());
                eprintln!("  {}", scheme.divide(&request(3, 0)).unwrap_err());
                eprintln!("  {}", scheme.divide(&request(3, 4)).unwrap_err());
            }
        }
    }
}
