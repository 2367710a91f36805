//! The laws of learning-rate schedules, over phases of many lengths.

use super::report::{Check, Finding, Law, Verdict};
use super::state::foreign_states;
use super::subject::{Failure, Subject, Watched, said};
use crate::optimizer::Group as ParameterGroup;
use crate::phase::Phase;
use crate::plugin::{Group, Hook, Moment, PluginError, Schedule, Stepping};

const RATES: Law = Law {
    id: "rates",
    says: "a rate is a finite number and not negative, from the first update to the last",
};

const SAME: Law = Law {
    id: "same-rate",
    says: "the same moment has the same rate when it is asked for again",
};

const EVERY: Law = Law {
    id: "every-moment",
    says: "a phase that has a first rate has all of them, and no evaluation is a crash",
};

const RESUME: Law = Law {
    id: "resume",
    says: "a new instance that gets the saved state goes on with the same rates, from every point",
};

/// The phase in which the plugin is started where any will do.
pub(super) const PHASE: Phase = Phase::Module(1);

/// Epochs of a phase and updates of an epoch.
const LENGTHS: [(u32, u64); 10] = [
    (1, 1),
    (1, 7),
    (2, 1),
    (2, 5),
    (5, 3),
    (12, 3),
    (10, 40),
    (30, 2),
    (100, 1),
    (300, 2),
];

/// Base rates, the first of which is usual.
const BASE_RATES: [f64; 4] = [1e-3, 0.0, 1.0, 1e-8];

const PHASES: [Phase; 4] = [Phase::Meta, PHASE, Phase::FineTune, Phase::Baseline];

/// Lengths of the phases that are resumed at every point.
const RESUMED: [(u32, u64); 3] = [(1, 3), (8, 1), (12, 3)];

/// Crashes after which nothing more is learnt.
const CRASHES: u64 = 4;

/// One phase of training.
#[derive(Clone, Copy, Debug)]
struct Span {
    phase: Phase,
    epochs: u32,
    updates_per_epoch: u64,
    base_rate: f64,
}

/// What an experiment asks or tells the schedule, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// The rate of a group before an update.
    Ask { update: u64, group: usize },
    /// The result of an evaluation after an update.
    Tell { update: u64, loss: f64 },
}

/// How the validation loss moves.
#[derive(Clone, Copy, Debug)]
enum Progress {
    Improving,
    Worsening,
    Wavering,
}

impl Progress {
    const ALL: [Self; 3] = [Self::Improving, Self::Worsening, Self::Wavering];

    const fn name(self) -> &'static str {
        match self {
            Self::Improving => "a falling loss",
            Self::Worsening => "a rising loss",
            Self::Wavering => "a loss that rises and falls",
        }
    }

    fn loss(self, epoch: u64) -> f64 {
        let epoch = epoch as f64;
        match self {
            Self::Improving => 2.0 / (1.0 + epoch),
            Self::Worsening => 1.0 + 0.1 * epoch,
            Self::Wavering => 1.0 - 0.02 * epoch + 0.3 * (2.0 * epoch).sin(),
        }
    }
}

impl Span {
    fn updates(&self) -> u64 {
        u64::from(self.epochs) * self.updates_per_epoch
    }

    /// The moment before `update`, for a group.
    fn moment(&self, update: u64, group: usize) -> Moment<'static> {
        Moment {
            update,
            updates: self.updates(),
            epoch: update as f64 / self.updates_per_epoch as f64,
            epochs: self.epochs,
            base_rate: self.base_rate,
            group: Group {
                name: ParameterGroup::ALL[group].name(),
                index: group as u32,
            },
        }
    }

    /// Everything that an experiment says during this phase.
    fn events(&self, stepping: Stepping, progress: Progress) -> Vec<Event> {
        let mut events = Vec::new();
        for update in 0..self.updates() {
            if stepping == Stepping::PerUpdate || update.is_multiple_of(self.updates_per_epoch) {
                events.extend(
                    (0..ParameterGroup::ALL.len()).map(|group| Event::Ask { update, group }),
                );
            }
            let done = update + 1;
            if done.is_multiple_of(self.updates_per_epoch) {
                events.push(Event::Tell {
                    update: done,
                    loss: progress.loss(done / self.updates_per_epoch),
                });
            }
        }
        events
    }

    fn name(&self) -> String {
        format!(
            "phase {}, {} epochs of {} updates, base rate {:?}",
            self.phase, self.epochs, self.updates_per_epoch, self.base_rate
        )
    }

    fn at(&self, event: Event) -> String {
        match event {
            Event::Ask { update, group } => format!(
                "{}, update {update}, group `{}`",
                self.name(),
                ParameterGroup::ALL[group].name()
            ),
            Event::Tell { update, loss } => format!(
                "{}, evaluation after {update} updates with loss {loss:?}",
                self.name()
            ),
        }
    }
}

/// Does what the experiment does; the answer is the rate that was asked for.
fn say(
    schedule: &mut Watched<'_, Schedule>,
    span: &Span,
    event: Event,
) -> Result<Option<f64>, PluginError> {
    match event {
        Event::Ask { update, group } => {
            let moment = span.moment(update, group);
            schedule
                .call(Hook::Rate, |schedule| schedule.rate(&moment))
                .map(Some)
        }
        Event::Tell { update, loss } => {
            let moment = Moment {
                group: Group { name: "", index: 0 },
                ..span.moment(update, 0)
            };
            let metrics = [("loss", loss), ("accuracy", 1.0 / (1.0 + loss.abs()))];
            schedule
                .call(Hook::Observe, |schedule| {
                    schedule.observe(&moment, &metrics)
                })
                .map(|()| None)
        }
    }
}

/// Checks the laws.
pub(super) fn laws(subject: &Subject) -> Vec<Check> {
    let mut checks = moments(subject);
    checks.push(resume(subject));
    checks.push(foreign(subject));
    checks
}

/// Asks for a few usual rates.
pub(super) fn usual(subject: &Subject) -> Result<(), PluginError> {
    realistic(subject)
}

/// Goes through a phase as it is trained.
pub(super) fn realistic(subject: &Subject) -> Result<(), PluginError> {
    let mut schedule = subject.schedule(PHASE)?;
    let span = Span {
        phase: PHASE,
        epochs: 10,
        updates_per_epoch: 4,
        base_rate: BASE_RATES[0],
    };
    for event in span.events(schedule.inner.stepping(), Progress::Improving) {
        say(&mut schedule, &span, event)?;
    }
    schedule.save().map(drop)
}

/// What was asked for and found over all phases.
struct Moments {
    rates: Verdict,
    same: Verdict,
    every: Verdict,
    asked: u64,
    refused: u64,
    refusal: Option<String>,
}

/// Goes through phases of all lengths.
fn moments(subject: &Subject) -> Vec<Check> {
    let mut found = Moments {
        rates: Verdict::new(RATES),
        same: Verdict::new(SAME),
        every: Verdict::new(EVERY),
        asked: 0,
        refused: 0,
        refusal: None,
    };
    let mut phases = 0_u64;
    let budget = subject.budget();
    for (row, (epochs, updates_per_epoch)) in LENGTHS.into_iter().enumerate() {
        for (column, phase) in PHASES.into_iter().enumerate() {
            if found.every.broken() >= CRASHES || !budget.lasts() {
                break;
            }
            phases += 1;
            let span = Span {
                phase,
                epochs,
                updates_per_epoch,
                base_rate: BASE_RATES[(row + column) % BASE_RATES.len()],
            };
            found.go_through(subject, &span);
        }
    }
    found.lose(subject);
    let Moments {
        mut rates,
        same,
        every,
        asked,
        refused,
        refusal,
    } = found;
    if refused == phases {
        rates.warn(Finding::new(
            "every phase",
            "a rate in some of them",
            refusal.unwrap_or_else(|| "nothing".to_owned()),
        ));
    }
    vec![
        rates.finish(format!(
            "rates: {asked}, phases: {phases}, refused: {refused}"
        )),
        same.finish("every rate was asked for twice".to_owned()),
        every.finish(
            "1 to 600 updates in 1 to 300 epochs, and evaluations without a usable loss".to_owned(),
        ),
    ]
}

impl Moments {
    /// Goes through one phase with an improving loss.
    fn go_through(&mut self, subject: &Subject, span: &Span) {
        let mut schedule = match subject.schedule(span.phase) {
            Ok(schedule) => schedule,
            Err(error) => {
                self.every
                    .fail(Finding::new(span.name(), "a start", said(&error)));
                return;
            }
        };
        let events = span.events(schedule.inner.stepping(), Progress::Improving);
        for (index, event) in events.into_iter().enumerate() {
            let first = say(&mut schedule, span, event);
            match &first {
                Ok(Some(_)) => self.asked += 1,
                Ok(None) => continue,
                Err(error) => match Failure::of(error) {
                    // A wrong rate breaks one law alone; the plugin goes on.
                    Failure::WrongAnswer => {
                        self.asked += 1;
                        self.rates.fail(Finding::new(
                            span.at(event),
                            "a finite rate that is not negative",
                            error.kind.to_string(),
                        ));
                        continue;
                    }
                    Failure::Fault if index == 0 => {
                        self.refused += 1;
                        self.refusal.get_or_insert_with(|| said(error));
                        return;
                    }
                    _ => {
                        let expected = match event {
                            Event::Ask { .. } => "a rate, since the first update has one",
                            Event::Tell { .. } => "nothing",
                        };
                        self.every
                            .fail(Finding::new(span.at(event), expected, said(error)));
                        return;
                    }
                },
            }
            let again = say(&mut schedule, span, event);
            if bits(&first) != bits(&again) {
                self.same.fail(Finding::new(
                    format!("{}, asked again", span.at(event)),
                    words(&first),
                    words(&again),
                ));
            }
        }
    }

    /// Tells of evaluations in which the network was lost, and asks for a rate after them.
    fn lose(&mut self, subject: &Subject) {
        let span = Span {
            phase: PHASE,
            epochs: 12,
            updates_per_epoch: 3,
            base_rate: BASE_RATES[0],
        };
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MAX] {
            let Ok(mut schedule) = subject.schedule(PHASE) else {
                return;
            };
            if say(
                &mut schedule,
                &span,
                Event::Ask {
                    update: 0,
                    group: 0,
                },
            )
            .is_err()
            {
                return;
            }
            for update in [3, 6, 9, 12] {
                let told = Event::Tell { update, loss };
                let asked = Event::Ask { update, group: 0 };
                for event in [told, asked] {
                    let Err(error) = say(&mut schedule, &span, event) else {
                        continue;
                    };
                    let at = match event {
                        Event::Tell { .. } => span.at(event),
                        Event::Ask { .. } => format!("{}, after the loss {loss:?}", span.at(event)),
                    };
                    match Failure::of(&error) {
                        Failure::Fault => {}
                        Failure::WrongAnswer => self.rates.fail(Finding::new(
                            at,
                            "a finite rate that is not negative",
                            error.kind.to_string(),
                        )),
                        Failure::Crash | Failure::Silent => {
                            self.every
                                .fail(Finding::new(at, "nothing, or a fault", said(&error)));
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn bits(rate: &Result<Option<f64>, PluginError>) -> Option<u64> {
    rate.as_ref().ok().copied().flatten().map(f64::to_bits)
}

fn words(rate: &Result<Option<f64>, PluginError>) -> String {
    match rate {
        Ok(Some(rate)) => format!("{rate:?}"),
        Ok(None) => "nothing".to_owned(),
        Err(error) => said(error),
    }
}

/// Interrupts phases at every point, and goes on in a new instance.
fn resume(subject: &Subject) -> Check {
    let mut verdict = Verdict::new(RESUME);
    let (mut points, mut bytes) = (0_u64, 0);
    let budget = subject.budget();
    for (epochs, updates_per_epoch) in RESUMED {
        for (progress, phase) in Progress::ALL.into_iter().zip(PHASES) {
            let span = Span {
                phase,
                epochs,
                updates_per_epoch,
                base_rate: BASE_RATES[0],
            };
            let Some(whole) = Whole::run(subject, span, progress, &mut verdict) else {
                continue;
            };
            for point in 0..whole.states.len() {
                if !budget.lasts() {
                    break;
                }
                points += 1;
                bytes = bytes.max(whole.states[point].len());
                if let Err(finding) = whole.resume(subject, point) {
                    verdict.fail(finding);
                    break;
                }
            }
        }
    }
    if points == 0 && verdict.broken() == 0 {
        return Verdict::not_applicable(RESUME, "no phase went through to its end");
    }
    verdict.finish(format!(
        "interruptions: {points}, bytes saved: at most {bytes}"
    ))
}

/// A phase without interruption.
struct Whole {
    span: Span,
    progress: Progress,
    events: Vec<Event>,
    /// The state before every event, and after the last.
    states: Vec<Vec<u8>>,
    rates: Vec<Option<f64>>,
}

impl Whole {
    /// Goes through the phase; `None` if that is not possible, which other laws are about.
    fn run(
        subject: &Subject,
        span: Span,
        progress: Progress,
        verdict: &mut Verdict,
    ) -> Option<Self> {
        let mut schedule = subject.schedule(span.phase).ok()?;
        let events = span.events(schedule.inner.stepping(), progress);
        let (mut states, mut rates) = (Vec::new(), Vec::new());
        for &event in &events {
            match schedule.save() {
                Ok(state) => states.push(state),
                Err(error) => {
                    verdict.fail(Finding::new(
                        format!("saving before {}", span.at(event)),
                        "a state",
                        said(&error),
                    ));
                    return None;
                }
            }
            rates.push(say(&mut schedule, &span, event).ok()?);
        }
        states.push(schedule.save().ok()?);
        Some(Self {
            span,
            progress,
            events,
            states,
            rates,
        })
    }

    /// Restores the state before event `point` and compares everything after it.
    fn resume(&self, subject: &Subject, point: usize) -> Result<(), Finding> {
        let at = || {
            let place = self.events.get(point).map_or_else(
                || format!("{}, after its end", self.span.name()),
                |&event| self.span.at(event),
            );
            format!("{place}, with {}, resumed there", self.progress.name())
        };
        let failed =
            |expected: &str, error: &PluginError| Err(Finding::new(at(), expected, said(error)));
        let mut schedule = match subject.schedule(self.span.phase) {
            Ok(schedule) => schedule,
            Err(error) => return failed("a start", &error),
        };
        if let Err(error) = schedule.restore(&self.states[point]) {
            return failed("that it accepts the state that it saved", &error);
        }
        for (index, &event) in self.events.iter().enumerate().skip(point) {
            let rate = match say(&mut schedule, &self.span, event) {
                Ok(rate) => rate,
                Err(error) => return failed("the same as without interruption", &error),
            };
            if rate.map(f64::to_bits) != self.rates[index].map(f64::to_bits) {
                return Err(Finding::new(
                    format!("{}; {}", at(), self.span.at(event)),
                    format!("the rate {:?}, as without interruption", self.rates[index]),
                    format!("{rate:?}"),
                ));
            }
        }
        match schedule.save() {
            Ok(state) if Some(&state) == self.states.last() => Ok(()),
            Ok(state) => Err(Finding::new(
                format!("{}, saved at the end", at()),
                super::numbers::list(self.states.last().map_or(&[], Vec::as_slice)),
                super::numbers::list(&state),
            )),
            Err(error) => failed("a state at the end", &error),
        }
    }
}

/// Restores what the schedule did not save.
fn foreign(subject: &Subject) -> Check {
    let span = Span {
        phase: PHASE,
        epochs: 8,
        updates_per_epoch: 1,
        base_rate: BASE_RATES[0],
    };
    let mut ignored = Verdict::new(RESUME);
    let whole = Whole::run(subject, span, Progress::Wavering, &mut ignored);
    let saved = whole.and_then(|whole| whole.states.last().cloned());
    foreign_states(
        &saved.unwrap_or_default(),
        || subject.schedule(PHASE),
        |mut schedule| {
            for event in span.events(schedule.inner.stepping(), Progress::Wavering) {
                say(&mut schedule, &span, event)?;
            }
            Ok(())
        },
    )
}
