//! One place for the newest of something.

use std::sync::{Mutex, PoisonError, TryLockError};

/// Holds the newest value until it is taken. Older ones are dropped.
///
/// Neither side waits for the other: the lock is held for a move alone, and a producer that finds it taken drops its value
/// rather than wait, unless it insists.
#[derive(Debug)]
pub struct Mailbox<T>(Mutex<Option<T>>);

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Mailbox<T> {
    /// Leaves a value in place of the one that is there. Returns whether it was left: not if the other side was looking at
    /// that very moment.
    pub fn offer(&self, value: T) -> bool {
        let old = match self.0.try_lock() {
            Ok(mut place) => place.replace(value),
            Err(TryLockError::Poisoned(place)) => place.into_inner().replace(value),
            Err(TryLockError::WouldBlock) => return false,
        };
        // freed outside of the lock
        drop(old);
        true
    }

    /// Leaves a value that must arrive, such as the last one.
    pub fn put(&self, value: T) {
        let old = (self.0.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .replace(value);
        drop(old);
    }

    /// Takes the value, if one has come since the last time.
    pub fn take(&self) -> Option<T> {
        (self.0.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_wins() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.take(), None);
        assert!(mailbox.offer(1) && mailbox.offer(2));
        mailbox.put(3);
        assert_eq!((mailbox.take(), mailbox.take()), (Some(3), None));
    }

    #[test]
    fn a_producer_does_not_wait() {
        let mailbox = Mailbox::default();
        let held = mailbox.0.lock().expect("the lock");
        assert!(!mailbox.offer(1));
        drop(held);
        assert_eq!(mailbox.take(), None);
    }
}
