//! The importance of the blocks as a picture.

use plotters::prelude::*;

use super::report::Audit;

const KEPT: RGBColor = RGBColor(44, 95, 141);
const REMOVED: RGBColor = RGBColor(196, 78, 63);
const SIZE: (u32, u32) = (760, 340);

/// A bar chart, logarithmic: one bar a block with its interval, removed blocks in another colour. SVG text.
///
/// # Errors
/// What the drawing library refuses, as text.
pub fn svg(audit: &Audit) -> Result<String, String> {
    let mut text = String::new();
    draw(audit, &mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn draw(audit: &Audit, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let positive = audit.importance.iter().map(|score| score.value).filter(|&value| value > 0.0);
    let (low, high) = positive.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let (low, high) = if low.is_finite() { (low * 0.5, high * 1.6) } else { (1e-6, 1.0) };
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .caption("Rise of the loss without each block (95 % interval)", ("sans-serif", 16))
        .x_label_area_size(34)
        .y_label_area_size(62)
        .build_cartesian_2d((0..audit.blocks.max(1) - 1).into_segmented(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("block")
        .x_labels(audit.blocks.min(40))
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .draw()?;
    for (block, score) in audit.importance.iter().enumerate() {
        let colour = if audit.removed.contains(&block) { REMOVED } else { KEPT };
        let (left, right) = (SegmentValue::Exact(block), SegmentValue::Exact(block + 1));
        let mut bar = Rectangle::new([(left, low), (right, score.value.max(low))], colour.filled());
        bar.set_margin(0, 0, 4, 4);
        chart.draw_series([bar])?;
        let middle = || SegmentValue::CenterOf(block);
        let whisker = [(middle(), score.low.max(low)), (middle(), score.high.max(low))];
        chart.draw_series([PathElement::new(whisker, BLACK.stroke_width(2))])?;
    }
    root.present()?;
    Ok(())
}
