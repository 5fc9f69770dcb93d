//! What is overwritten when it is dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// A text or bytes that nobody is to find in memory later. All of it is overwritten at once: `Zeroizing` does so byte by
/// byte, which made a twentieth of a call. What lies beyond the end is left alone, so it has to be as large as need be
/// from the beginning.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: DerefMut<Target: Zeroize>>(T);

impl<T: DerefMut<Target: Zeroize>> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T: DerefMut<Target: Zeroize>> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DerefMut<Target: Zeroize>> DerefMut for Secret<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: DerefMut<Target: Zeroize>> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.deref_mut().zeroize();
    }
}

impl<T: DerefMut<Target: Zeroize>> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::new("token".to_owned());
        assert_eq!((format!("{secret:?}"), secret.len()), ("Secret(..)".to_owned(), 5));
    }
}
