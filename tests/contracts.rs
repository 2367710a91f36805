//! The contract is kept: what was released stays as it is, a newer version of a series only adds what
//! older plugins do not miss, and the plugins that were built for any of them work on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::tensor::{Device, Int, Tensor};
use incubate::phase::Phase;
use incubate::plugin::{
    CONTRACT, Context, Cost, Grant, Grants, Group, Kind, Limit, Limits, LossHook, LossInputs,
    Moment, PartitionRequest, PartitionScheme, PluginHost, Schedule, SettingValue, StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use semver::Version;
use sha2::{Digest, Sha256};
use wit_parser::{Function, Handle, Resolve, Type, TypeDef, TypeDefKind, TypeOwner, WorldItem};

/// A contract as text to compare: definitions by name.
#[derive(Debug)]
struct Contract {
    version: Version,
    interfaces: BTreeMap<String, Interface>,
    worlds: BTreeMap<String, World>,
}

#[derive(Debug, Default)]
struct Interface {
    types: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct World {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl Contract {
    fn parse(text: &str) -> Self {
        let mut resolve = Resolve::default();
        let id = resolve
            .push_str("contract.wit", text)
            .unwrap_or_else(|error| panic!("{error:#}"));
        let package = &resolve.packages[id];
        let interfaces = package.interfaces.iter().map(|(name, id)| {
            let interface = &resolve.interfaces[*id];
            let types = interface.types.iter().map(|(name, id)| {
                let definition = definition(&resolve, &resolve.types[*id]);
                (name.clone(), definition)
            });
            let functions = interface
                .functions
                .iter()
                .map(|(name, function)| (name.clone(), signature(&resolve, function)));
            let interface = Interface {
                types: types.collect(),
                functions: functions.collect(),
            };
            (name.clone(), interface)
        });
        let worlds = package.worlds.iter().map(|(name, id)| {
            let world = &resolve.worlds[*id];
            let names = |items: &mut dyn Iterator<Item = &WorldItem>| {
                items.map(|item| item_name(&resolve, item)).collect()
            };
            let world = World {
                imports: names(&mut world.imports.values()),
                exports: names(&mut world.exports.values()),
            };
            (name.clone(), world)
        });
        Self {
            version: package.name.version.clone().expect("a version"),
            interfaces: interfaces.collect(),
            worlds: worlds.collect(),
        }
    }

    /// Interfaces that a plugin exports.
    fn exported(&self) -> BTreeSet<&str> {
        let worlds = self.worlds.values();
        worlds
            .flat_map(|world| world.exports.iter().map(String::as_str))
            .collect()
    }

    /// Whether a plugin for `self` must work on a host of `newer`.
    fn same_series(&self, newer: &Self) -> bool {
        let series = |version: &Version| match version.major {
            0 => (0, version.minor),
            major => (major, 0),
        };
        series(&self.version) == series(&newer.version)
    }

    /// What in `newer` would break a plugin that was built for `self`, or say otherwise than the rule:
    /// functions and types may be added to interfaces that only the host provides, and such interfaces
    /// to worlds.
    fn broken_by(&self, newer: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let exported = self.exported();
        for (name, old) in &self.interfaces {
            let Some(new) = newer.interfaces.get(name) else {
                found.push(format!("interface `{name}` is gone"));
                continue;
            };
            for (what, old, new) in [
                ("type", &old.types, &new.types),
                ("function", &old.functions, &new.functions),
            ] {
                for (item, before) in old {
                    match new.get(item) {
                        None => found.push(format!("{what} `{name}.{item}` is gone")),
                        Some(now) if now != before => found.push(format!(
                            "{what} `{name}.{item}` was `{before}` and is `{now}`"
                        )),
                        Some(_) => {}
                    }
                }
                for item in new.keys().filter(|item| !old.contains_key(*item)) {
                    if exported.contains(name.as_str()) {
                        found.push(format!(
                            "{what} `{name}.{item}` is new, and older plugins do not export it"
                        ));
                    }
                }
            }
        }
        for (name, old) in &self.worlds {
            let Some(new) = newer.worlds.get(name) else {
                found.push(format!("world `{name}` is gone"));
                continue;
            };
            for import in old.imports.difference(&new.imports) {
                found.push(format!("world `{name}` imports `{import}` no longer"));
            }
            for export in old.exports.symmetric_difference(&new.exports) {
                found.push(format!("world `{name}` differs in the export `{export}`"));
            }
        }
        for name in newer.worlds.keys() {
            if !self.worlds.contains_key(name) {
                found.push(format!("world `{name}` is new, and no older host knows it"));
            }
        }
        found
    }
}

fn item_name(resolve: &Resolve, item: &WorldItem) -> String {
    match item {
        WorldItem::Interface { id, .. } => resolve.interfaces[*id]
            .name
            .clone()
            .unwrap_or_else(|| "an interface without a name".to_owned()),
        WorldItem::Function(function) => function.name.clone(),
        WorldItem::Type { id, .. } => type_name(resolve, &Type::Id(*id)),
    }
}

/// A type as a signature writes it; a type that is used from elsewhere has its name there.
fn type_name(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase();
    };
    let def = &resolve.types[*id];
    let name = |ty: &Type| type_name(resolve, ty);
    let perhaps = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), name);
    match (&def.kind, &def.name) {
        (TypeDefKind::Type(other), _) => name(other),
        (_, Some(own)) => match def.owner {
            TypeOwner::Interface(owner) => {
                let owner = resolve.interfaces[owner].name.as_deref();
                format!("{}.{own}", owner.unwrap_or_default())
            }
            TypeOwner::World(_) | TypeOwner::None => own.clone(),
        },
        (TypeDefKind::List(element), None) => format!("list<{}>", name(element)),
        (TypeDefKind::Option(element), None) => format!("option<{}>", name(element)),
        (TypeDefKind::Result(result), None) => {
            format!("result<{}, {}>", perhaps(&result.ok), perhaps(&result.err))
        }
        (TypeDefKind::Tuple(tuple), None) => {
            let types: Vec<String> = tuple.types.iter().map(name).collect();
            format!("tuple<{}>", types.join(", "))
        }
        (TypeDefKind::Handle(Handle::Own(id)), None) => format!("own<{}>", name(&Type::Id(*id))),
        (TypeDefKind::Handle(Handle::Borrow(id)), None) => {
            format!("borrow<{}>", name(&Type::Id(*id)))
        }
        (other, None) => panic!("the contract has no {}", other.as_str()),
    }
}

/// What a named type is.
fn definition(resolve: &Resolve, def: &TypeDef) -> String {
    let name = |ty: &Type| type_name(resolve, ty);
    let parts: Vec<String> = match &def.kind {
        TypeDefKind::Record(record) => record
            .fields
            .iter()
            .map(|field| format!("{}: {}", field.name, name(&field.ty)))
            .collect(),
        TypeDefKind::Variant(variant) => variant
            .cases
            .iter()
            .map(|case| {
                let content = case.ty.as_ref().map(name).unwrap_or_default();
                format!("{}({content})", case.name)
            })
            .collect(),
        TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| case.name.clone()).collect(),
        TypeDefKind::Flags(flags) => flags.flags.iter().map(|flag| flag.name.clone()).collect(),
        TypeDefKind::Resource => Vec::new(),
        TypeDefKind::Type(other) => vec![name(other)],
        other => panic!("the contract names no {}", other.as_str()),
    };
    format!("{} {{ {} }}", def.kind.as_str(), parts.join(", "))
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params: Vec<String> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, type_name(resolve, &param.ty)))
        .collect();
    let result = function.result.as_ref();
    let result = result.map_or_else(|| "()".to_owned(), |ty| type_name(resolve, ty));
    format!("func({}) -> {result}", params.join(", "))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of `folder` by name.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect()
}

/// The directories of the contract by version, oldest first.
fn directories() -> BTreeMap<Version, PathBuf> {
    files(&root().join("wit"))
        .into_iter()
        .filter_map(|(name, path)| {
            let version = name.strip_prefix("plugin@")?;
            Some((Version::parse(version).unwrap(), path))
        })
        .collect()
}

/// All files of a directory as one, so that a test can change it.
fn text(directory: &Path) -> String {
    let mut texts = files(directory).into_values().map(|path| {
        let text = fs::read_to_string(path).unwrap();
        let (header, rest) = text.split_once(";\n").unwrap();
        (format!("{header};\n"), rest.to_owned())
    });
    let (header, first) = texts.next().unwrap();
    texts.fold(header.clone() + &first, |all, (other, rest)| {
        assert_eq!(other, header, "{}", directory.display());
        all + &rest
    })
}

fn newest() -> (Version, String) {
    let (version, path) = directories().pop_last().unwrap();
    (version, text(&path))
}

#[test]
fn a_newer_version_of_a_series_breaks_no_older_plugin() {
    let contracts: Vec<Contract> = directories()
        .into_iter()
        .map(|(version, path)| {
            let contract = Contract::parse(&text(&path));
            assert_eq!(contract.version, version, "{}", path.display());
            contract
        })
        .collect();
    assert!(contracts.len() >= 2);
    for pair in contracts.windows(2) {
        let [old, new] = pair else { unreachable!() };
        if old.same_series(new) {
            let broken = old.broken_by(new);
            assert!(
                broken.is_empty(),
                "{} breaks plugins for {} (make it a new series, or leave this as it was):\n{}",
                new.version,
                old.version,
                broken.join("\n")
            );
        }
    }
    assert_eq!(
        contracts.last().unwrap().version,
        CONTRACT,
        "the host offers the newest"
    );
}

#[test]
fn incompatible_changes_are_found_and_additions_are_not() {
    let (_, text) = newest();
    let contract = Contract::parse(&text);
    assert!(contract.broken_by(&contract).is_empty());
    // What is replaced, by what, and a part of the only complaint; none for what is allowed.
    let cases = [
        (
            "optional: bool,",
            "optional: bool,\n    secret: bool,",
            "type `types.parameter` was",
        ),
        ("choices: list<string>,", "", "type `types.parameter` was"),
        (
            "optional: bool,",
            "optional: u8,",
            "type `types.parameter` was",
        ),
        ("texts(list<string>),", "", "type `types.setting-value` was"),
        (
            "internal,",
            "internal,\n    other,",
            "type `types.fault-code` was",
        ),
        (
            "meta-features,",
            "meta-features,\n    more-features,",
            "type `loss.features` was",
        ),
        (
            "exp: func() -> result<tensor, fault>;",
            "",
            "function `tensors.[method]tensor.exp` is gone",
        ),
        (
            "powf: func(exponent: f32)",
            "powf: func(exponent: f64)",
            "function `tensors.[method]tensor.powf` was",
        ),
        (
            "powf: func(exponent: f32)",
            "powf: func(power: f32)",
            "function `tensors.[method]tensor.powf` was",
        ),
        (
            "uniform: func() -> f64;",
            "uniform: func() -> f32;",
            "function `random.uniform` was",
        ),
        (
            "save: func() -> list<u8>;",
            "save: func() -> list<u8>;\n  reset: func();",
            "is new, and older plugins do not export it",
        ),
        (
            "  import metrics;\n  export description;\n  export partition;",
            "  export description;\n  export partition;",
            "world `partition-scheme` imports `metrics` no longer",
        ),
        (
            "  export description;\n  export partition;",
            "  export partition;",
            "world `partition-scheme` differs in the export `description`",
        ),
        (
            "/// Composes the training loss.\nworld loss-hook",
            "world observer {\n  import log;\n}\nworld loss-hook",
            "world `observer` is new",
        ),
        // Functions, methods and types of interfaces that the host provides, and imports.
        (
            "uniform: func() -> f64;",
            "uniform: func() -> f64;\n  coin: func() -> bool;",
            "",
        ),
        (
            "exp: func() -> result<tensor, fault>;",
            "exp: func() -> result<tensor, fault>;\n    sin: func() -> result<tensor, fault>;",
            "",
        ),
        (
            "  from-f32: func",
            "  enum layout { row, column }\n  order: func() -> layout;\n  from-f32: func",
            "",
        ),
        (
            "  import metrics;\n  export description;\n  export partition;",
            "  import metrics;\n  import random;\n  export description;\n  export partition;",
            "",
        ),
    ];
    for (before, after, complaint) in cases {
        let changed = text.replacen(before, after, 1);
        assert_ne!(changed, text, "{before}");
        let found = contract.broken_by(&Contract::parse(&changed));
        if complaint.is_empty() {
            assert!(found.is_empty(), "{after}: {found:?}");
        } else {
            assert_eq!(found.len(), 1, "{after}: {found:?}");
            assert!(found[0].contains(complaint), "{found:?}");
        }
    }
    // A new series may do anything, and no other version may.
    let with_version = |version: &str| {
        let header = format!("package incubate:plugin@{version};");
        let (_, rest) = text.split_once(";\n").unwrap();
        Contract::parse(&format!("{header}\n{rest}"))
    };
    assert!(contract.same_series(&with_version("0.1.99")));
    assert!(!contract.same_series(&with_version("0.2.0")));
    assert!(with_version("1.0.0").same_series(&with_version("1.7.0")));
}

/// Files of `wit/RELEASED` that differ from their digests, and of released folders that lack one.
fn unlike_the_release(list: &str, wit: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed: BTreeMap<&Path, BTreeSet<&str>> = BTreeMap::new();
    for line in list.lines() {
        let (digest, name) = line.split_once("  ").expect("the format of sha256sum");
        let (folder, file) = name.rsplit_once('/').expect("a file in a folder");
        listed.entry(Path::new(folder)).or_default().insert(file);
        match fs::read(wit.join(name)) {
            Ok(bytes) if format!("{:x}", Sha256::digest(&bytes)) == digest => {}
            Ok(_) => found.push(format!("{name} was changed after its release")),
            Err(error) => found.push(format!("{name}: {error}")),
        }
    }
    for (folder, known) in listed {
        for file in files(&wit.join(folder)).into_keys() {
            if !known.contains(file.as_str()) {
                let folder = folder.display();
                found.push(format!("{folder}/{file} was added after the release"));
            }
        }
    }
    found
}

#[test]
fn what_was_released_stays_as_it_was() {
    let wit = root().join("wit");
    let list = fs::read_to_string(wit.join("RELEASED")).unwrap();
    assert_eq!(unlike_the_release(&list, &wit), [""; 0]);
    // Everything but the newest version has been released, with plugins that were built for it.
    let mut versions: Vec<Version> = directories().into_keys().collect();
    versions.pop();
    for version in &versions {
        for folder in [
            format!("plugin@{version}/"),
            format!("../tests/contracts/{version}/"),
        ] {
            assert!(list.contains(&folder), "{folder} is not in wit/RELEASED");
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("plugin@0.1.0");
    fs::create_dir(&copy).unwrap();
    for (name, path) in files(&wit.join("plugin@0.1.0")) {
        fs::copy(path, copy.join(name)).unwrap();
    }
    let texts: Vec<&str> = list.lines().filter(|line| line.contains(".wit")).collect();
    let texts = texts.join("\n");
    assert_eq!(unlike_the_release(&texts, folder.path()), [""; 0]);
    fs::write(copy.join("loss.wit"), "package incubate:plugin@0.1.0;").unwrap();
    fs::write(copy.join("more.wit"), "package incubate:plugin@0.1.0;").unwrap();
    fs::remove_file(copy.join("types.wit")).unwrap();
    let found = unlike_the_release(&texts, folder.path()).join("\n");
    for phrase in [
        "plugin@0.1.0/loss.wit was changed",
        "plugin@0.1.0/types.wit: ",
        "plugin@0.1.0/more.wit was added",
    ] {
        assert!(found.contains(phrase), "{found}");
    }
}

fn host() -> &'static PluginHost {
    static HOST: LazyLock<PluginHost> = LazyLock::new(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
        PluginHost::new(Some(&cache)).unwrap()
    });
    &HOST
}

const CONTEXT: Context = Context {
    seed: Seed(1),
    phase: Phase::Module(0),
};

/// Cuts six blocks in three.
fn divides(scheme: &mut PartitionScheme) -> bool {
    let cost = |name: &str| Cost {
        name: name.to_owned(),
        parameters: 100,
        forward_macs: 200,
        activation_bytes: 300,
        milliseconds: None,
    };
    let request = PartitionRequest {
        entry: cost("entry"),
        blocks: vec![cost("block"); 6],
        exit: cost("exit"),
        modules: 3,
        devices: Vec::new(),
        bytes_per_parameter: 16,
    };
    let division = scheme.divide(&request).unwrap();
    division.len() == 3 && division.iter().map(|module| module.target).sum::<u32>() == 6
}

/// Answers a rate in the middle of a phase, after it was told a result and its state was moved.
fn gives_rates(mut schedule: Schedule, mut other: Schedule) -> bool {
    let moment = Moment {
        update: 50,
        updates: 100,
        epoch: 5.0,
        epochs: 10,
        base_rate: 1e-3,
        group: Group {
            name: "decay",
            index: 0,
        },
    };
    schedule.observe(&moment, &[("loss", 1.0)]).unwrap();
    other.restore(&schedule.save().unwrap()).unwrap();
    let rate = schedule.rate(&moment).unwrap();
    rate > 0.0 && rate <= 1e-3 && rate == other.rate(&moment).unwrap()
}

/// Composes a loss with a gradient.
fn computes(hook: &mut LossHook) -> bool {
    let device = Device::flex().autodiff();
    let values = [[1.0, -2.0, 0.5], [0.3, 0.2, 0.1]];
    let logits = Tensor::<2>::from_floats(values, &device).require_grad();
    let features = || {
        let feature = Tensor::<3>::ones([2, 4, 5], &device).require_grad();
        vec![(0, AnyTensor::from_tensor(feature).unwrap())]
    };
    let ids = Tensor::<1, Int>::from_ints([2, 0], &device);
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(logits.clone()).unwrap(),
        class_ids: AnyTensor::from_ids(ids).unwrap(),
        soft_targets: None,
        network_features: features(),
        meta_features: features(),
        weights: vec![("stages.0.a".to_owned(), features().remove(0).1)],
        teacher: None,
    };
    let step = StepInfo {
        update: 0,
        updates: 10,
        epoch: 0.0,
        classes: 3,
        pictures: 2,
    };
    let loss = hook.compute(&step, inputs).unwrap();
    let gradients = loss.into_scalar_tensor().unwrap().backward();
    let gradient: Vec<f32> = logits
        .grad(&gradients)
        .unwrap()
        .into_data()
        .iter()
        .collect();
    gradient.iter().any(|value| value.abs() > 1e-3)
}

#[test]
fn plugins_of_every_released_contract_work_on_this_host() {
    let folders = files(&root().join("tests/contracts"));
    assert!(!folders.is_empty());
    for (version, folder) in folders {
        let version = Version::parse(&version).unwrap();
        let mut kinds = BTreeSet::new();
        for (file, path) in files(&folder) {
            let reference = path.to_str().unwrap();
            let inspection = host().inspect(reference).unwrap();
            assert_eq!(inspection.contract, Some(version.clone()), "{file}");
            let grants = Grants::of(&inspection.grants);
            let kind = inspection.kind;
            let plugin = host()
                .load(reference, kind, &grants, &Limits::default())
                .unwrap();
            let mut given = BTreeMap::new();
            if plugin.description().name == "explicit" {
                let depths = SettingValue::Integers(vec![1, 2, 3]);
                given.insert("depths".to_owned(), depths);
            }
            let settings = plugin.settings(&given).unwrap();
            let works = match kind {
                Kind::PartitionScheme => {
                    divides(&mut PartitionScheme::new(&plugin, &settings).unwrap())
                }
                Kind::LrSchedule => {
                    let start = || Schedule::new(&plugin, &settings, CONTEXT).unwrap();
                    gives_rates(start(), start())
                }
                Kind::LossHook => {
                    computes(&mut LossHook::new(&plugin, &settings, CONTEXT).unwrap())
                }
            };
            assert!(works, "{file} of {version}");
            kinds.insert(kind.world());
        }
        assert_eq!(kinds.len(), Kind::ALL.len(), "every kind of {version}");
    }
}

#[test]
fn the_table_of_contracts_has_every_version() {
    let readme = fs::read_to_string(root().join("wit/README.md")).unwrap();
    for version in directories().keys() {
        let row = format!("| `incubate:plugin@{version}` |");
        assert!(readme.contains(&row), "no row {row}");
    }
}

/// Rows of tables and headings of the section about `interface`.
fn entries<'a>(reference: &'a str, interface: &str) -> Vec<&'a str> {
    let heading = format!("## `{interface}`");
    let mut lines = reference
        .lines()
        .skip_while(|line| !line.starts_with(&heading));
    lines
        .next()
        .into_iter()
        .chain(lines.take_while(|line| !line.starts_with("## ")))
        .filter(|line| line.starts_with('|') || line.starts_with('#'))
        .collect()
}

#[test]
fn the_reference_has_every_function_type_limit_and_grant() {
    let reference = fs::read_to_string(root().join("wit/REFERENCE.md")).unwrap();
    let (version, text) = newest();
    assert!(reference.contains(&format!("incubate:plugin@{version}")));
    let contract = Contract::parse(&text);
    let mut missing = Vec::new();
    for (interface, content) in &contract.interfaces {
        let entries = entries(&reference, interface);
        let used = |item: &String| {
            // A type that is only used here is explained where it is defined.
            content
                .types
                .get(item)
                .is_some_and(|definition| definition.starts_with("type "))
        };
        for item in content.types.keys().chain(content.functions.keys()) {
            let name = item.rsplit('.').next().unwrap();
            let own = format!("`{name}`");
            if !used(item) && !entries.iter().any(|entry| entry.contains(&own)) {
                missing.push(format!("{interface}.{name}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in wit/REFERENCE.md: {missing:?}");
    let defaults = Limits::default();
    for limit in Limit::ALL {
        let row = format!("| `{}` | {} |", limit.key(), defaults.get(limit));
        assert!(reference.contains(&row), "no row {row}");
    }
    for grant in Grant::ALL {
        let row = format!("| `{grant}` |");
        assert!(reference.contains(&row), "no row {row}");
        assert!(
            reference.contains(grant.example()),
            "no line {}",
            grant.example()
        );
    }
}
