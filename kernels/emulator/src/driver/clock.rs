//! What is ordered before what: vector clocks of streams and of the host.

use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of each stream's work is known to be over, as numbers of its operations (from 1). The order is partial: of
/// two operations, one comes before the other only if a chain of promises says so: the order within a stream, an event,
/// the NULL stream, a host that waited. The host is one: its threads are taken to be ordered among themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock(BTreeMap<usize, u64>);

impl Clock {
    /// Makes all that `other` knows known.
    pub(super) fn join(&mut self, other: &Clock) {
        for (&stream, &tick) in &other.0 {
            let mine = self.0.entry(stream).or_insert(0);
            *mine = tick.max(*mine);
        }
    }

    /// Makes operation `tick` of a stream, and those before it in the stream, known.
    pub(super) fn learn(&mut self, stream: usize, tick: u64) {
        let mine = self.0.entry(stream).or_insert(0);
        *mine = tick.max(*mine);
    }

    /// Whether the operation that made `access` is over for who has this clock.
    pub(super) fn covers(&self, access: &Access) -> bool {
        self.0.get(&access.stream).is_some_and(|&tick| tick >= access.tick)
    }

    /// Forgets everything: for when nothing is left that could be compared.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// An operation that read or wrote memory.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// Its stream.
    pub(super) stream: usize,
    /// Its number in the stream.
    pub(super) tick: u64,
    /// What reports call it.
    pub(super) name: Arc<str>,
}

impl PartialEq for Access {
    fn eq(&self, other: &Access) -> bool {
        (self.stream, self.tick) == (other.stream, other.tick)
    }
}
