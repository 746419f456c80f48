//! The work of a context: queued in streams, and done late, in an order that is legal but drawn.
//!
//! Nothing is done when it is asked for. Something that has to wait for work (a synchronisation, a copy to pageable
//! memory, a query that would go on forever) forces it, and then what it needs is done, and by the toss of a coin also
//! what happens to be ready elsewhere. A program that relies on an order which nobody promised gets another one, sooner
//! or later, and the seed says which.
//!
//! Orders that were promised are known when an operation is queued: its place in its stream, the NULL stream's rule,
//! the event it waits for, what the host has waited for. They make the operation's clock; [`History`] compares.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::clock::{Access, Clock};
use super::controls::settings;
use super::error::{Answer, Code};
use super::history::{Conflict, History};
use super::journal;
use super::work::{Record, Touched, Work};
use crate::memory::Memory;
use crate::report::Kind;

/// The legacy default stream.
pub(super) const NULL: usize = 0;
/// Operations that wait at most, of all streams; one more and some are done.
const WAITING: usize = 1024;
/// Bytes that operations which wait hold at most.
const STAGED: usize = 256 << 20;

/// Whether a stream takes part in the NULL stream's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocking {
    /// Before and after work of the NULL stream, as that was asked for.
    Yes,
    /// `CU_STREAM_NON_BLOCKING`.
    No,
}

/// Streams, and what waits in them.
#[derive(Debug)]
pub(super) struct Queue {
    memory: Arc<Memory>,
    /// By index, also those that were destroyed.
    streams: Vec<Stream>,
    /// Operations that wait, by number. What is not here is done.
    waiting: BTreeMap<u64, Operation>,
    /// The number of the last operation.
    last: u64,
    /// Bytes that operations hold.
    staged: usize,
    /// What the host knows to be over.
    host: Clock,
    history: History,
    /// Choices so far.
    draws: u64,
    /// What stopped the context, for good.
    failed: Option<Code>,
}

#[derive(Debug)]
struct Stream {
    blocking: Blocking,
    waiting: VecDeque<u64>,
    /// What is over when all that was queued is done.
    clock: Clock,
    /// Operations so far.
    tick: u64,
    /// The last operation, 0 for none.
    last: u64,
}

#[derive(Debug)]
struct Operation {
    access: Access,
    clock: Clock,
    /// Operations that come before, besides those before it in its stream.
    after: Vec<u64>,
    work: Work,
}

impl Queue {
    pub(super) fn new(memory: Arc<Memory>) -> Queue {
        let mut queue = Queue {
            memory,
            streams: Vec::new(),
            waiting: BTreeMap::new(),
            last: 0,
            staged: 0,
            host: Clock::default(),
            history: History::default(),
            draws: 0,
            failed: None,
        };
        queue.add_stream(Blocking::Yes);
        queue
    }

    /// A new stream.
    pub(super) fn add_stream(&mut self, blocking: Blocking) -> usize {
        let stream = Stream { blocking, waiting: VecDeque::new(), clock: Clock::default(), tick: 0, last: 0 };
        self.streams.push(stream);
        self.streams.len() - 1
    }

    /// Whether the context still works.
    ///
    /// # Errors
    /// What stopped it.
    pub(super) fn healthy(&self) -> Answer {
        self.failed.map_or(Ok(()), Err)
    }

    /// Queues `work`, which reports call `name`, and answers its number.
    pub(super) fn push(&mut self, stream: usize, name: &str, work: Work) -> u64 {
        self.push_after(stream, name, None, |_, _| work)
    }

    /// Queues a mark, for an event to remember.
    pub(super) fn push_record(&mut self, stream: usize) -> Arc<Record> {
        let mut made = None;
        self.push_after(stream, "cuEventRecord", None, |operation, clock| {
            let record = Arc::new(Record { operation, clock: clock.clone(), time: Default::default() });
            Work::Record(made.insert(record).clone())
        });
        made.expect("made by the closure, which is called once")
    }

    /// Makes what is queued from now on in `stream` wait for `record`.
    pub(super) fn push_wait(&mut self, stream: usize, record: &Record) {
        self.push_after(stream, "cuStreamWaitEvent", Some(record), |_, _| Work::Marker);
    }

    fn push_after(
        &mut self,
        stream: usize,
        name: &str,
        record: Option<&Record>,
        work: impl FnOnce(u64, &Clock) -> Work,
    ) -> u64 {
        self.last += 1;
        let number = self.last;
        let mut after: Vec<u64> = record.map(|record| record.operation).into_iter().collect();
        let mut clock = self.host.clone();
        clock.join(&self.streams[stream].clock);
        if let Some(record) = record {
            clock.join(&record.clock);
        }
        for (i, other) in self.streams.iter().enumerate() {
            let ordered = (stream == NULL && other.blocking == Blocking::Yes)
                || (i == NULL && self.streams[stream].blocking == Blocking::Yes);
            if i != stream && ordered {
                after.push(other.last);
                clock.join(&other.clock);
            }
        }
        after.retain(|before| self.waiting.contains_key(before));
        let place = &mut self.streams[stream];
        place.tick += 1;
        clock.learn(stream, place.tick);
        place.clock = clock.clone();
        place.last = number;
        place.waiting.push_back(number);
        let name = format!("{name} (operation {number}, stream {stream})").into();
        let access = Access { stream, tick: place.tick, name };
        let work = work(number, &clock);
        self.staged += work.staged_bytes();
        self.waiting.insert(number, Operation { access, clock, after, work });
        while self.waiting.len() > WAITING || self.staged > STAGED {
            self.step(None);
        }
        number
    }

    /// Whether an operation is done.
    pub(super) fn done(&self, operation: u64) -> bool {
        !self.waiting.contains_key(&operation)
    }

    /// The last operation of a stream: when it is done, all of the stream are.
    pub(super) fn last_of(&self, stream: usize) -> u64 {
        self.streams[stream].last
    }

    /// Waits, as the host, for all that was queued in `stream`.
    pub(super) fn finish(&mut self, stream: usize) -> Answer {
        self.force(&[self.streams[stream].last])?;
        let clock = self.streams[stream].clock.clone();
        self.learn(&clock);
        Ok(())
    }

    /// Waits, as the host, for what an event remembers.
    pub(super) fn finish_record(&mut self, record: &Record) -> Answer {
        self.force(&[record.operation])?;
        self.learn(&record.clock);
        Ok(())
    }

    /// Waits, as the host, for everything.
    pub(super) fn finish_all(&mut self) -> Answer {
        self.do_all()?;
        for i in 0..self.streams.len() {
            let clock = self.streams[i].clock.clone();
            self.host.join(&clock);
        }
        self.learn(&Clock::default());
        Ok(())
    }

    /// Does everything, without the host having a promise that it is done.
    pub(super) fn do_all(&mut self) -> Answer {
        let all: Vec<u64> = self.streams.iter().map(|stream| stream.last).collect();
        self.force(&all)
    }

    /// What a query of the host does: an operation towards `operation` if that is not done yet; says whether it was.
    pub(super) fn query(&mut self, operation: u64) -> Answer {
        if !self.done(operation) {
            let needed = self.needed(&[operation]);
            self.step(Some(&needed));
            self.healthy()?;
            return Err(Code::NOT_READY);
        }
        self.healthy()
    }

    /// Makes what `clock` knows known to the host.
    pub(super) fn learn(&mut self, clock: &Clock) {
        self.host.join(clock);
        if self.waiting.is_empty() && self.history.settle(&self.host) {
            self.host.clear();
            self.streams.iter_mut().for_each(|stream| stream.clock.clear());
        }
    }

    /// What is over when all that was queued in `stream` is done.
    pub(super) fn clock_of(&self, stream: usize) -> Clock {
        self.streams[stream].clock.clone()
    }

    /// Reports work on `range` that the host has not waited for, and forgets the range: it is about to be freed.
    pub(super) fn release(&mut self, range: Range<u64>, function: &str) {
        if let Some(conflict) = self.history.unordered(range.clone(), &self.host) {
            let detail = format!("{function} frees what {} uses, and nothing waited for that", conflict.earlier.name);
            report(Kind::StreamRace, &conflict, detail);
        }
        self.history.forget(range);
    }

    /// Does what is needed for some operations to be done.
    fn force(&mut self, targets: &[u64]) -> Answer {
        let needed = self.needed(targets);
        // Legal either way: what is not needed may run as well, or not.
        let only = (self.draw(2) == 0).then_some(&needed);
        while targets.iter().any(|&target| !self.done(target)) {
            self.step(only);
        }
        self.healthy()
    }

    /// The operations that come before some, and these.
    fn needed(&self, targets: &[u64]) -> BTreeSet<u64> {
        let mut needed = BTreeSet::new();
        let mut open = targets.to_vec();
        while let Some(number) = open.pop() {
            let Some(operation) = self.waiting.get(&number) else { continue };
            if needed.insert(number) {
                let stream = &self.streams[operation.access.stream];
                let place = stream.waiting.partition_point(|&other| other < number);
                open.extend(place.checked_sub(1).map(|before| stream.waiting[before]));
                open.extend(&operation.after);
            }
        }
        needed
    }

    /// Does one operation that is ready, of `only` where there is such a set. One always is: the lowest number that
    /// waits, as nothing waits for a later one.
    fn step(&mut self, only: Option<&BTreeSet<u64>>) {
        let ready = |stream: &Stream| {
            let number = *stream.waiting.front()?;
            let wanted = only.is_none_or(|only| only.contains(&number));
            (wanted && self.waiting[&number].after.iter().all(|&before| self.done(before))).then_some(number)
        };
        let ready: Vec<u64> = self.streams.iter().filter_map(ready).collect();
        assert!(!ready.is_empty(), "work waits for work that can not be done");
        let number = ready[self.draw(ready.len() as u64) as usize];
        self.execute(number);
    }

    fn execute(&mut self, number: u64) {
        let Some(operation) = self.waiting.remove(&number) else { return };
        self.streams[operation.access.stream].waiting.pop_front();
        self.staged -= operation.work.staged_bytes();
        let freed = match &operation.work {
            Work::Free(range) => Some(range.clone()),
            _ => None,
        };
        let seed = mix(settings().seed() ^ mix(number));
        let (touched, answer) = operation.work.run(&self.memory, seed, &operation.access.name);
        if settings().checked() {
            self.compare(touched, &operation.access, &operation.clock);
        }
        if let Some(range) = freed {
            self.history.forget(range);
        }
        if let Err(code) = answer {
            self.failed = Some(code);
            self.waiting.clear();
            self.staged = 0;
            self.streams.iter_mut().for_each(|stream| stream.waiting.clear());
        }
    }

    /// Notes what an operation touched, and reports the first meeting with each other one that it is not ordered with.
    fn compare(&mut self, touched: Touched, access: &Access, clock: &Clock) {
        let mut met: Vec<Access> = Vec::new();
        let mut meet = |conflict: Option<Conflict>, verb: &str| {
            let Some(conflict) = conflict.filter(|conflict| !met.contains(&conflict.earlier)) else { return };
            let did = if conflict.wrote { "wrote" } else { "read" };
            let detail = format!("{} {verb} what {} {did}, in no order", access.name, conflict.earlier.name);
            report(Kind::StreamRace, &conflict, detail);
            met.push(conflict.earlier);
        };
        for range in touched.reads {
            meet(self.history.read(range, access, clock), "reads");
        }
        for range in touched.writes {
            meet(self.history.write(range, access, clock), "writes");
        }
    }

    /// A number below `choices`, by the seed and how many were drawn before.
    fn draw(&mut self, choices: u64) -> u64 {
        self.draws += 1;
        mix(settings().seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.draws) % choices
    }
}

fn report(kind: Kind, conflict: &Conflict, detail: String) {
    journal::report_host(kind, Some(conflict.address), detail);
}

/// A bijection of 64 bits without visible structure: the finaliser of splitmix64.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
