//! Numbers as they are shown.

/// Steps in a second, or seconds to a step.
pub(super) fn rate(speed: f64) -> String {
    match speed {
        speed if speed >= 10.0 => format!("{speed:.0} / s"),
        speed if speed >= 0.5 => format!("{speed:.1} / s"),
        speed => format!("{:.1} s each", 1.0 / speed),
    }
}

/// Seconds as hours, minutes and seconds.
pub(super) fn duration(seconds: f64) -> String {
    let all = seconds.round().min(359_999.0) as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A number with a real minus sign.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if value < 0.0 && !is_zero {
        format!("\u{2212}{text}")
    } else {
        text
    }
}

/// A factor, with as many digits as it needs.
pub(super) fn factor(value: f64) -> String {
    let text = if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            (signed(-0.3, 1), signed(-0.01, 1), signed(1.0, 1)),
            ("−0.3".into(), "0.0".into(), "1.0".into())
        );
        assert_eq!(
            [1.0, 1.25, 0.8, 0.512, 15.258789, 0.015625].map(factor),
            ["1", "1.25", "0.8", "0.51", "15.3", "0.016"]
        );
        assert_eq!(
            [5.4, 65.0, 3700.0].map(duration),
            ["0:05", "1:05", "1:01:40"]
        );
        assert_eq!(
            [24.4, 3.21, 0.1].map(rate),
            ["24 / s", "3.2 / s", "10.0 s each"]
        );
    }
}
