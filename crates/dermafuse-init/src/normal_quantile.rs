//! Normal numbers from uniform ones.
//!
//! Source: Wichura, "The percentage points of the normal distribution" (algorithm AS 241, routine PPND7), 1988.
//! Differences: none. Only `+ − × ÷ √` and a logarithm in plain Rust are used, so the numbers are those of every platform.

/// The number below which the share `unit`, more than 0 and less than 1, of a standard normal distribution lies; relative error below
/// 10⁻⁶, which is that of 32-bit floats.
pub(crate) fn normal_quantile(unit: f64) -> f64 {
    let middle = unit - 0.5;
    if middle.abs() <= 0.425 {
        let r = 0.180_625 - middle * middle;
        let above = ((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9;
        let below = ((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0;
        return middle * above / below;
    }
    let tail = if middle < 0.0 { unit } else { 1.0 - unit };
    let r = (-libm::log(tail)).sqrt();
    let size = if r <= 5.0 {
        let r = r - 1.6;
        let above = ((0.170_238_211_03 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7;
        above / ((0.120_211_329_75 * r + 0.737_001_642_50) * r + 1.0)
    } else {
        let r = r - 5.0;
        let above = ((0.017_337_203_997 * r + 0.428_682_943_37) * r + 3.081_226_386_0) * r + 6.657_905_115_0;
        above / ((0.012_258_202_635 * r + 0.241_978_942_25) * r + 1.0)
    };
    if middle < 0.0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_function_is_inverted() {
        for unit in [1e-15, 1e-10, 1e-6, 1e-3, 0.02, 0.074, 0.076, 0.3, 0.5, 0.6, 0.9, 0.93, 0.999] {
            let back = libm::erfc(-normal_quantile(unit) / 2.0_f64.sqrt()) / 2.0;
            assert!((back / unit - 1.0).abs() < 1e-5, "{unit} came back as {back}");
        }
        assert!((normal_quantile(0.975) - 1.959_963_985).abs() < 1e-6);
    }
}
