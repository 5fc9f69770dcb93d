//! The commit delay: how long a call waits for branches at work to join, so that they need no call of their own.
//!
//! A quarter of what calls take lately; not at all where that is not worth the trouble. Where the wait was in vain, since
//! branches are busy with work of their own, ever more calls leave without one.

use std::time::Duration;

/// The share of a call that a wait may take: one in so many.
const SHARE: u32 = 4;
/// Below which no wait is worth it.
const SHORTEST: Duration = Duration::from_micros(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_millis(10);
/// How many calls in a row leave without a wait at most.
const MOST_ALONE: u32 = 32;

/// What is known of calls and of waits so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitDelay {
    /// How long calls take lately.
    call: Duration,
    /// How many calls left alone after the last wait in vain.
    futile: u32,
    /// How many more leave alone.
    alone: u32,
}

impl CommitDelay {
    /// A call took so long.
    pub fn called(&mut self, took: Duration) {
        self.call = self.call.saturating_mul(SHARE - 1).saturating_add(took) / SHARE;
    }

    /// How long the next call waits, if it does.
    pub fn due(&mut self) -> Option<Duration> {
        let delay = (self.call / SHARE).min(LONGEST);
        if delay < SHORTEST {
            return None;
        }
        if self.alone > 0 {
            self.alone -= 1;
            return None;
        }
        Some(delay)
    }

    /// A wait is over: all have joined, or it was in vain.
    pub fn waited(&mut self, all_joined: bool) {
        self.futile = if all_joined { 0 } else { (2 * self.futile + 1).min(MOST_ALONE) };
        self.alone = self.futile;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_calls_of(took: Duration) -> CommitDelay {
        let mut delay = CommitDelay::default();
        (0..100).for_each(|_| delay.called(took));
        delay
    }

    #[test]
    fn a_call_waits_a_quarter_of_what_calls_take_and_never_long() {
        let millis = Duration::from_millis;
        for (took, least, most) in
            [(millis(8), 1_900, 2_000), (millis(40), 9_900, 10_000), (millis(4_000), 10_000, 10_000)]
        {
            let delay = after_calls_of(took).due().map(|delay| delay.as_micros());
            assert!(delay.is_some_and(|delay| (least..=most).contains(&delay)), "{took:?} {delay:?}");
        }
    }

    #[test]
    fn the_first_calls_and_those_to_a_service_nearby_do_not_wait() {
        assert_eq!(CommitDelay::default().due(), None);
        assert_eq!(after_calls_of(Duration::from_micros(700)).due(), None);
        assert!(after_calls_of(Duration::from_micros(900)).due().is_some());
    }

    #[test]
    fn what_calls_took_long_ago_is_forgotten() {
        let mut delay = after_calls_of(Duration::from_millis(40));
        (0..30).for_each(|_| delay.called(Duration::ZERO));
        assert_eq!(delay.due(), None);
    }

    #[test]
    fn ever_more_calls_leave_alone_after_waits_in_vain_until_all_join() {
        let mut delay = after_calls_of(Duration::from_millis(40));
        for alone in [1, 3, 7, 15, 31, 32, 32] {
            assert!(delay.due().is_some());
            delay.waited(false);
            (0..alone).for_each(|_| assert_eq!(delay.due(), None, "{alone}"));
        }
        assert!(delay.due().is_some());
        delay.waited(true);
        assert!(delay.due().is_some());
    }
}
