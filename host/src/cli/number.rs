//! Numbers for people.

use std::time::Duration;

/// With a comma between thousands: `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With three significant digits and a letter: `1.23 T`.
pub(super) fn short(number: impl Into<u128>) -> String {
    let (value, letter) = scaled(number.into());
    let decimals = if letter.is_empty() || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}{letter}")
}

/// A number below a thousand and the letter for the thousands that it lacks.
fn scaled(number: u128) -> (f64, &'static str) {
    const LETTERS: [&str; 8] = ["", " k", " M", " G", " T", " P", " E", " Z"];
    let mut value = number as f64;
    let mut letter = 0;
    while value >= 999.5 && letter + 1 < LETTERS.len() {
        value /= 1000.0;
        letter += 1;
    }
    (value, LETTERS[letter])
}

/// With one digit after the point and a letter: `167.4 G`.
pub(super) fn tenths(number: u64) -> String {
    let (value, letter) = scaled(number.into());
    format!("{value:.1}{letter}")
}

/// Bytes with a binary unit: `12.5 MiB`.
pub(super) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// A share as a percentage: `97.5 %`; a dash for what was not measured.
pub(super) fn percent(share: f64) -> String {
    if share.is_nan() {
        return "-".to_owned();
    }
    format!("{:.1} %", share * 100.0)
}

/// A loss with four decimals; a dash for what was not measured.
pub(super) fn loss(loss: f64) -> String {
    if loss.is_nan() {
        return "-".to_owned();
    }
    format!("{loss:.4}")
}

/// A share that may be too small to be shown: `0.3 %`, `<0.1 %`.
pub(super) fn small_percent(share: f64) -> String {
    if share > 0.0 && share < 0.000_95 {
        "<0.1 %".to_owned()
    } else {
        percent(share)
    }
}

/// Seconds as `3.2s`, `1m 23s`, or `2h 05m`.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{seconds:.0}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(86_567_656), "86,567,656");
    }

    #[test]
    fn short_numbers_keep_three_digits() {
        assert_eq!(short(12_u64), "12");
        assert_eq!(short(999_499_u64), "999 k");
        assert_eq!(short(999_999_u64), "1.00 M");
        assert_eq!(short(17_560_000_000_u64), "17.6 G");
        assert_eq!(short(192_000_000_000_000_000_000_u128), "192 E");
        assert_eq!(tenths(167_402_021_120), "167.4 G");
    }

    #[test]
    fn small_shares_are_not_nothing() {
        assert_eq!(small_percent(0.0), "0.0 %");
        assert_eq!(small_percent(0.0004), "<0.1 %");
        assert_eq!(small_percent(0.0032), "0.3 %");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds(0.25), "0.2s");
        assert_eq!(seconds(83.4), "1m 23s");
        assert_eq!(seconds(7500.0), "2h 05m");
    }
}
