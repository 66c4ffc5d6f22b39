//! Amounts as people write them: `30s`, `12h`, `2MiB`, `60/min`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// A span of time, written `30s`, `5m`, `12h` or `30d`; a number and one unit, never zero.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(Duration);

impl Span {
    /// The shortest.
    pub const SECOND: Self = Self(Duration::from_secs(1));

    /// From whole seconds; `None` for zero.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (seconds > 0).then(|| Self(Duration::from_secs(seconds)))
    }

    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

/// The units of time and their seconds.
const TIME_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
/// A century: longer spans are slips, and would overflow a timestamp.
const LONGEST_SECONDS: u64 = 100 * 366 * 86_400;

/// Why an amount could not be read.
#[derive(Debug, Eq, PartialEq)]
pub struct NoAmount(&'static str);

impl fmt::Display for NoAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoAmount {}

impl FromStr for Span {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        const WRONG: NoAmount =
            NoAmount("a span of time is a number and a unit: `30s`, `5m`, `12h` or `30d`");
        let (count, factor) = amount(text, &TIME_UNITS).ok_or(WRONG)?;
        let seconds = count
            .checked_mul(factor)
            .filter(|seconds| *seconds <= LONGEST_SECONDS);
        seconds.and_then(Self::from_seconds).ok_or(WRONG)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let unit = TIME_UNITS
            .iter()
            .rev()
            .find(|(_, factor)| seconds.is_multiple_of(*factor));
        let (unit, factor) = unit.copied().unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / factor)
    }
}

/// An amount of bytes, written `512`, `32KiB`, `2MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(usize);

impl Size {
    /// In bytes.
    pub const fn of_bytes(bytes: usize) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

/// The units of size and their bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl FromStr for Size {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        const WRONG: NoAmount = NoAmount(
            "a size is a number of bytes with or without a unit: `4096`, `32KiB`, `2MiB`, `1GiB`",
        );
        let (count, factor) = amount(text, &SIZE_UNITS).ok_or(WRONG)?;
        let bytes = count
            .checked_mul(factor)
            .and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or(WRONG)
    }
}

/// How often a sub-token may be used, written `60/min`, `10/s` or `1000/h`: a bucket of that many, filled evenly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// How many at once, and in each period.
    pub count: NonZeroU32,
    /// The period.
    pub per: Duration,
}

/// The periods of rates and their seconds.
const RATE_UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];

impl FromStr for Rate {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        const WRONG: NoAmount =
            NoAmount("a rate is a number for a period: `60/min`, `10/s` or `1000/h`");
        let (count, unit) = text.split_once('/').ok_or(WRONG)?;
        let (_, seconds) = RATE_UNITS
            .iter()
            .find(|(known, _)| *known == unit)
            .ok_or(WRONG)?;
        let count = digits(count)
            .and_then(|count| u32::try_from(count).ok())
            .and_then(NonZeroU32::new)
            .ok_or(WRONG)?;
        Ok(Self {
            count,
            per: Duration::from_secs(*seconds),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = RATE_UNITS
            .iter()
            .find(|(_, seconds)| *seconds == self.per.as_secs())
            .map_or("s", |(unit, _)| unit);
        write!(f, "{}/{unit}", self.count)
    }
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let split = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at_checked(split)?;
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    Some((digits(count)?, *factor))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_one_unit_and_is_not_zero() {
        let cases = [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("12h", Some(43_200)),
            ("30d", Some(2_592_000)),
        ];
        let wrong = [
            "",
            "30",
            "0s",
            "-1s",
            "+1s",
            "1h30m",
            "1.5h",
            "5 m",
            "1w",
            "99999999d",
            "s",
        ]
        .map(|text| (text, None));
        for (text, seconds) in cases.into_iter().chain(wrong) {
            assert_eq!(
                text.parse::<Span>().ok().map(Span::seconds),
                seconds,
                "span {text:?}"
            );
        }
        for text in ["30s", "90s", "5m", "36h", "2d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_size_may_have_a_binary_unit() {
        let cases = [
            ("4096", Some(4096)),
            ("32KiB", Some(32_768)),
            ("2MiB", Some(2_097_152)),
            ("0", None),
            ("1kb", None),
            ("1MB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(
                text.parse::<Size>().ok().map(Size::bytes),
                bytes,
                "size {text:?}"
            );
        }
    }

    #[test]
    fn a_rate_is_a_count_for_a_period() {
        for text in ["60/min", "10/s", "1000/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["60", "0/min", "60/m", "60/day", "/s", "1.5/s", "60 /min"] {
            assert!(text.parse::<Rate>().is_err(), "rate {text:?}");
        }
    }
}
