//! What belongs to one process. A forked one begins without it: locks may be held there by threads that it has not, and
//! a connection would be shared with the process that it came from.

use std::sync::OnceLock;

/// A value of each process that comes to it.
pub struct PerProcess<T> {
    process: u32,
    own: T,
    /// That of the process that was forked from this one.
    next: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// With the value of the present process.
    pub fn new(own: T) -> Self {
        Self { process: std::process::id(), own, next: OnceLock::new() }
    }

    /// The value of the present process, made where there is none yet from that of the process it came from.
    pub fn get(&self, make: impl FnOnce(&T) -> T) -> &T {
        if self.process == std::process::id() {
            return &self.own;
        }
        match self.next.get() {
            Some(next) => next.get(make),
            None => &self.next.get_or_init(|| Box::new(Self::new(make(&self.own)))).own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_its_own() {
        let mut value = PerProcess::new(1);
        assert_eq!(*value.get(|_| 2), 1);
        value.process += 1; // as if this one had been forked from another
        assert_eq!(*value.get(|before| before + 10), 11);
        assert_eq!(*value.get(|_| 3), 11);
    }
}
