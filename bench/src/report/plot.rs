//! Results as plots. They are SVG, so that the machine that draws them needs no font.

use std::{io, path::Path};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::Results;
use crate::{
    scenario::{Metric, SCENARIOS, Scenario},
    server::Kind,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Bars, with a group for each scenario and a bar for each server.
struct Bars {
    file: &'static str,
    title: &'static str,
    scenarios: &'static [&'static str],
    metric: Metric,
    /// Draws ratios to this server instead of values.
    to: Option<Kind>,
}

/// A line for each server, which shows what a delivery costs as something grows.
struct Lines {
    file: &'static str,
    title: &'static str,
    of: &'static str,
    points: &'static [(f64, &'static str)],
}

const BARS: &[Bars] = &[
    Bars {
        file: "cpu.svg",
        title: "CPU per delivery, as a part of axum Sse + broadcast (less is better)",
        scenarios: &[
            "fanout-1k",
            "fanout-10k",
            "burst-1k",
            "channels-1k",
            "channels-1k-at-once",
            "replay-1k",
            "merged-10",
        ],
        metric: Metric::CpuPerDelivery,
        to: Some(Kind::AxumBroadcast),
    },
    Bars {
        file: "throughput.svg",
        title: "Deliveries per second, saturated, two cores (more is better)",
        scenarios: &["saturated-1k", "saturated-10k", "saturated-10k-64"],
        metric: Metric::DeliveriesPerSecond,
        to: None,
    },
    Bars {
        file: "memory.svg",
        title: "Bytes for an idle connection (less is better)",
        scenarios: &["idle-10k"],
        metric: Metric::BytesPerConnection,
        to: None,
    },
    Bars {
        file: "latency.svg",
        title: "Milliseconds to the last reader, median, two cores (less is better)",
        scenarios: &["rate-1k", "rate-10k"],
        metric: Metric::LatencyOfLast,
        to: None,
    },
];

const LINES: &[Lines] = &[
    Lines {
        file: "readers.svg",
        title: "µs of CPU per delivery, one event at a time",
        of: "readers of the channel",
        points: &[(10.0, "fanout-10"), (100.0, "fanout-100"), (1e3, "fanout-1k"), (1e4, "fanout-10k")],
    },
    Lines {
        file: "channels.svg",
        title: "µs of CPU per delivery, one event in flight",
        of: "channels, one reader each",
        points: &[(10.0, "channels-10"), (1e3, "channels-1k"), (1e4, "channels-10k")],
    },
    Lines {
        file: "merged.svg",
        title: "µs of CPU per delivery, one event at a time to 100 readers",
        of: "channels on each connection",
        points: &[(1.0, "merged-1"), (10.0, "merged-10"), (100.0, "merged-100")],
    },
    Lines {
        file: "history.svg",
        title: "µs of CPU per delivery, one event at a time to 1,000 readers",
        of: "events held",
        points: &[(1e3, "history-1k"), (1e4, "history-10k"), (1e5, "history-100k")],
    },
];

const BAR: i32 = 15;
const LEFT: i32 = 330;
const WIDTH: i32 = 960;

/// Draws every plot that has results.
pub fn all(results: &Results, out: &Path) -> io::Result<()> {
    for bars in BARS {
        let groups = groups(results, bars);
        if !groups.is_empty() {
            draw_bars(&out.join(bars.file), bars, &groups).map_err(io::Error::other)?;
        }
    }
    for lines in LINES {
        let series = series(results, lines);
        if series.iter().any(|(_, points)| points.len() > 1) {
            draw_lines(&out.join(lines.file), lines, &series).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

type Group = (&'static Scenario, Vec<(Kind, f64)>);

fn groups(results: &Results, bars: &Bars) -> Vec<Group> {
    let value = |scenario: &Scenario, kind: Kind| {
        let cell = match bars.to {
            Some(to) if kind == to => return results.cell(scenario, bars.metric, kind).map(|_| 1.0),
            Some(to) => results.ratio(scenario, bars.metric, kind, to),
            None => results.cell(scenario, bars.metric, kind),
        };
        cell.map(|cell| cell.median)
    };
    let group = |scenario: &'static Scenario| {
        let servers = Kind::ALL.into_iter().filter_map(|kind| Some((kind, value(scenario, kind)?))).collect();
        (scenario, servers)
    };
    let groups = bars.scenarios.iter().filter_map(|name| named(name)).map(group);
    groups.filter(|(_, servers): &Group| !servers.is_empty()).collect()
}

fn draw_bars<'a>(file: &'a Path, bars: &Bars, groups: &[Group]) -> Drawn<'a> {
    let rows = groups.iter().map(|(_, servers)| servers.len() as i32 * BAR + 14).sum::<i32>();
    let size = (WIDTH as u32, (rows + 50) as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    label(&root, bars.title, (12, 20), 18, HPos::Left)?;
    let most = groups.iter().flat_map(|(_, servers)| servers).map(|(_, value)| *value).fold(0.0, f64::max);
    let mut y = 46;
    for (scenario, servers) in groups {
        let middle = y + servers.len() as i32 * BAR / 2;
        label(&root, scenario.title, (LEFT - 10, middle), 12, HPos::Right)?;
        for (kind, value) in servers {
            let end = LEFT + (value / most * f64::from(WIDTH - LEFT - 190)) as i32;
            root.draw(&Rectangle::new([(LEFT, y), (end.max(LEFT + 1), y + BAR - 2)], colour(*kind).filled()))?;
            let text = format!("{}  {}", number(*value), kind.name());
            label(&root, &text, (end + 6, y + BAR / 2), 11, HPos::Left)?;
            y += BAR;
        }
        y += 14;
    }
    root.present()
}

fn label<'a>(root: &Area<'a>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Drawn<'a> {
    let style = TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(side, VPos::Center));
    root.draw_text(text, &style, at)
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

type Series = (Kind, Vec<(f64, f64)>);

fn series(results: &Results, lines: &Lines) -> Vec<Series> {
    let point = |kind: Kind, (x, name): (f64, &str)| {
        Some((x, results.cell(named(name)?, Metric::CpuPerDelivery, kind)?.median))
    };
    let points = |kind| lines.points.iter().filter_map(|at| point(kind, *at)).collect();
    let all = Kind::ALL.into_iter().map(|kind| (kind, points(kind)));
    all.filter(|(_, points): &Series| !points.is_empty()).collect()
}

fn draw_lines<'a>(file: &'a Path, lines: &Lines, series: &[Series]) -> Drawn<'a> {
    let root = SVGBackend::new(file, (640, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = series.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(0.0, f64::max);
    let first = lines.points.first().map_or(1.0, |(x, _)| *x);
    let last = lines.points.last().map_or(10.0, |(x, _)| *x);
    let mut chart = ChartBuilder::on(&root)
        .caption(lines.title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((first..last).log_scale(), 0.0..most * 1.1)?;
    chart.configure_mesh().x_desc(lines.of).disable_x_mesh().x_label_formatter(&|x| format!("{x}")).draw()?;
    for (kind, points) in series {
        let colour = colour(*kind);
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)?
            .label(kind.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
    root.present()
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::RawEpoll => RGBColor(140, 140, 140),
        Kind::TowerSseServer => RGBColor(10, 60, 130),
        Kind::TowerSseHyper => RGBColor(20, 110, 190),
        Kind::TowerSseAxum => RGBColor(110, 180, 230),
        Kind::AxumBroadcast => RGBColor(220, 110, 30),
        Kind::AxumQueue => RGBColor(240, 180, 90),
        Kind::Nchan => RGBColor(90, 150, 60),
        Kind::NeverHyper => RGBColor(190, 190, 190),
        Kind::NeverAxum => RGBColor(215, 215, 215),
    }
}
