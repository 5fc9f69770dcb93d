//! A batch on loan: whoever makes a call looks at it for as long as the call lasts, and then it goes back.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// Its lock guards who holds the items, and nothing is done with them while it is held.
#[derive(Debug)]
pub struct Loan<T>(Mutex<Arc<Vec<T>>>);

impl<T> Loan<T> {
    pub fn new(items: Vec<T>) -> Self {
        Self(Mutex::new(Arc::new(items)))
    }

    /// The items, to be looked at. There are none once they are given back.
    pub fn look(&self) -> Arc<Vec<T>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the loan. Whoever looks at the items at this very moment, in another thread, keeps them; then what is given
    /// back is a copy.
    pub fn give_back(&self, copy: impl FnMut(&T) -> T) -> Vec<T> {
        let items = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Arc::try_unwrap(items).unwrap_or_else(|items| items.iter().map(copy).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_given_back_is_what_was_lent() {
        let copied = Cell::new(0);
        let copy = |text: &String| {
            copied.set(copied.get() + 1);
            text.clone()
        };
        let lent = || Loan::new(vec!["a".to_owned(), "b".to_owned()]);
        let loan = lent();
        assert_eq!(*loan.look(), ["a", "b"]);
        assert_eq!(loan.give_back(copy), ["a", "b"]);
        assert_eq!(copied.get(), 0, "nobody looks at it any more");
        assert!(loan.look().is_empty() && loan.give_back(copy).is_empty());

        let loan = lent();
        let seen = loan.look();
        assert_eq!(loan.give_back(copy), ["a", "b"]);
        assert_eq!(copied.get(), 2);
        assert_eq!(*seen, ["a", "b"], "who looks at it goes on");
        assert!(loan.look().is_empty());
    }
}
