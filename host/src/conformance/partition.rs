//! The laws of partition schemes, over thousands of generated models.

use rand::RngExt;

use super::numbers::{below, stream};
use super::report::{Check, Finding, Law, Verdict};
use super::subject::{Failure, Subject, Watched, said};
use crate::plugin::{
    Cost, Hook, Limit, Limits, ModuleDepth, ModuleDevice, PartitionRequest, PartitionScheme,
    PluginError, PluginErrorKind,
};
use crate::random::Stream;

const DIVISION: Law = Law {
    id: "division",
    says: "a division has one entry for every module, targets from 1 that sum to the blocks, and meta depths from 1 to the target",
};

const SAME: Law = Law {
    id: "same-division",
    says: "the same model is always divided in the same way",
};

const EVERY: Law = Law {
    id: "every-model",
    says: "every model gets a division or a fault that says why not, never a crash",
};

/// Models up to this many blocks are tried with every number of modules.
const SMALL: usize = 24;

/// Generated models of any size.
const MODELS: u64 = 2000;

/// The most blocks of a model.
const BLOCKS: f64 = 200.0;

/// Every so many models, a new instance is asked, too.
const FRESH: u64 = 40;

/// Crashes after which nothing more is learnt.
const CRASHES: u64 = 4;

/// A generated model, and how a report calls it.
struct Model {
    request: PartitionRequest,
    name: String,
}

/// Checks the laws.
pub(super) fn laws(subject: &Subject) -> Vec<Check> {
    let mut division = Verdict::new(DIVISION);
    let mut same = Verdict::new(SAME);
    let mut every = Verdict::new(EVERY);
    let (mut models, mut answered, mut slow, mut crashes) = (0_u64, 0_u64, 0_u64, 0_u64);
    let budget = subject.budget();
    let mut refusal = None;
    let mut scheme = None;
    for model in small().chain((0..MODELS).map(large)) {
        if !budget.lasts() || crashes >= CRASHES {
            break;
        }
        models += 1;
        let Some(live) = started(subject, &mut scheme, &mut every) else {
            break;
        };
        let first = divide(live, &model);
        match &first {
            Ok(_) => answered += 1,
            Err(error) => match Failure::of(error) {
                Failure::Fault => refusal = refusal.or_else(|| Some(said(error))),
                Failure::WrongAnswer => division.fail(Finding::new(
                    &model.name,
                    "a division of these blocks into these modules",
                    error.kind.to_string(),
                )),
                Failure::Silent | Failure::Crash => {
                    let expected = "a division or a fault with a message";
                    if let Some(fuel) = needed_fuel(subject, &model, error) {
                        let got = format!(
                            "a division after {fuel} instructions (raise `fuel` in \
                            the `limits` table of the experiment for models as large)"
                        );
                        every.warn(Finding::new(&model.name, expected, got));
                        slow += 1;
                    } else {
                        every.fail(Finding::new(&model.name, expected, said(error)));
                        crashes += 1;
                    }
                    scheme = None;
                    continue;
                }
            },
        }
        let again = divide(live, &model);
        compare(&mut same, &model, &first, &again, "asked again");
        if models.is_multiple_of(FRESH)
            && let Ok(mut fresh) = subject.partition()
        {
            let again = divide(&mut fresh, &model);
            compare(&mut same, &model, &first, &again, "in a new instance");
        }
    }
    if answered == 0 && crashes + division.broken() == 0 {
        division.warn(Finding::new(
            "every model",
            "a division of some of them",
            refusal.unwrap_or_else(|| "nothing".to_owned()),
        ));
    }
    vec![
        division.finish(format!("models: {models}, divided: {answered}")),
        same.finish("asked twice, and sometimes in a new instance".to_owned()),
        every.finish(format!(
            "1 to {BLOCKS} blocks, 1 to that many modules, costs from 0 to 2^64 - 1; out of fuel: {slow}"
        )),
    ]
}

/// What a scheme that ran out of fuel needs, if it is slow and not in an endless loop.
fn needed_fuel(subject: &Subject, model: &Model, error: &PluginError) -> Option<u64> {
    /// Times the limit at which a slow scheme counts as endless.
    const PATIENCE: u64 = 20;
    let PluginErrorKind::Limit(breach) = &*error.kind else {
        return None;
    };
    if breach.limit != Limit::Fuel {
        return None;
    }
    let limits = Limits {
        fuel: PATIENCE * breach.allowed,
        deadline_ms: u64::from(u32::MAX),
        ..*subject.plugin.limits()
    };
    let patient = subject.with_plugin(subject.plugin.with_limits(limits));
    let mut scheme = patient.partition().ok()?;
    divide(&mut scheme, model).ok()?;
    Some(patient.usage().fuel)
}

/// Asks for one usual division.
pub(super) fn usual(subject: &Subject) -> Result<(), PluginError> {
    let mut scheme = subject.partition()?;
    for (blocks, modules) in [(12, 4), (12, 1), (6, 6)] {
        divide(&mut scheme, &even(blocks, modules))?;
    }
    Ok(())
}

/// Asks for divisions of models as they are trained.
pub(super) fn realistic(subject: &Subject) -> Result<(), PluginError> {
    let mut scheme = subject.partition()?;
    for (blocks, modules) in [(12, 4), (24, 4), (48, 8)] {
        if let Err(error) = divide(&mut scheme, &even(blocks, modules))
            && Failure::of(&error) == Failure::Crash
        {
            return Err(error);
        }
    }
    Ok(())
}

/// The running instance, or a new one in the place of one that crashed.
fn started<'a, 's>(
    subject: &'s Subject,
    scheme: &'a mut Option<Watched<'s, PartitionScheme>>,
    every: &mut Verdict,
) -> Option<&'a mut Watched<'s, PartitionScheme>> {
    if scheme.is_none() {
        match subject.partition() {
            Ok(new) => *scheme = Some(new),
            Err(error) => {
                every.fail(Finding::new("starting again", "a start", said(&error)));
                return None;
            }
        }
    }
    scheme.as_mut()
}

fn divide(
    scheme: &mut Watched<'_, PartitionScheme>,
    model: &Model,
) -> Result<Vec<ModuleDepth>, PluginError> {
    scheme.call(Hook::Divide, |scheme| scheme.divide(&model.request))
}

type Divided = Result<Vec<ModuleDepth>, PluginError>;

fn compare(same: &mut Verdict, model: &Model, first: &Divided, again: &Divided, how: &str) {
    let words = |divided: &Divided| match divided {
        Ok(depths) => {
            let pairs: Vec<(u32, u32)> = depths.iter().map(|one| (one.target, one.meta)).collect();
            format!("target and meta depths {}", super::numbers::list(&pairs))
        }
        Err(error) => said(error),
    };
    let (first, again) = (words(first), words(again));
    if first != again {
        same.fail(Finding::new(format!("{}, {how}", model.name), first, again));
    }
}

/// A model whose blocks are alike.
fn even(blocks: usize, modules: u32) -> Model {
    let cost = |name: String| Cost {
        name,
        parameters: 1_000_000,
        forward_macs: 200_000_000,
        activation_bytes: 4_000_000,
        milliseconds: Some(1.0),
    };
    Model {
        name: format!("{blocks} equal blocks, {modules} modules, no devices"),
        request: PartitionRequest {
            entry: cost("entry".to_owned()),
            blocks: (0..blocks)
                .map(|index| cost(format!("blocks.{index}")))
                .collect(),
            exit: cost("exit".to_owned()),
            modules,
            devices: Vec::new(),
            bytes_per_parameter: 16,
        },
    }
}

/// Every small model, from one block up.
fn small() -> impl Iterator<Item = Model> {
    (1..=SMALL).flat_map(|blocks| (1..=blocks as u32).map(move |modules| even(blocks, modules)))
}

/// A model of any size, with costs, times, and devices of many shapes.
fn large(number: u64) -> Model {
    let mut random = stream("model", number);
    let exponent: f64 = random.random();
    let blocks = (BLOCKS.powf(exponent).round() as usize).max(1);
    let modules = match below(&mut random, 10) {
        0 => 1,
        1 => blocks as u64,
        2..5 => 1 + below(&mut random, blocks as u64),
        _ => 1 + below(&mut random, blocks.min(12) as u64),
    } as u32;
    let shape = below(&mut random, Costs::ALL.len() as u64) as usize;
    let costs = Costs::ALL[shape];
    let timed = below(&mut random, 4);
    let mut cost = |name: String, index: usize| Cost {
        name,
        parameters: costs.draw(&mut random, index),
        forward_macs: costs.draw(&mut random, index),
        activation_bytes: costs.draw(&mut random, index),
        milliseconds: match timed {
            0 => Some(random.random::<f64>() * 50.0),
            1 if below(&mut random, 2) == 0 => Some(0.0),
            _ => None,
        },
    };
    let entry = cost("entry".to_owned(), 0);
    let blocks: Vec<Cost> = (0..blocks)
        .map(|index| cost(format!("blocks.{index}"), index))
        .collect();
    let exit = cost("exit".to_owned(), blocks.len());
    let (devices, equipment) = devices(&mut random, modules);
    Model {
        name: format!(
            "model {number}: {} blocks, {modules} modules, {} costs, {}, {equipment}",
            blocks.len(),
            costs.name(),
            [
                "every time known",
                "some times known",
                "no times",
                "no times"
            ][timed as usize],
        ),
        request: PartitionRequest {
            entry,
            blocks,
            exit,
            modules,
            devices,
            bytes_per_parameter: if shape == 0 { u32::MAX } else { 16 },
        },
    }
}

/// Devices for every module, or none.
fn devices(random: &mut Stream, modules: u32) -> (Vec<ModuleDevice>, &'static str) {
    let memory: fn(&mut Stream) -> Option<u64>;
    let name = match below(random, 6) {
        0 => {
            memory = |_| None;
            "devices without limit"
        }
        1 => {
            memory = |random| Some(1 << (20 + below(random, 20)));
            "devices of many sizes"
        }
        2 => {
            memory = |_| Some(0);
            "devices without memory"
        }
        _ => return (Vec::new(), "no devices"),
    };
    let devices = (0..modules)
        .map(|_| ModuleDevice {
            memory_bytes: memory(random),
            speed: 0.25 + 4.0 * random.random::<f64>(),
        })
        .collect();
    (devices, name)
}

/// How the costs of the blocks are spread.
#[derive(Clone, Copy, Debug)]
enum Costs {
    Equal,
    Zero,
    Random,
    Sparse,
    Growing,
    Huge,
    Mixed,
}

impl Costs {
    const ALL: [Self; 7] = [
        Self::Equal,
        Self::Zero,
        Self::Random,
        Self::Sparse,
        Self::Growing,
        Self::Huge,
        Self::Mixed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Zero => "zero",
            Self::Random => "random",
            Self::Sparse => "mostly zero",
            Self::Growing => "growing",
            Self::Huge => "huge",
            Self::Mixed => "tiny and huge",
        }
    }

    fn draw(self, random: &mut Stream, index: usize) -> u64 {
        match self {
            Self::Equal => 1_000_000,
            Self::Zero => 0,
            Self::Random => below(random, 1_000_000_000),
            Self::Sparse => u64::from(below(random, 8) == 0) * 1_000_000,
            Self::Growing => 1000 * index as u64,
            Self::Huge => u64::MAX - below(random, 2),
            Self::Mixed if below(random, 2) == 0 => u64::MAX / 2,
            Self::Mixed => below(random, 2),
        }
    }
}
