//! Pictures that are part of the page.

use plotters::prelude::*;

/// Colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const SIZE: (u32, u32) = (620, 300);
/// More points than this cannot be told apart.
const POINTS: usize = 240;

/// A named curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its label.
    pub name: String,
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
}

/// Curves over steps, as SVG text; `None` without a point to draw. Long curves are averaged over intervals. The axis is
/// logarithmic where all values are positive and span more than a decade.
///
/// # Errors
/// What the drawing library refuses, as text.
pub fn curves(title: &str, series: &[Series]) -> Result<Option<String>, String> {
    let series: Vec<Series> = series.iter().map(thinned).filter(|series| !series.points.is_empty()).collect();
    if series.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    draw(title, &series, &mut text).map_err(|error| error.to_string())?;
    Ok(Some(text))
}

fn draw(title: &str, series: &[Series], text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let values = || series.iter().flat_map(|series| series.points.iter().map(|&(_, value)| value));
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let last = series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).fold(1.0, f64::max);
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.margin(10).caption(title, ("sans-serif", 16)).x_label_area_size(36).y_label_area_size(58);
    if low > 0.0 && high > 10.0 * low {
        let mut chart = builder.build_cartesian_2d(0.0..last, (low * 0.9..high * 1.1).log_scale())?;
        chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("step").y_label_formatter(&number).draw()?;
        plot(&mut chart, series)?;
    } else {
        let margin = ((high - low) * 0.08).max(high.abs() * 1e-3).max(1e-9);
        let mut chart = builder.build_cartesian_2d(0.0..last, low - margin..high + margin)?;
        chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("step").y_label_formatter(&number).draw()?;
        plot(&mut chart, series)?;
    }
    root.present()?;
    Ok(())
}

type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>;

fn plot<'a, 'b: 'a, Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'a, 'b, Y>,
    series: &[Series],
) -> Result<(), Box<dyn std::error::Error>> {
    for (series, &colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(2));
        let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(3));
        chart.draw_series(line)?.label(&series.name).legend(key);
        if series.points.len() < 40 {
            chart.draw_series(series.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(TRANSPARENT)
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}

fn number(value: &f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(0.001..10_000.0).contains(&size) { format!("{value:.0e}") } else { trimmed(*value) }
}

/// At most four decimals, none of them zeros at the end.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Means over equal numbers of steps. Values that are not finite cannot be drawn.
fn thinned(series: &Series) -> Series {
    let finite: Vec<(f64, f64)> = series.points.iter().copied().filter(|point| point.1.is_finite()).collect();
    let size = finite.len().div_ceil(POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let n = points.len() as f64;
        (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n)
    };
    Series { name: series.name.clone(), points: finite.chunks(size).map(mean).collect() }
}

/// Gives an SVG picture a name that screen readers say.
pub fn described(svg: &str, description: &str) -> String {
    let escaped = description.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{escaped}\" "), 1)
}

/// Bytes as a `data:` address, base 64 (RFC 4648).
pub fn data_uri(mime: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("data:{mime};base64,");
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in vectors {
            assert_eq!(data_uri("image/png", plain.as_bytes()), format!("data:image/png;base64,{coded}"));
        }
    }

    #[test]
    fn curves_are_drawn_where_there_is_something_to_draw() {
        let series = |points: Vec<(f64, f64)>| [Series { name: "loss".to_owned(), points }];
        assert_eq!(curves("none", &series(vec![(0.0, f64::NAN)])).unwrap(), None);
        let long = (0..5000).map(|i| (f64::from(i), 1.0 / f64::from(i + 1))).collect();
        let svg = curves("a < b", &series(long)).unwrap().unwrap();
        assert!(svg.contains("viewBox") && svg.contains("a &lt; b") && svg.len() < 60_000, "{}", svg.len());
        assert!(curves("one", &series(vec![(1.0, 0.0)])).unwrap().is_some());
        assert!(described(&svg, "a \"b\"").contains("aria-label=\"a &quot;b&quot;\""));
    }

    #[test]
    fn thinning_keeps_the_mean() {
        let points: Vec<(f64, f64)> = (0..480).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let thin = thinned(&Series { name: String::new(), points });
        assert_eq!(thin.points.len(), 240);
        assert!(thin.points.iter().all(|point| point.1 == 0.5));
    }
}
