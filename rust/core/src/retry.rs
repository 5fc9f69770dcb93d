//! Backoff arithmetic. The random number is given, so that every delay can be tested exactly.

/// How randomness spreads a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Anything from nothing to the delay.
    Full,
    /// Half the delay, and up to as much again.
    Half,
}

impl Jitter {
    /// What a name says.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "NONE" => Some(Self::None),
            "FULL" => Some(Self::Full),
            "HALF" => Some(Self::Half),
            _ => None,
        }
    }
}

/// The delay before the attempt that follows `attempt` (counted from 1): `initial * rate^(attempt - 1)`, at most `cap`.
pub fn exponential(attempt: u32, initial: f64, rate: f64, cap: f64) -> f64 {
    let factor = rate.powf(f64::from(attempt.saturating_sub(1)));
    // An overflow to infinity is capped like any other long delay; 0 × ∞ is no delay at all.
    let delay = initial * factor;
    if delay.is_nan() { 0.0 } else { delay.min(cap) }
}

/// The delay before the attempt that follows `attempt` (counted from 1): `initial + increment * (attempt - 1)`, at most `cap`.
pub fn linear(attempt: u32, initial: f64, increment: f64, cap: f64) -> f64 {
    (initial + increment * f64::from(attempt.saturating_sub(1))).min(cap)
}

/// `delay` spread by `jitter`, given a `random` number in `0.0..1.0`.
pub fn jittered(delay: f64, jitter: Jitter, random: f64) -> f64 {
    match jitter {
        Jitter::None => delay,
        Jitter::Full => delay * random,
        Jitter::Half => delay * (0.5 + random * 0.5),
    }
}

/// Whole seconds the service accepts: rounded up, at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32 first")]
pub fn whole_seconds(delay: f64) -> u32 {
    delay.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the arithmetic is exact for these numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exponential_grows_until_the_cap() {
        let delays: Vec<f64> = (1..=6).map(|attempt| exponential(attempt, 5.0, 2.0, 60.0)).collect();
        assert_eq!(delays, [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]);
    }

    #[test]
    fn jitters_have_the_names_of_the_vocabulary() {
        let named = ["NONE", "FULL", "HALF", "half"].map(Jitter::parse);
        assert_eq!(named, [Some(Jitter::None), Some(Jitter::Full), Some(Jitter::Half), None]);
    }

    #[test]
    fn exponential_survives_overflow() {
        assert_eq!(exponential(u32::MAX, 5.0, 2.0, 60.0), 60.0);
        assert_eq!(exponential(u32::MAX, 0.0, 2.0, 60.0), 0.0);
    }

    #[test]
    fn linear_adds_until_the_cap() {
        let delays: Vec<f64> = (1..=4).map(|attempt| linear(attempt, 1.0, 2.0, 6.0)).collect();
        assert_eq!(delays, [1.0, 3.0, 5.0, 6.0]);
    }

    #[test]
    fn whole_seconds_round_up_and_never_reach_zero() {
        for (delay, seconds) in [(-1.0, 1), (0.0, 1), (0.2, 1), (1.0, 1), (1.1, 2), (59.9, 60)] {
            assert_eq!(whole_seconds(delay), seconds, "{delay}");
        }
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_band(delay in 0.0..1e6, random in 0.0..1.0) {
            prop_assert_eq!(jittered(delay, Jitter::None, random), delay);
            prop_assert!((0.0..=delay).contains(&jittered(delay, Jitter::Full, random)));
            prop_assert!((delay / 2.0..=delay).contains(&jittered(delay, Jitter::Half, random)));
        }
    }
}
