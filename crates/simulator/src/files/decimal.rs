//! Decimal text to integers in small units, and back, without a float between.

use std::fmt;

/// Why text is no number of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDecimal {
    /// Not a decimal number.
    Malformed,
    /// Below zero.
    Negative,
    /// More units than 64 bits hold.
    TooLarge,
}

/// A number of units of 10^-`places`, rounded to the nearest, a half up; and whether that was
/// exact. Takes what JSON calls a number, and a leading `+` or zeros as CSV has them.
pub(crate) fn units(text: &str, places: u32) -> Result<(u64, bool), NoDecimal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return Err(NoDecimal::Malformed);
    }
    let all = || whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte - b'0'));
    if all().all(|digit| digit == 0) {
        return Ok((0, true));
    }
    if negative {
        return Err(NoDecimal::Negative);
    }
    // So many of the digits stand before the point once it is moved to the unit.
    let length = i64::try_from(whole.len()).map_err(|_| NoDecimal::TooLarge)?;
    let before = length.saturating_add(exponent).saturating_add(i64::from(places));
    let mut units: u64 = 0;
    let mut digits = all();
    let mut left = before;
    while left > 0 {
        let digit = digits.next().unwrap_or(0);
        let more = units.checked_mul(10).and_then(|units| units.checked_add(digit));
        units = more.ok_or(NoDecimal::TooLarge)?;
        left -= 1;
    }
    // A digit further right than the first one after the point rounds nothing up.
    let next = if left == 0 { digits.next().unwrap_or(0) } else { 0 };
    let is_exact = left == 0 && next == 0 && digits.all(|digit| digit == 0);
    let rounded = units.checked_add(u64::from(next >= 5)).ok_or(NoDecimal::TooLarge)?;
    Ok((rounded, is_exact))
}

fn exponent_of(text: &str) -> Result<i64, NoDecimal> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoDecimal::Malformed);
    }
    // Whatever is longer is as good as endless.
    const ENDLESS: i64 = 1_000_000_000;
    let size = digits.parse().map_or(ENDLESS, |size: i64| size.min(ENDLESS));
    Ok(if text.starts_with('-') { -size } else { size })
}

/// Units of 10^-`places`, written as decimal text: as short as it is exact.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal {
    pub(crate) units: u64,
    pub(crate) places: u32,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.saturating_pow(self.places);
        let (whole, mut rest) = (self.units / scale, self.units % scale);
        write!(f, "{whole}")?;
        if rest == 0 {
            return Ok(());
        }
        let mut width = usize::try_from(self.places).unwrap_or(0);
        while rest.is_multiple_of(10) {
            rest /= 10;
            width -= 1;
        }
        write!(f, ".{rest:0width$}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_read_from_their_digits() {
        for (text, micro_usd, is_exact) in [
            ("0.9731", 973_100, true),
            ("3.06", 3_060_000, true),
            ("1.2648906835995635", 1_264_891, false),
            ("0.0000005", 1, false),
            ("0.00000049999", 0, false),
            // As a double this is below the half, and would go down.
            ("1.0000005", 1_000_001, false),
            ("0.1000005", 100_001, false),
            ("31", 31_000_000, true),
            ("9.731e-1", 973_100, true),
            ("0.0009731E+3", 973_100, true),
            ("1e-400", 0, false),
            ("-0.0", 0, true),
            ("0e999999999999", 0, true),
            ("00.5", 500_000, true),
            (".5", 500_000, true),
            ("1e12", 1_000_000_000_000_000_000, true),
        ] {
            assert_eq!(units(text, 6), Ok((micro_usd, is_exact)), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_units() {
        for text in ["", ".", "-", "1e", "e5", "1.2.3", "0x10", "nan", "inf", "1 ", "--1", "1e1.5"]
        {
            assert_eq!(units(text, 6), Err(NoDecimal::Malformed), "{text}");
        }
        assert_eq!(units("-0.1", 6), Err(NoDecimal::Negative));
        for text in ["1e14", "1e999999999999999999999", "18446744073709551616"] {
            assert_eq!(units(text, 6), Err(NoDecimal::TooLarge), "{text}");
        }
        assert_eq!(units("18446744073709551615", 0), Ok((u64::MAX, true)));
        assert_eq!(units("18446744073709551615.5", 0), Err(NoDecimal::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value: u64, places in 0_u32..7) {
            prop_assert_eq!(units(&Decimal { units: value, places }.to_string(), places), Ok((value, true)));
        }

        #[test]
        fn no_text_is_too_odd(text in "[-+0-9.eE]{0,24}", places in 0_u32..7) {
            let _ = units(&text, places);
        }

        #[test]
        fn doubles_agree_where_they_are_sure(micro in 0_u64..1_000_000_000, odd in 0_u64..400) {
            let decimal = format!("{}.{:06}{odd:03}", micro / 1_000_000, micro % 1_000_000);
            prop_assert_eq!(units(&decimal, 6).map(|read| read.0), Ok(micro));
        }
    }
}
