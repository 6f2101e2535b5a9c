//! A plot of latency distributions as SVG, written by hand: percentiles spread out towards the
//! tail, as HDR histograms are drawn, over a logarithmic latency.

use std::fmt::Write;

use super::report::Curve;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 60.0;
/// Percentiles that the axis names; each step right is a tenth of what is left.
const TICKS: [(f64, &str); 6] =
    [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];
/// Okabe and Ito's colors, which most color-blind people tell apart.
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const STEPS: u32 = 240;

/// Draws the curves that have anything; `title` stands above.
pub fn svg(title: &str, curves: &[Curve]) -> String {
    let curves: Vec<_> = curves.iter().filter(|curve| !curve.histogram.is_empty()).collect();
    let lowest = curves.iter().map(|curve| curve.histogram.min().max(1)).min().unwrap_or(1_000);
    let highest = curves.iter().map(|curve| curve.histogram.max()).max().unwrap_or(1_000_000);
    let axis = Axis::new(lowest, highest);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    grid(&axis, &mut out);
    for (nth, curve) in curves.iter().enumerate() {
        let color = COLORS[nth % COLORS.len()];
        let mut points = String::new();
        for step in 0..=STEPS {
            let spread = f64::from(step) / f64::from(STEPS);
            let quantile = 1.0 - 10f64.powf(-4.0 * spread);
            let nanos = curve.histogram.value_at_quantile(quantile).max(1);
            let _ = write!(points, "{:.1},{:.1} ", x(quantile), axis.y(nanos as f64));
        }
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"{}\"/>",
            points.trim_end()
        );
        let (at, row) = (LEFT + 12.0, TOP + 18.0 + 18.0 * nth as f64);
        let _ = writeln!(
            out,
            "<rect x=\"{at}\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{row:.1}\">{}</text>",
            row - 6.0,
            at + 20.0,
            escape(&curve.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A logarithmic axis of latencies in whole decades.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn new(lowest: u64, highest: u64) -> Self {
        let low = (lowest as f64).log10().floor();
        Self { low, high: (highest.max(1) as f64).log10().ceil().max(low + 1.0) }
    }

    fn y(&self, nanos: f64) -> f64 {
        let share = (nanos.log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }
}

fn x(quantile: f64) -> f64 {
    let spread = (-(1.0 - quantile).log10() / 4.0).clamp(0.0, 1.0);
    LEFT + spread * (WIDTH - LEFT - RIGHT)
}

fn grid(axis: &Axis, out: &mut String) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for exponent in axis.low as i32..=axis.high as i32 {
        let y = axis.y(10f64.powi(exponent));
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            duration(exponent)
        );
    }
    for (quantile, name) in TICKS {
        let x = x(quantile);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            bottom + 20.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">percentile of deliveries</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 14.0
    );
}

/// A power of ten of nanoseconds in its unit.
fn duration(exponent: i32) -> String {
    let (unit, below) = match exponent {
        ..3 => ("ns", 0),
        3..6 => ("µs", 3),
        6..9 => ("ms", 6),
        _ => ("s", 9),
    };
    format!("{} {unit}", 10f64.powi(exponent - below))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::latencies;

    #[test]
    fn a_plot_shows_its_curves_and_stays_inside() {
        let mut histogram = latencies();
        (1..=1_000).for_each(|nth| histogram.record(nth * 10_000).unwrap());
        let curve = Curve { name: "a < b".into(), histogram };
        let empty = Curve { name: "nothing".into(), histogram: latencies() };
        let svg = svg("paced & more", &[curve, empty]);
        assert!(svg.contains("paced &amp; more") && svg.contains("a &lt; b"));
        assert!(!svg.contains("nothing"));
        assert_eq!(svg.matches("<polyline").count(), 1);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut before = f64::INFINITY;
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
            assert!(y <= before, "a later percentile is no lower latency");
            before = y;
        }
        // The median of 10 us to 10 ms is 5 ms: between the lines of 1 and 10 ms.
        assert!(svg.contains(">1 ms<") && svg.contains(">10 ms<"));
    }
}
