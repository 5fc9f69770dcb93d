//! How deep the recursion is.

use crate::MAX_DEPTH;
use crate::halt::Halt;

/// Counts the containers around the present value, so that none of them can exhaust the stack.
pub struct Depth(usize);

impl Depth {
    pub fn new() -> Self {
        Self(0)
    }

    #[inline]
    pub fn enter(&mut self) -> Result<(), Halt> {
        self.0 += 1;
        if self.0 > MAX_DEPTH { Err(Halt::TooDeep) } else { Ok(()) }
    }

    /// Whether only one container is open.
    #[inline]
    pub fn is_outermost(&self) -> bool {
        self.0 == 1
    }

    #[inline]
    pub fn leave(&mut self) {
        self.0 -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_beyond_the_bound_is_refused() {
        let mut depth = Depth::new();
        for _ in 0..MAX_DEPTH {
            assert!(depth.enter().is_ok());
        }
        assert!(matches!(depth.enter(), Err(Halt::TooDeep)));
        depth.leave();
        depth.leave();
        assert!(depth.enter().is_ok());
    }
}
