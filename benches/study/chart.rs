//! Accuracy over compute, and over the longest chain, one pair of charts for each setting.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::cell::{Outcome, Point};
use crate::design::{Method, Setting, name, title};

/// Size of one chart in pixels.
const CHART: (u32, u32) = (460, 300);

/// A colour for each way to train.
const COLOURS: [RGBColor; Method::ALL.len()] = [
    RGBColor(90, 90, 90),
    RGBColor(200, 60, 40),
    RGBColor(220, 160, 30),
    RGBColor(30, 100, 190),
    RGBColor(40, 150, 80),
    RGBColor(150, 80, 170),
    RGBColor(90, 190, 210),
    RGBColor(120, 120, 220),
    RGBColor(160, 110, 60),
];

/// How far along the horizontal axis an evaluation stands.
type Along = fn(&Point) -> f64;

/// Draws every setting; one line for each seed and way to train.
pub(crate) fn draw(settings: &BTreeMap<Setting, Vec<&Outcome>>, file: &Path) -> Result<()> {
    let rows = settings.len();
    let size = (2 * CHART.0, CHART.1 * rows as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (pair, (setting, outcomes)) in root.split_evenly((rows, 1)).iter().zip(settings) {
        let areas = pair.split_evenly((1, 2));
        let sides: [(&str, Along); 2] = [
            ("compute", |point| point.macs),
            ("longest chain", |point| point.chain_macs),
        ];
        for (area, (along, macs)) in areas.iter().zip(sides) {
            one(area, &title(*setting), along, outcomes, macs).map_err(|error| failed(&error))?;
        }
    }
    root.present().map_err(|error| failed(&error))
}

fn one<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    title: &str,
    along: &str,
    outcomes: &[&Outcome],
    macs: Along,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let points = || outcomes.iter().flat_map(|outcome| &outcome.curve);
    let longest = points().map(macs).fold(0.0, f64::max);
    let accuracies = || points().map(|point| 100.0 * point.accuracy);
    let best = accuracies().fold(0.0, f64::max);
    let worst = accuracies().fold(100.0, f64::min).max(best - 40.0);
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("{title}: accuracy (%) over {along}"),
            ("sans-serif", 14),
        )
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(36)
        .build_cartesian_2d(0.0..longest / 1e12, worst..best + 1.0)?;
    chart
        .configure_mesh()
        .x_desc("10¹² multiply-accumulate operations")
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (method, colour) in Method::ALL.into_iter().zip(COLOURS) {
        let mut same = outcomes
            .iter()
            .filter(|outcome| outcome.cell.method == method)
            .peekable();
        let present = same.peek().is_some();
        for (index, outcome) in same.enumerate() {
            let line = outcome
                .curve
                .iter()
                .map(|point| (macs(point) / 1e12, 100.0 * point.accuracy));
            let drawn = chart.draw_series(LineSeries::new(line, colour.stroke_width(1)))?;
            if index == 0 && present {
                drawn.label(name(&method)).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(TRANSPARENT)
        .draw()
}
