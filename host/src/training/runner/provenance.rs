//! What results and files of weights say about what made them.

use std::collections::BTreeMap;

use super::Runner;
use crate::data::Part;
use crate::event::{Event, Observer};
use crate::model::Network;
use crate::run::{LeftOutCount, Unit, UnitResult};
use crate::training::Score;

impl Runner {
    /// A result without the length, the compute, and the digest.
    pub(super) fn result(
        &self,
        unit: Unit,
        network: &Network,
        score: Score,
        built_from: BTreeMap<String, String>,
    ) -> UnitResult {
        UnitResult {
            unit: unit.to_string(),
            device: self.device.name.clone(),
            loss: score.loss,
            accuracy: score.accuracy,
            top5: Some(score.top5),
            parameters: network.parameter_count(),
            trained_parameters: network.trained_parameter_count(),
            epochs: 0,
            updates: 0,
            pictures: 0,
            forward_macs: 0,
            backward_macs: 0,
            seconds: 0.0,
            weights_sha256: String::new(),
            built_from,
            fallbacks: Vec::new(),
            roll_backs: Vec::new(),
            left_out: self.left_out(),
            changed: false,
            imported: None,
        }
    }

    /// How many pictures of this run cannot be decoded and are left out.
    pub(super) fn left_out(&self) -> LeftOutCount {
        let left_out = &self.prepared.resolved.dataset.left_out;
        let count = |part| left_out.iter().filter(|one| one.part == part).count();
        LeftOutCount {
            train: count(Part::Train),
            validation: count(Part::Validation),
        }
    }

    /// Says which pictures are left out, if some are.
    pub(super) fn tell_left_out(&self, observer: &mut dyn Observer) -> std::io::Result<()> {
        let LeftOutCount { train, validation } = self.left_out();
        let pictures = self.prepared.resolved.dataset.left_out_names();
        if pictures.is_empty() {
            return Ok(());
        }
        observer.observe(&Event::PicturesLeftOut {
            train,
            validation,
            pictures,
        })
    }

    /// What a file of weights says about what made it.
    pub(super) fn metadata(
        &self,
        unit: Unit,
        network: &Network,
        result: &UnitResult,
    ) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            (
                "incubate.version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
            (
                "incubate.experiment".to_owned(),
                self.prepared.experiment().name.clone(),
            ),
            ("incubate.unit".to_owned(), result.unit.clone()),
            (
                "incubate.seed".to_owned(),
                self.prepared.experiment().seed.to_string(),
            ),
            ("incubate.accuracy".to_owned(), result.accuracy.to_string()),
            ("incubate.loss".to_owned(), result.loss.to_string()),
            (
                "incubate.data_sha256".to_owned(),
                self.prepared.resolved.dataset.digest.clone(),
            ),
            ("incubate.division".to_owned(), json(&self.division)),
            (
                "incubate.model".to_owned(),
                json(&unit.architecture(self.prepared.experiment())),
            ),
            ("incubate.depths".to_owned(), json(&network.depths())),
            ("incubate.built_from".to_owned(), json(&result.built_from)),
        ]);
        if !self.prepared.experiment().reference.is_empty() {
            let reference = json(&self.prepared.experiment().reference);
            metadata.insert("incubate.reference".to_owned(), reference);
        }
        if let Some(imported) = &result.imported {
            metadata.insert("incubate.imported".to_owned(), json(imported));
        }
        for (role, plugin) in self.prepared.records() {
            metadata.insert(
                format!("incubate.plugin.{role}"),
                format!(
                    "{}@{} sha256:{}",
                    plugin.name, plugin.version, plugin.sha256
                ),
            );
        }
        metadata
    }
}

/// A value as JSON; plain data always has one.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
