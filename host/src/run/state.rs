//! Where a run is, for whoever looks at its folder from outside: while it runs, after, and when files
//! of it are damaged. Nothing is written, and nothing but the folder is asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::file;

use super::{BEAT, LeaseRecord, Process, RunError, RunFolder, Unit};

/// Bytes that are read from the beginning and from the end of a log.
const PART: u64 = 128 * 1024;
/// How long a lease of another machine is watched: a holder that works changes it in that time.
const WATCHED: Duration = BEAT.saturating_add(Duration::from_secs(1));

/// The last that is known of a unit in training.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    /// The epoch, from 0.
    pub epoch: u32,
    /// Epochs of the unit.
    pub epochs: u32,
    /// Updates that are done.
    pub update: u64,
    /// Updates of the unit.
    pub updates: u64,
    /// The training loss of the last update; none before the first.
    pub loss: Option<f64>,
    /// The share of validation pictures classified rightly at the last evaluation.
    pub accuracy: Option<f64>,
    /// Pictures per second.
    pub pictures_per_second: Option<f64>,
    /// Seconds until the last update at that speed.
    pub seconds_left: Option<f64>,
    /// Pictures of an update.
    #[serde(skip)]
    pub batch: u64,
}

/// What became of a unit so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum UnitState {
    /// Its result is there.
    Finished {
        /// The share of validation pictures classified rightly; none where it was not measured.
        accuracy: Option<f64>,
        /// Cross-entropy over them; none likewise.
        loss: Option<f64>,
        /// Seconds that it took.
        seconds: f64,
    },
    /// A process works on it.
    Running {
        /// The process.
        #[serde(flatten)]
        holder: Process,
        /// Where it is.
        #[serde(flatten)]
        moment: Moment,
    },
    /// A process took it and changed nothing while it was watched: it sleeps, its machine is out of
    /// reach, or it ended there.
    Silent {
        /// The process.
        #[serde(flatten)]
        holder: Process,
        /// Where it was.
        #[serde(flatten)]
        moment: Moment,
    },
    /// It was begun, and no process works on it.
    Stopped {
        /// Updates in the newest checkpoint, with which it goes on; without one it begins again.
        checkpoint: Option<u64>,
        /// Where it was.
        #[serde(flatten)]
        moment: Moment,
    },
    /// Nothing of it is there.
    NotBegun,
    /// Its result cannot be read.
    Damaged {
        /// The file and what is wrong.
        reason: String,
    },
}

/// A unit and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitOverview {
    /// The unit.
    pub unit: String,
    /// What became of it.
    #[serde(flatten)]
    pub state: UnitState,
}

/// Every unit of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// The run folder.
    pub run: String,
    /// The experiment's name; none when the run's own files are damaged.
    pub experiment: Option<String>,
    /// The units, in order.
    pub units: Vec<UnitOverview>,
    /// Units that are finished.
    pub finished: usize,
    /// Seconds that those took.
    pub seconds: f64,
    /// What is wrong with the folder, one sentence each.
    pub problems: Vec<String>,
}

impl Overview {
    /// Looks at the run in `path`.
    ///
    /// # Errors
    /// When there is no run. Damage is no error but part of the answer.
    pub fn of(path: &Path) -> Result<Self, RunError> {
        let mut problems = Vec::new();
        let (experiment, names) = match RunFolder::open(path) {
            Ok(Some((_, experiment, record))) => {
                let modules = record.division.len();
                let mut units = Unit::of_run(modules, &experiment);
                let folder = path.join("units");
                let mut others = Unit::all(modules);
                others
                    .retain(|unit| !units.contains(unit) && folder.join(unit.to_string()).is_dir());
                units.extend(others);
                let names = units.iter().map(ToString::to_string).collect();
                (Some(experiment.name), names)
            }
            Err(error) if path.join("units").is_dir() => {
                problems.push(error.to_string());
                (None, folders(&path.join("units")))
            }
            Ok(None) | Err(RunError::NotARun { .. }) => {
                return Err(RunError::NoRun {
                    path: path.to_path_buf(),
                });
            }
            Err(error) => return Err(error),
        };
        let leases = Leases::of(path, &names);
        let units: Vec<UnitOverview> = names
            .into_iter()
            .map(|unit| UnitOverview {
                state: state(path, &unit, &leases, &mut problems),
                unit,
            })
            .collect();
        let done = units.iter().filter_map(|unit| match unit.state {
            UnitState::Finished { seconds, .. } => Some(seconds),
            _ => None,
        });
        Ok(Self {
            run: path.display().to_string(),
            experiment,
            finished: done.clone().count(),
            seconds: done.fold(0.0, |sum, seconds| sum + seconds),
            units,
            problems,
        })
    }
}

/// The leases of the units that are held, and whether their holders work.
struct Leases(BTreeMap<String, (LeaseRecord, bool)>);

impl Leases {
    /// Reads the leases; those of other machines are all watched at the same time.
    fn of(path: &Path, units: &[String]) -> Self {
        let read = |unit: &String| -> Option<LeaseRecord> {
            let file = path.join("units").join(unit).join(super::lease::LEASE);
            serde_json::from_slice(&file::read(&file, file::TEXT).ok()?).ok()
        };
        let mut leases: BTreeMap<String, (LeaseRecord, bool)> = units
            .iter()
            .filter_map(|unit| Some((unit.clone(), read(unit)?)))
            .filter(|(_, record)| !record.holder.is_gone())
            .map(|(unit, record)| (unit, (record.clone(), record.holder.is_awake())))
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < WATCHED && leases.values().any(|(_, works)| !works) {
            thread::sleep(Duration::from_millis(250));
            for (unit, (record, works)) in &mut leases {
                *works |= read(unit).is_none_or(|now| now != *record);
            }
        }
        // A lease that went away while it was looked at: the unit ended.
        leases.retain(|unit, _| read(unit).is_some());
        Self(leases)
    }
}

/// What became of one unit.
fn state(path: &Path, unit: &str, leases: &Leases, problems: &mut Vec<String>) -> UnitState {
    let folder = path.join("units").join(unit);
    let result = folder.join("result.json");
    if result.exists() {
        return match file::read(&result, file::TEXT)
            .map_err(|error| error.to_string())
            .and_then(|bytes| super::seal::opened::<super::UnitResult>(&bytes))
        {
            Ok(result) => UnitState::Finished {
                accuracy: Some(result.accuracy).filter(|number| !number.is_nan()),
                loss: Some(result.loss).filter(|number| !number.is_nan()),
                seconds: result.seconds,
            },
            Err(error) => {
                let reason = format!("`{}` cannot be read: {error}", result.display());
                problems.push(reason.clone());
                UnitState::Damaged { reason }
            }
        };
    }
    let log = folder.join("events.jsonl");
    let checkpoint = newest_checkpoint(&folder.join("checkpoints"));
    let lease = leases.0.get(unit);
    if !log.exists() && checkpoint.is_none() && lease.is_none() {
        return UnitState::NotBegun;
    }
    let mut moment = moment(&log).unwrap_or_else(|error| {
        problems.push(format!("`{}` cannot be read: {error}", log.display()));
        Moment::default()
    });
    if !lease.is_some_and(|(_, works)| *works) {
        moment.seconds_left = None;
    }
    match lease {
        Some((record, works)) => {
            let holder = record.holder.clone();
            if *works {
                UnitState::Running { holder, moment }
            } else {
                UnitState::Silent { holder, moment }
            }
        }
        None => UnitState::Stopped { checkpoint, moment },
    }
}

/// The names of the folders in a folder, sorted.
fn folders(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Updates in the newest checkpoint that is whole.
fn newest_checkpoint(path: &Path) -> Option<u64> {
    folders(path)
        .into_iter()
        .filter(|name| path.join(name).join("state.json").is_file())
        .filter_map(|name| name.parse().ok())
        .max()
}

/// Where a unit is, from the beginning and the end of its log.
fn moment(log: &Path) -> std::io::Result<Moment> {
    let mut moment = Moment::default();
    file::expect_ordinary_or_none(log)?;
    let mut file = match File::open(log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(moment),
        other => other?,
    };
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(PART).read_to_end(&mut head)?;
    for line in head.split(|byte| *byte == b'\n') {
        moment.hear(line);
    }
    if length > PART {
        file.seek(SeekFrom::Start(PART.max(length.saturating_sub(PART))))?;
        let mut tail = Vec::new();
        file.take(PART).read_to_end(&mut tail)?;
        for line in tail.split(|byte| *byte == b'\n') {
            moment.hear(line);
        }
    }
    Ok(moment)
}

impl Moment {
    /// Takes over what a line of the log says. The last line may be half written, and the first of
    /// the end half read; neither is JSON then.
    fn hear(&mut self, line: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Value>(line) else {
            return;
        };
        let number = |name: &str| event[name].as_f64();
        let whole = |name: &str| event[name].as_u64().unwrap_or_default();
        let epoch = u32::try_from(whole("epoch")).unwrap_or_default();
        match event["event"].as_str() {
            Some("unit-started") => {
                *self = Self {
                    epochs: u32::try_from(whole("epochs")).unwrap_or_default(),
                    updates: whole("updates"),
                    batch: whole("batch"),
                    ..Self::default()
                }
            }
            Some("update") => self.updated(
                epoch,
                whole("update"),
                number("loss").unwrap_or(f64::NAN),
                number("pictures_per_second").unwrap_or_default(),
            ),
            Some("evaluated") => self.accuracy = number("accuracy"),
            _ => {}
        }
    }

    /// Takes over an update: its number from 0, its loss, and the speed.
    pub fn updated(&mut self, epoch: u32, update: u64, loss: f64, pictures_per_second: f64) {
        self.epoch = epoch;
        self.update = update + 1;
        self.loss = Some(loss).filter(|loss| loss.is_finite());
        let speed = Some(pictures_per_second).filter(|speed| speed.is_finite() && *speed > 0.0);
        self.pictures_per_second = speed;
        let left = self.updates.saturating_sub(self.update) * self.batch;
        self.seconds_left = speed.map(|speed| left as f64 / speed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_of_a_long_log_count() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("events.jsonl");
        let mut text =
            "{\"event\":\"unit-started\",\"epochs\":3,\"updates\":9000,\"batch\":10}\n".to_owned();
        for update in 0..5000 {
            text += &format!(
                "{{\"event\":\"update\",\"epoch\":1,\"update\":{update},\"loss\":0.5,\"pictures_per_second\":20.0}}\n"
            );
        }
        text += "{\"event\":\"update\",\"epoch\":2,\"upd";
        assert!(text.len() as u64 > 2 * PART);
        fs::write(&log, text).unwrap();
        let moment = moment(&log).unwrap();
        assert_eq!((moment.epoch, moment.epochs), (1, 3));
        assert_eq!((moment.update, moment.updates), (5000, 9000));
        assert_eq!(moment.seconds_left, Some(2000.0));
    }

    #[test]
    fn only_whole_checkpoints_count() {
        let folder = tempfile::tempdir().unwrap();
        for (name, whole) in [
            ("0000000008", true),
            ("0000000012", false),
            ("rubbish", true),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            if whole {
                fs::write(folder.path().join(name).join("state.json"), "{}").unwrap();
            }
        }
        assert_eq!(newest_checkpoint(folder.path()), Some(8));
        assert_eq!(newest_checkpoint(&folder.path().join("nothing")), None);
    }
}
