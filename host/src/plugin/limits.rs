//! How much a plugin may use: every limit in one place, and what happens at each.
//!
//! Fuel makes a call end after the same number of instructions on every machine. The deadline is
//! the backstop in wall time, which fuel cannot see: time that the host spends on the plugin's
//! behalf does not count, since a device may compile a kernel for minutes.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::reason::Reason;

/// The limits of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Instructions of one call.
    pub fuel: u64,
    /// Milliseconds that one call may compute, without the time of tensor operations.
    pub deadline_ms: u64,
    /// Bytes of all linear memories.
    pub memory_bytes: u64,
    /// Elements of all tables of functions.
    pub table_elements: u64,
    /// Core instances, memories and tables, each; plugins from interpreters need dozens.
    pub instances: u64,
    /// Tensor handles that live at the same time, inputs included.
    pub live_tensors: u64,
    /// Bytes of all tensors that one call computes or reads back, inputs not included.
    pub device_bytes: u64,
    /// Tensor operations of one call. Each is a node of the graph that is differentiated, whose
    /// upkeep grows faster than the graph.
    pub operations: u64,
    /// Elements that the tensor operations of one call read and write, and multiply-adds of its
    /// matrix products: what keeps a device busy without taking its memory.
    pub work: u64,
    /// Bytes that the plugin hands over at once: the answer of a call, or the texts and lists in one
    /// call of the host.
    pub copied_bytes: u64,
    /// Bytes of messages and metrics of one call.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 50_000_000,
            deadline_ms: 2_000,
            memory_bytes: 16 << 20,
            table_elements: 100_000,
            instances: 64,
            live_tensors: 256,
            device_bytes: 256 << 20,
            operations: 1_000,
            work: 100_000_000_000,
            copied_bytes: 4 << 20,
            log_bytes: 4 << 10,
        }
    }
}

impl Limits {
    /// The value of one limit.
    pub const fn get(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Fuel => self.fuel,
            Limit::DeadlineMs => self.deadline_ms,
            Limit::MemoryBytes => self.memory_bytes,
            Limit::TableElements => self.table_elements,
            Limit::Instances => self.instances,
            Limit::LiveTensors => self.live_tensors,
            Limit::DeviceBytes => self.device_bytes,
            Limit::Operations => self.operations,
            Limit::Work => self.work,
            Limit::CopiedBytes => self.copied_bytes,
            Limit::LogBytes => self.log_bytes,
        }
    }

    const fn get_mut(&mut self, limit: Limit) -> &mut u64 {
        match limit {
            Limit::Fuel => &mut self.fuel,
            Limit::DeadlineMs => &mut self.deadline_ms,
            Limit::MemoryBytes => &mut self.memory_bytes,
            Limit::TableElements => &mut self.table_elements,
            Limit::Instances => &mut self.instances,
            Limit::LiveTensors => &mut self.live_tensors,
            Limit::DeviceBytes => &mut self.device_bytes,
            Limit::Operations => &mut self.operations,
            Limit::Work => &mut self.work,
            Limit::CopiedBytes => &mut self.copied_bytes,
            Limit::LogBytes => &mut self.log_bytes,
        }
    }
}

/// The `limits` table of one plugin: every value in force, and why some are above their defaults.
/// Nothing is raised without a reason; lowering needs none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The values.
    pub limits: Limits,
    /// Why the plugin needs more than it gets by default.
    pub reason: Option<Reason>,
}

impl Serialize for LimitsConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_map(None)?;
        for limit in Limit::ALL {
            table.serialize_entry(limit.key(), &self.limits.get(limit))?;
        }
        if let Some(reason) = &self.reason {
            table.serialize_entry(REASON, reason)?;
        }
        table.end()
    }
}

impl<'de> Deserialize<'de> for LimitsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

/// The key that is no limit.
const REASON: &str = "reason";

/// The keys of a `limits` table.
const KEYS: [&str; 12] = [
    "fuel",
    "deadline_ms",
    "memory_bytes",
    "table_elements",
    "instances",
    "live_tensors",
    "device_bytes",
    "operations",
    "work",
    "copied_bytes",
    "log_bytes",
    REASON,
];

/// Reads a `limits` table.
struct Table;

impl<'de> de::Visitor<'de> for Table {
    type Value = LimitsConfig;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of limits, with a reason when one is raised")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<LimitsConfig, A::Error> {
        let mut config = LimitsConfig::default();
        while let Some(key) = table.next_key::<String>()? {
            if key == REASON {
                config.reason = Some(table.next_value()?);
            } else if let Some(limit) = Limit::ALL.into_iter().find(|limit| limit.key() == key) {
                *config.limits.get_mut(limit) = table.next_value()?;
            } else {
                return Err(de::Error::unknown_field(&key, &KEYS));
            }
        }
        let usual = Limits::default();
        let raised = |limit: &Limit| config.limits.get(*limit) > usual.get(*limit);
        match (Limit::ALL.into_iter().find(raised), &config.reason) {
            (Some(limit), None) => Err(de::Error::custom(format!(
                "`{}` is raised to {} from {} without a reason (add `reason = \"why the plugin needs more\"` to the same table)",
                limit.key(),
                config.limits.get(limit),
                usual.get(limit)
            ))),
            _ => Ok(config),
        }
    }
}

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// [`Limits::fuel`]
    Fuel,
    /// [`Limits::deadline_ms`]
    DeadlineMs,
    /// [`Limits::memory_bytes`]
    MemoryBytes,
    /// [`Limits::table_elements`]
    TableElements,
    /// [`Limits::instances`]
    Instances,
    /// [`Limits::live_tensors`]
    LiveTensors,
    /// [`Limits::device_bytes`]
    DeviceBytes,
    /// [`Limits::operations`]
    Operations,
    /// [`Limits::work`]
    Work,
    /// [`Limits::copied_bytes`]
    CopiedBytes,
    /// [`Limits::log_bytes`]
    LogBytes,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 11] = [
        Self::Fuel,
        Self::DeadlineMs,
        Self::MemoryBytes,
        Self::TableElements,
        Self::Instances,
        Self::LiveTensors,
        Self::DeviceBytes,
        Self::Operations,
        Self::Work,
        Self::CopiedBytes,
        Self::LogBytes,
    ];

    /// The key in the `limits` table of an experiment.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::DeadlineMs => "deadline_ms",
            Self::MemoryBytes => "memory_bytes",
            Self::TableElements => "table_elements",
            Self::Instances => "instances",
            Self::LiveTensors => "live_tensors",
            Self::DeviceBytes => "device_bytes",
            Self::Operations => "operations",
            Self::Work => "work",
            Self::CopiedBytes => "copied_bytes",
            Self::LogBytes => "log_bytes",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Fuel => "instructions in one call",
            Self::DeadlineMs => "milliseconds in one call",
            Self::MemoryBytes => "bytes of memory",
            Self::TableElements => "elements of tables",
            Self::Instances => "core instances, memories or tables",
            Self::LiveTensors => "tensors at the same time",
            Self::DeviceBytes => "bytes of tensors in one call",
            Self::Operations => "tensor operations in one call",
            Self::Work => "elements and multiply-adds of tensor operations in one call",
            Self::CopiedBytes => "bytes handed over at once",
            Self::LogBytes => "bytes of messages in one call",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Fuel | Self::DeadlineMs => "unless it loops for ever",
            Self::MemoryBytes | Self::TableElements | Self::Instances => "if the plugin needs it",
            Self::LiveTensors => "or drop tensors earlier in the plugin",
            Self::Operations => "or let the plugin work on whole batches",
            Self::Work => "or let the plugin compute less",
            Self::CopiedBytes => "or let the plugin answer less",
            Self::DeviceBytes => "or let the plugin compute smaller tensors",
            Self::LogBytes => "or let the plugin say less",
        }
    }
}

/// A limit that a plugin reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which limit.
    pub limit: Limit,
    /// Its value.
    pub allowed: u64,
    /// What was asked for, if it was counted.
    pub wanted: Option<u64>,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            allowed,
            wanted,
        } = self;
        let (key, meaning) = (limit.key(), limit.meaning());
        write!(
            formatter,
            "the plugin reached its limit of {allowed} {meaning}"
        )?;
        if let Some(wanted) = wanted {
            write!(formatter, " by asking for {wanted}")?;
        }
        write!(
            formatter,
            " (raise `{key}` in the `limits` table of this plugin and give the `reason` there, {})",
            limit.advice()
        )
    }
}

impl std::error::Error for Breach {}

/// Counts what a store may take; a refusal is remembered, since the plugin sees only a failed
/// allocation and usually crashes later.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    memory_bytes: u64,
    table_elements: u64,
    refused: Option<Breach>,
}

impl Meter {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory_bytes: 0,
            table_elements: 0,
            refused: None,
        }
    }

    /// Bytes of all linear memories.
    pub(super) const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The last refusal since the last call of this function.
    pub(super) const fn take_refused(&mut self) -> Option<Breach> {
        self.refused.take()
    }

    const fn refuse(&mut self, limit: Limit, allowed: u64, wanted: u64) -> bool {
        self.refused = Some(Breach {
            limit,
            allowed,
            wanted: Some(wanted),
        });
        false
    }
}

impl wasmtime::ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A plugin may ask for any number of pages: a sum that wraps would forget what it has.
        let wanted = self.memory_bytes.saturating_add((desired - current) as u64);
        if wanted > self.limits.memory_bytes {
            return Ok(self.refuse(Limit::MemoryBytes, self.limits.memory_bytes, wanted));
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self
            .table_elements
            .saturating_add((desired - current) as u64);
        if wanted > self.limits.table_elements {
            return Ok(self.refuse(Limit::TableElements, self.limits.table_elements, wanted));
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances as usize
    }

    fn tables(&self) -> usize {
        self.limits.instances as usize
    }

    fn memories(&self) -> usize {
        self.limits.instances as usize
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter as _;

    use super::*;

    fn parse(text: &str) -> Result<LimitsConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn every_limit_has_its_key() {
        assert_eq!(Limit::ALL.map(Limit::key), KEYS[..11]);
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            let config = parse(&format!("{} = {place}", limit.key())).unwrap();
            assert_eq!(config.limits.get(limit), place as u64);
            let others = Limit::ALL.into_iter().filter(|other| *other != limit);
            for other in others {
                assert_eq!(config.limits.get(other), Limits::default().get(other));
            }
        }
    }

    #[test]
    fn raising_any_limit_needs_a_reason_and_lowering_none() {
        let usual = Limits::default();
        for limit in Limit::ALL {
            let (key, value) = (limit.key(), usual.get(limit));
            assert!(parse(&format!("{key} = {value}")).is_ok());
            assert!(parse(&format!("{key} = {}", value - 1)).is_ok());
            let error = parse(&format!("{key} = {}", value + 1)).unwrap_err();
            for phrase in [
                format!("`{key}` is raised to {} from {value}", value + 1),
                "add `reason = ".to_owned(),
            ] {
                assert!(error.contains(&phrase), "{error}");
            }
            let text = format!("{key} = {}\nreason = \"a large table\"\n", value + 1);
            let config = parse(&text).unwrap();
            assert_eq!(config.reason.as_ref().unwrap().as_str(), "a large table");
            let written = toml::to_string(&config).unwrap();
            assert_eq!(parse(&written).unwrap(), config);
            assert_eq!(written.lines().count(), 12, "{written}");
        }
        assert!(parse("reason = \"\"").unwrap_err().contains("no reason"));
        assert!(
            parse("fule = 5")
                .unwrap_err()
                .contains("unknown field `fule`")
        );
        assert!(parse("fuel = -5").is_err());
    }

    #[test]
    fn a_sum_beyond_all_numbers_is_refused_and_forgets_nothing() {
        let mut meter = Meter::new(Limits::default());
        let most = usize::MAX - 65_535;
        assert!(meter.memory_growing(0, 1 << 20, None).unwrap());
        assert!(!meter.memory_growing(1 << 17, most, None).unwrap());
        assert_eq!(meter.take_refused().unwrap().limit, Limit::MemoryBytes);
        assert!(meter.memory_growing(1 << 20, 16 << 20, None).unwrap());
        assert!(
            !meter
                .memory_growing(16 << 20, (16 << 20) + 1, None)
                .unwrap()
        );
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.table_growing(5, usize::MAX, None).unwrap());
        assert_eq!(meter.take_refused().unwrap().limit, Limit::TableElements);
        assert!(!meter.table_growing(10, 100_001, None).unwrap());
    }
}
