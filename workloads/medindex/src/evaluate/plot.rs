//! A plot of the figures: one line a ranking, a dot each for P@1, P@10 and mAP.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::Report;
use crate::failure::{Code, Failure};

const WIDTH: u32 = 900;
const ROW_HEIGHT: i32 = 34;
const TOP: i32 = 64;
const BOTTOM: i32 = 44;
/// Where the names end and the scale begins and ends, in pixels.
const NAMES_END: i32 = 330;
const SCALE_END: i32 = 870;

/// Colours of Okabe and Ito's palette, which colour-blind people can tell apart.
const COLOURS: [(&str, RGBColor); 3] =
    [("P@1", RGBColor(0, 114, 178)), ("P@10", RGBColor(213, 94, 0)), ("mAP", RGBColor(0, 158, 115))];

struct Line {
    name: String,
    figures: [f64; 3],
    published: bool,
}

/// Writes the plot as SVG.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), Failure> {
    let svg =
        draw(report).map_err(|error| Failure::new(Code::Other, format!("cannot draw the plot: {error}")))?;
    std::fs::write(path, svg).map_err(|error| Failure::file("write", path, &error))
}

fn draw(report: &Report) -> Result<String, Box<dyn std::error::Error>> {
    let lines = lines(report);
    let least = lines.iter().flat_map(|line| line.figures).fold(1.0, f64::min);
    // The scale begins at a tenth below the worst figure.
    let start = ((least * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    let height = TOP + BOTTOM + ROW_HEIGHT * lines.len() as i32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(
            format!("Retrieval quality of {} ({} queries, leave one out)", report.model, report.queries),
            (16, 14),
            ("sans-serif", 18).into_font().color(&BLACK),
        ))?;
        draw_legend(&area)?;
        draw_scale(&area, start, height - BOTTOM)?;
        for (row, line) in lines.iter().enumerate() {
            draw_line(&area, line, start, TOP + ROW_HEIGHT * row as i32 + ROW_HEIGHT / 2)?;
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn lines(report: &Report) -> Vec<Line> {
    let measured = report.rankings.iter().map(|ranking| Line {
        name: ranking.name.clone(),
        figures: [ranking.overall.p_at_1, ranking.overall.p_at_10, ranking.overall.map],
        published: false,
    });
    let published = report.baselines.iter().map(|baseline| Line {
        name: format!("published: {}", baseline.name),
        figures: [baseline.p_at_1, baseline.p_at_10, baseline.map],
        published: true,
    });
    measured.chain(published).collect()
}

fn position(value: f64, start: f64) -> i32 {
    NAMES_END + ((value - start) / (1.0 - start) * f64::from(SCALE_END - NAMES_END)).round() as i32
}

fn draw_legend<'a>(area: &Area<'a>) -> Drawn<'a> {
    for (number, (name, colour)) in COLOURS.iter().enumerate() {
        let x = NAMES_END + 90 * number as i32;
        area.draw(&Circle::new((x, 46), 6, colour.filled()))?;
        area.draw(&Text::new(*name, (x + 12, 39), ("sans-serif", 14).into_font().color(&BLACK)))?;
    }
    area.draw(&Circle::new((NAMES_END + 290, 46), 5, BLACK.stroke_width(2)))?;
    area.draw(&Text::new("published", (NAMES_END + 302, 39), ("sans-serif", 14).into_font().color(&BLACK)))
}

fn draw_scale<'a>(area: &Area<'a>, start: f64, bottom: i32) -> Drawn<'a> {
    let centred = Pos::new(HPos::Center, VPos::Top);
    let style = ("sans-serif", 13).into_font().color(&BLACK).pos(centred);
    let first = (start * 20.0).round() as i32;
    for tick in first..=20 {
        let value = f64::from(tick) / 20.0;
        let x = position(value, start);
        area.draw(&PathElement::new(vec![(x, TOP), (x, bottom)], RGBColor(224, 224, 224)))?;
        if tick % 2 == 0 {
            area.draw(&Text::new(format!("{value:.1}"), (x, bottom + 8), style.clone()))?;
        }
    }
    Ok(())
}

fn draw_line<'a>(area: &Area<'a>, line: &Line, start: f64, y: i32) -> Drawn<'a> {
    let right = Pos::new(HPos::Right, VPos::Center);
    let style = ("sans-serif", 14).into_font().color(&BLACK).pos(right);
    area.draw(&Text::new(line.name.clone(), (NAMES_END - 14, y), style))?;
    for (figure, (_, colour)) in line.figures.iter().zip(COLOURS) {
        let style = if line.published { colour.stroke_width(2) } else { colour.filled() };
        area.draw(&Circle::new((position(*figure, start), y), if line.published { 5 } else { 6 }, style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_runs_from_its_start_to_one() {
        assert_eq!(position(0.6, 0.6), NAMES_END);
        assert_eq!(position(1.0, 0.6), SCALE_END);
    }
}
