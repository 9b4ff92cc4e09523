//! One place for the newest of something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// Holds the newest value until it is taken. Older ones are dropped.
///
/// Neither side waits for the other: the lock is held for a move alone, and a producer that finds it taken drops its value
/// rather than wait, unless it insists. A value that is dear to make need not be made before somebody looks for one:
/// [`Mailbox::is_wanted`].
#[derive(Debug)]
pub struct Mailbox<T> {
    newest: Mutex<Option<T>>,
    /// Somebody looked since the last value was taken, or nobody has taken one yet.
    wanted: AtomicBool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            newest: Mutex::new(None),
            wanted: AtomicBool::new(true),
        }
    }
}

impl<T> Mailbox<T> {
    /// Leaves a value in place of the one that is there. Returns whether it was left: not if the other side was looking at
    /// that very moment.
    pub fn offer(&self, value: T) -> bool {
        let old = match self.newest.try_lock() {
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
        let old = (self.newest.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .replace(value);
        drop(old);
    }

    /// Takes the value, if one has come since the last time.
    pub fn take(&self) -> Option<T> {
        let value = (self.newest.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.wanted.store(value.is_none(), Ordering::Relaxed);
        value
    }

    /// Whether somebody looked for a value and has none yet. Until then one that is left is likely replaced before it is taken.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
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
    fn a_value_is_wanted_by_whoever_looked_in_vain() {
        let mailbox = Mailbox::default();
        assert!(mailbox.is_wanted());
        mailbox.put(1);
        assert!(mailbox.is_wanted(), "a newer one is as welcome");
        assert_eq!(mailbox.take(), Some(1));
        assert!(!mailbox.is_wanted());
        assert_eq!(mailbox.take(), None);
        assert!(mailbox.is_wanted());
    }

    #[test]
    fn a_producer_does_not_wait() {
        let mailbox = Mailbox::default();
        let held = mailbox.newest.lock().expect("the lock");
        assert!(!mailbox.offer(1));
        drop(held);
        assert_eq!(mailbox.take(), None);
    }
}
