//! Whether what frozen stages make of pictures that come back is computed once and kept.

use serde::{Deserialize, Serialize};

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// The most that may be asked for: a million GiB.
const GIB_MAX: f64 = 1_048_576.0;

/// Where the features of frozen stages come from; it changes no number of what is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesConfig {
    /// Whether they are kept.
    pub cache: FeatureCache,
    /// The most GiB on disk that a unit takes for them while it is trained.
    pub cache_gib: f64,
}

/// Whether the features of frozen stages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureCache {
    /// Where pictures come back as they were, and there is room.
    #[default]
    Auto,
    /// Never: frozen stages run at every update.
    Off,
}

impl Default for FeaturesConfig {
    fn default() -> Self {
        Self {
            cache: FeatureCache::Auto,
            cache_gib: 8.0,
        }
    }
}

impl FeaturesConfig {
    /// The most bytes that a unit takes.
    pub fn bytes(self) -> u64 {
        (self.cache_gib * GIB) as u64
    }

    /// Whether the bound can be meant.
    pub(super) fn has_bound(self) -> bool {
        (0.0..=GIB_MAX).contains(&self.cache_gib)
    }
}
