//! What is compared: data, depth, augmentation, seed, and the way to train.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Seeds of every combination.
pub(crate) const SEEDS: u64 = 3;

/// Pictures to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Data {
    /// 5,000 pictures of Fashion-MNIST, as many of each class.
    #[value(name = "fashion-5000")]
    #[serde(rename = "fashion-5000")]
    Fashion5000,
    /// 5,000 colour pictures of 32 x 32 pixels, as many of each class.
    #[value(name = "colour-5000")]
    #[serde(rename = "colour-5000")]
    Colour5000,
    /// All 60,000 pictures of Fashion-MNIST.
    #[value(name = "fashion-60000")]
    #[serde(rename = "fashion-60000")]
    Fashion60000,
}

/// Changes of the training pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Augmented {
    /// None.
    Plain,
    /// Those of the published recipe for small pictures, and its drop path.
    Full,
}

/// Ways to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// The whole network at once.
    EndToEnd,
    /// Deep Incubation as published: random target modules, the task's loss.
    Incubation,
    /// The same with the distance to the meta module's output as the modules' loss.
    Imitation,
    /// Target modules that start as copies of the meta modules' blocks.
    Copies,
    /// Target modules that start as the meta modules' function.
    Grown,
    /// Random target modules that imitate first and learn the task after.
    ImitationFirst,
    /// Copies, with a third of the published length for modules and the rest for fine-tuning.
    ShortModules,
    /// Copies, with half the published length for the meta model and the rest for fine-tuning.
    ShortMeta,
    /// Copies, with half the rate for modules and a third of it for fine-tuning.
    Gentle,
}

impl Method {
    pub(crate) const ALL: [Self; 9] = [
        Self::EndToEnd,
        Self::Incubation,
        Self::Imitation,
        Self::Copies,
        Self::Grown,
        Self::ImitationFirst,
        Self::ShortModules,
        Self::ShortMeta,
        Self::Gentle,
    ];

    /// Whether it is compared in every setting, and not in [`SEARCH`] alone.
    fn is_everywhere(self) -> bool {
        matches!(
            self,
            Self::EndToEnd | Self::Incubation | Self::Imitation | Self::Copies
        )
    }
}

/// Where ways to train are looked for.
const SEARCH: Setting = (Data::Fashion5000, 12, Augmented::Plain);

/// One training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) seed: u64,
    pub(crate) data: Data,
    pub(crate) depth: usize,
    pub(crate) augmented: Augmented,
    pub(crate) method: Method,
}

/// Which cells to train.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only these pictures.
    #[arg(long, value_delimiter = ',')]
    data: Vec<Data>,
    /// Only these depths.
    #[arg(long, value_delimiter = ',')]
    depth: Vec<usize>,
    /// Only with these changes of pictures.
    #[arg(long, value_delimiter = ',')]
    augmented: Vec<Augmented>,
    /// Only these seeds.
    #[arg(long, value_delimiter = ',')]
    seed: Vec<u64>,
    /// Only these ways to train.
    #[arg(long, value_delimiter = ',')]
    method: Vec<Method>,
}

impl Selection {
    pub(crate) fn takes(&self, cell: &Cell) -> bool {
        fn among<T: PartialEq>(wanted: &[T], value: &T) -> bool {
            wanted.is_empty() || wanted.contains(value)
        }
        among(&self.data, &cell.data)
            && among(&self.depth, &cell.depth)
            && among(&self.augmented, &cell.augmented)
            && among(&self.seed, &cell.seed)
            && among(&self.method, &cell.method)
    }
}

/// Every cell, those of one setting and seed together: few pictures before many, and of these the first
/// seed of all settings before the second of any.
pub(crate) fn cells() -> Vec<Vec<Cell>> {
    let mut groups = Vec::new();
    for sets in [
        &[Data::Fashion5000, Data::Colour5000][..],
        &[Data::Fashion60000],
    ] {
        for seed in 0..SEEDS {
            for (&data, depth, augmented) in settings(sets) {
                let methods = Method::ALL
                    .into_iter()
                    .filter(|method| method.is_everywhere() || (data, depth, augmented) == SEARCH);
                groups.push(
                    methods
                        .map(|method| Cell {
                            seed,
                            data,
                            depth,
                            augmented,
                            method,
                        })
                        .collect(),
                );
            }
        }
    }
    groups
}

/// The settings of some sets of pictures.
fn settings(sets: &[Data]) -> impl Iterator<Item = (&Data, usize, Augmented)> {
    sets.iter().flat_map(|data| {
        [12, 24].into_iter().flat_map(move |depth| {
            [Augmented::Plain, Augmented::Full].map(move |augmented| (data, depth, augmented))
        })
    })
}

/// Epochs of a phase each.
pub(crate) struct Lengths {
    pub(crate) meta: u32,
    pub(crate) module: u32,
    pub(crate) fine_tune: u32,
}

impl Data {
    pub(crate) fn is_colour(self) -> bool {
        self == Self::Colour5000
    }

    /// The published proportions, 300 : 100 : 100.
    pub(crate) fn published(self) -> Lengths {
        match self {
            Self::Fashion5000 | Self::Colour5000 => Lengths {
                meta: 30,
                module: 10,
                fine_tune: 10,
            },
            Self::Fashion60000 => Lengths {
                meta: 6,
                module: 2,
                fine_tune: 2,
            },
        }
    }

    fn settings(self, colour: Option<&str>) -> Vec<String> {
        match self {
            Self::Fashion5000 => vec!["data.train_limit=5000".to_owned()],
            // Phases are as short as two epochs.
            Self::Fashion60000 => vec!["schedule.parameters.warmup=0.4".to_owned()],
            Self::Colour5000 => vec![
                "data.set=folder".to_owned(),
                format!("data.path={:?}", colour.unwrap_or_default()),
                "data.train_limit=5000".to_owned(),
                "model.image_size=32".to_owned(),
                "model.patch_size=8".to_owned(),
            ],
        }
    }
}

impl Cell {
    /// The name of its run folder.
    pub(crate) fn name(&self) -> String {
        format!(
            "{}.depth-{}.{}.seed-{}.{}",
            name(&self.data),
            self.depth,
            name(&self.augmented),
            self.seed,
            name(&self.method)
        )
    }

    /// The `--set` assignments of its experiment, without the lengths of the phases.
    pub(crate) fn settings(&self, colour: Option<&str>) -> Vec<String> {
        let mut settings = self.data.settings(colour);
        settings.push(format!("seed={}", self.seed));
        settings.push(format!("model.depth={}", self.depth));
        if self.augmented == Augmented::Full {
            settings.extend(
                [
                    "training.drop_path=0.1",
                    "meta.drop_path=0.0",
                    "training.augmentation.crop_padding=4",
                    "training.augmentation.flip=true",
                    "training.augmentation.rand_augment=rand-m9-mstd0.5-inc1",
                    "training.augmentation.random_erasing=0.25",
                    "training.augmentation.mixup=0.8",
                    "training.augmentation.cutmix=1.0",
                ]
                .map(str::to_owned),
            );
        }
        match self.method {
            Method::EndToEnd | Method::Incubation => {}
            Method::Imitation => settings
                .extend(["module.loss.plugin=imitation", "module.teacher=meta"].map(str::to_owned)),
            Method::Grown => settings.push("module.start=grown".to_owned()),
            Method::ImitationFirst => settings.extend(
                [
                    "module.teacher=meta",
                    "module.loss.terms=[{ plugin = \"imitation\", until = 0.5 }, \
                     { plugin = \"cross-entropy\", from = 0.5, parameters = { smoothing = 0.1 } }]",
                ]
                .map(str::to_owned),
            ),
            Method::Copies | Method::ShortModules | Method::ShortMeta => {
                settings.push("module.start=copies".to_owned());
            }
            Method::Gentle => settings.extend(
                [
                    "module.start=copies",
                    "module.rate=5e-4",
                    "fine-tune.rate=3e-4",
                ]
                .map(str::to_owned),
            ),
        }
        settings
    }

    /// The same cell, trained as published.
    pub(crate) fn published(self) -> Self {
        Self {
            method: Method::Incubation,
            ..self
        }
    }

    /// How long meta model and modules are trained; fine-tuning has what is left of the compute.
    pub(crate) fn lengths(&self) -> Lengths {
        let published = self.data.published();
        match self.method {
            Method::ShortModules => Lengths {
                module: published.module / 3,
                ..published
            },
            Method::ShortMeta => Lengths {
                meta: published.meta / 2,
                ..published
            },
            _ => published,
        }
    }

    /// Whether its meta model is that of the published way.
    pub(crate) fn shares_meta(&self) -> bool {
        !matches!(
            self.method,
            Method::EndToEnd | Method::Incubation | Method::ShortMeta
        )
    }

    /// Whether its modules ask the meta model, which no plan counts in advance.
    pub(crate) fn asks_meta(&self) -> bool {
        matches!(self.method, Method::Imitation | Method::ImitationFirst)
    }

    /// The units that are trained.
    pub(crate) fn units(&self) -> Vec<String> {
        if self.method == Method::EndToEnd {
            return vec!["baseline".to_owned()];
        }
        let modules = (0..4).map(|module| format!("module.{module}"));
        std::iter::once("meta".to_owned())
            .chain(modules)
            .chain(["assemble".to_owned(), "fine-tune".to_owned()])
            .collect()
    }
}

/// Cells that differ only in seed and method.
pub(crate) type Setting = (Data, usize, Augmented);

/// The name of a setting.
pub(crate) fn title((data, depth, augmented): Setting) -> String {
    format!("{}, depth {depth}, {}", name(&data), name(&augmented))
}

/// The name of a value on an axis, as on the command line.
pub(crate) fn name<T: ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
