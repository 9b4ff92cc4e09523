//! A mailbox for the newest value.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// Holds the newest value until it is taken. Older ones are dropped.
///
/// Neither side waits for the other: the lock is held only for a move, and [`Mailbox::offer`] drops its value rather than wait for
/// it. A value that is expensive to make need not be made before the consumer looks for one: [`Mailbox::is_wanted`].
#[derive(Debug)]
pub struct Mailbox<T> {
    newest: Mutex<Option<T>>,
    /// The consumer found the mailbox empty since it took the last value, or has not looked yet.
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
    /// Replaces the value. Returns whether it did: not if the consumer holds the lock at the same moment.
    pub fn offer(&self, value: T) -> bool {
        let old = match self.newest.try_lock() {
            Ok(mut place) => place.replace(value),
            Err(TryLockError::Poisoned(place)) => place.into_inner().replace(value),
            Err(TryLockError::WouldBlock) => return false,
        };
        // freed outside the lock
        drop(old);
        true
    }

    /// Replaces the value by one that must arrive, such as the last one.
    pub fn put(&self, value: T) {
        let old = (self.newest.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .replace(value);
        drop(old);
    }

    /// Takes the value, if there is a new one.
    pub fn take(&self) -> Option<T> {
        let value = (self.newest.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.wanted.store(value.is_none(), Ordering::Relaxed);
        value
    }

    /// Whether the consumer looked for a value in vain. Otherwise a new one would likely be replaced before it is taken.
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
    fn a_value_is_wanted_after_a_look_in_vain() {
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
