//! The gate of a batch: where branches that are tried wait until all are counted, each with its hand. Somebody must be
//! left to try the others, so that the last hand does not wait.

/// Who is at work at a batch, and who waits; `W` is whatever a driver wakes somebody with.
#[derive(Debug)]
pub struct Gate<W> {
    /// The caller, and the hands that were hired, but for those that wait here.
    hands: usize,
    waiting: Vec<W>,
}

impl<W> Default for Gate<W> {
    fn default() -> Self {
        Self { hands: 1, waiting: Vec::new() }
    }
}

impl<W> Gate<W> {
    /// A hand more is at work.
    pub fn enter(&mut self) {
        self.hands += 1;
    }

    /// A hand is at work no more.
    pub fn leave(&mut self) {
        self.hands = self.hands.saturating_sub(1);
    }

    /// Registers somebody who is to be woken when the gate opens.
    pub fn queue(&mut self, waiter: W) {
        self.waiting.push(waiter);
    }

    /// A hand is to wait: tells whether it may, since another is left.
    pub fn wait(&mut self) -> bool {
        let may_wait = self.hands > 1;
        if may_wait {
            self.leave();
        }
        may_wait
    }

    /// Gives whom to wake, now that things stand otherwise; they ask again.
    pub fn open(&mut self) -> Vec<W> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_may_wait_but_the_last() {
        let mut gate = Gate::<u32>::default();
        assert!(!gate.wait(), "the caller alone");
        gate.enter();
        gate.enter();
        assert_eq!([gate.wait(), gate.wait(), gate.wait()], [true, true, false]);
        gate.enter();
        assert!(gate.wait(), "one is back");
        gate.leave();
        assert!(!gate.wait());
    }

    #[test]
    fn those_who_wait_are_woken_once() {
        let mut gate = Gate::default();
        gate.queue(1);
        gate.queue(2);
        assert_eq!((gate.open(), gate.open()), (vec![1, 2], vec![]));
    }
}
