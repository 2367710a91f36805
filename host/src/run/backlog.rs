//! Which units can begin, where several are done at the same time: those whose needs are finished.

use super::Unit;

/// Units that are still to be begun, in their order, each with what it waits for.
#[derive(Clone, Debug)]
pub struct Backlog(Vec<(Unit, Vec<Unit>)>);

impl Backlog {
    /// A backlog of `units`; `needed` are the units that each waits for, without those that are
    /// finished.
    ///
    /// # Errors
    /// The first unit that waits for one that is not among `units`, with that one.
    pub fn new(
        units: &[Unit],
        mut needed: impl FnMut(Unit) -> Vec<Unit>,
    ) -> Result<Self, (Unit, Unit)> {
        let mut waiting: Vec<(Unit, Vec<Unit>)> = Vec::new();
        for unit in units {
            if waiting.iter().any(|(known, _)| known == unit) {
                continue;
            }
            let needed = needed(*unit);
            if let Some(missing) = needed.iter().find(|needed| !units.contains(needed)) {
                return Err((*unit, *missing));
            }
            waiting.push((*unit, needed));
        }
        Ok(Self(waiting))
    }

    /// The units that can begin now, in order.
    pub fn ready(&self) -> Vec<Unit> {
        let ready = self.0.iter().filter(|(_, needed)| needed.is_empty());
        ready.map(|(unit, _)| *unit).collect()
    }

    /// Whether every unit has begun.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A unit has begun.
    pub fn begin(&mut self, unit: Unit) {
        self.0.retain(|(waiting, _)| *waiting != unit);
    }

    /// A unit is finished: what waited for it alone is ready.
    pub fn finish(&mut self, unit: Unit) {
        for (_, needed) in &mut self.0 {
            needed.retain(|needed| *needed != unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load;
    use crate::phase::Phase;

    fn named(names: &[&str]) -> Vec<Unit> {
        let unit = |name: &&str| Unit::parse(name, 3).unwrap();
        names.iter().map(unit).collect()
    }

    /// The backlog of these units, when some others are finished.
    fn backlog(units: &[&str], finished: &[&str]) -> Result<Backlog, (Unit, Unit)> {
        let experiment = load(Some("digits"), &[]).unwrap().experiment;
        let finished = named(finished);
        Backlog::new(&named(units), |unit| {
            let mut needed = unit.dependencies(3, &experiment);
            needed.retain(|needed| !finished.contains(needed));
            needed
        })
    }

    #[test]
    fn units_begin_when_what_they_need_is_finished() {
        let mut backlog = backlog(
            &[
                "meta",
                "module.0",
                "module.1",
                "module.2",
                "assemble",
                "fine-tune",
                "baseline",
            ],
            &[],
        )
        .unwrap();
        let begin = |backlog: &mut Backlog, names: &[&str]| {
            assert_eq!(backlog.ready(), named(names));
            backlog
                .ready()
                .into_iter()
                .for_each(|unit| backlog.begin(unit));
            assert!(backlog.ready().is_empty());
        };
        begin(&mut backlog, &["meta", "baseline"]);
        backlog.finish(Unit::Train(Phase::Baseline));
        begin(&mut backlog, &[]);
        backlog.finish(Unit::Train(Phase::Meta));
        begin(&mut backlog, &["module.0", "module.1", "module.2"]);
        for module in [1, 0] {
            backlog.finish(Unit::Train(Phase::Module(module)));
            begin(&mut backlog, &[]);
        }
        backlog.finish(Unit::Train(Phase::Module(2)));
        begin(&mut backlog, &["assemble"]);
        backlog.finish(Unit::Assemble);
        begin(&mut backlog, &["fine-tune"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |unit: &str, needed: &str| Some((named(&[unit])[0], named(&[needed])[0]));
        let error = |units: &[&str], finished: &[&str]| backlog(units, finished).err();
        assert_eq!(
            error(&["baseline", "module.1"], &[]),
            missing("module.1", "meta")
        );
        assert_eq!(error(&["baseline", "module.1"], &["meta"]), None);
        // Their order does not matter, nor that one is named twice.
        assert_eq!(error(&["module.1", "meta", "module.1"], &[]), None);
        let most = ["module.0", "module.2"];
        assert_eq!(
            error(&["fine-tune", "assemble"], &most),
            missing("assemble", "module.1")
        );
    }

    #[test]
    fn a_unit_that_is_named_twice_begins_once() {
        let backlog = backlog(&["baseline", "meta", "baseline"], &[]).unwrap();
        assert_eq!(backlog.ready(), named(&["baseline", "meta"]));
    }
}
