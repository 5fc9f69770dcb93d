//! The moment of a signature: Unix seconds as `20261128T225227Z`.

use std::fmt;

/// A moment in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    year: u64,
    month: u64,
    day: u64,
    seconds: u64,
}

const DAY: u64 = 86_400;

impl Moment {
    /// The moment so many seconds after the Unix epoch.
    ///
    /// Years are counted from March, so that the leap day is the last of its year, and in cycles of 400 years, after
    /// which the calendar repeats.
    pub const fn from_unix(seconds: u64) -> Self {
        const CYCLE: u64 = 146_097; // days in 400 years
        const TO_MARCH_OF_YEAR_0: u64 = 719_468; // days from 0000-03-01 to the epoch
        let days = seconds / DAY + TO_MARCH_OF_YEAR_0;
        let (cycle, day_of_cycle) = (days / CYCLE, days % CYCLE);
        let leap_days = day_of_cycle / 1_460 + day_of_cycle / 146_096 - day_of_cycle / 36_524;
        let year_of_cycle = (day_of_cycle - leap_days) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let from_march = (5 * day_of_year + 2) / 153; // 153 days in each five months from March on
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = cycle * 400 + year_of_cycle + if month <= 2 { 1 } else { 0 };
        Self { year, month, day, seconds: seconds % DAY }
    }

    /// Its year, month and day, and the seconds of that day.
    pub const fn parts(self) -> (u64, u64, u64, u64) {
        (self.year, self.month, self.day, self.seconds)
    }

    /// The day alone, as credential scopes have it: `20261128`.
    pub fn date(self) -> String {
        format!("{:04}{:02}{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.seconds / 3_600, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", self.year, self.month, self.day)
    }
}

/// The Unix seconds of `2026-11-28T22:52:27Z`, with or without a fraction, or with `+00:00` in place of the Z.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, time) = text.split_once('T')?;
    let time = time.split('.').next()?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // The day is looked for near where it must be, so that the calendar stands in one place only.
    let guess = (year - 1970) * 365 + (year - 1969) / 4 + (month.checked_sub(1)?) * 30;
    let found = (guess.saturating_sub(40)..guess + 40).find(|days| {
        let there = Moment::from_unix(days * DAY);
        (there.year, there.month, there.day) == (year, month, day)
    })?;
    Some(found * DAY + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut next = || parts.next().filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let numbers = [next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?];
    next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_735_689_599, "20241231T235959Z"),
            (1_735_689_600, "20250101T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
            (253_402_300_799, "99991231T235959Z"),
        ] {
            assert_eq!(Moment::from_unix(seconds).to_string(), text);
        }
        assert_eq!(Moment::from_unix(1_440_938_160).date(), "20150830");
    }

    #[test]
    fn moments_read_back() {
        for seconds in (0..8_000_000_000).step_by(1_234_567) {
            let m = Moment::from_unix(seconds);
            let text = m.to_string();
            let long = format!(
                "{}-{}-{}T{}:{}:{}Z",
                &text[..4],
                &text[4..6],
                &text[6..8],
                &text[9..11],
                &text[11..13],
                &text[13..15]
            );
            assert_eq!(parse(&long), Some(seconds), "{long}");
        }
        assert_eq!(parse("2015-08-30T12:36:00.123+00:00"), Some(1_440_938_160));
        for odd in [
            "",
            "soon",
            "2015-02-30T00:00:00Z",
            "2015-08-30T24:00:00Z",
            "2015-08-30",
            "2015-08-30T12:36Z",
            "2015-0-1T0:0:0Z",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut before = Moment::from_unix(0);
        for day in 1..60_000 {
            let next = Moment::from_unix(day * DAY);
            let follows = if next.day == 1 {
                (next.month == before.month + 1 && next.year == before.year)
                    || (next.month == 1 && before.month == 12 && before.day == 31 && next.year == before.year + 1)
            } else {
                (next.year, next.month, next.day) == (before.year, before.month, before.day + 1)
            };
            assert!(follows, "{next} after {before}");
            before = next;
        }
    }
}
