//! Threads that stay: they spin between the many short loops of one token, and sleep when idle.
//!
//! A loop is a range of items handed out in grains; whoever is free takes the next. A thread that
//! the system has not scheduled misses a loop instead of holding it up.
//!
//! ```text
//! state word:  | epoch (48 bits) | threads inside (15 bits) | open (1 bit) |
//! caller:      set job -> open epoch+1 -> work -> close -> wait until nobody is inside
//! worker:      see an open new epoch -> enter (compare-and-swap) -> work -> leave
//! ```

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

const OPEN: u64 = 1;
const INSIDE: u64 = 2;
const INSIDE_MASK: u64 = 0xfffe;
const EPOCH: u64 = 1 << 16;
/// Looks at the state word before the first yield: about 20 microseconds.
const SPINS: u32 = 4_000;
/// Yields before sleeping: about a millisecond on an idle core.
const YIELDS: u32 = 2_000;

/// A fixed set of threads; the caller is one of them. Some may be told to rest.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(Range<usize>) + Sync),
    items: usize,
    grain: usize,
}

struct Shared {
    state: AtomicU64,
    /// Written only while the state is closed and nobody is inside.
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
    /// Threads that take part, the caller included; the others rest until it grows.
    active: AtomicUsize,
    /// Rung when `active` changes: threads at rest are not woken by loops.
    recall: Condvar,
}

// SAFETY: `job` is the only field that is not already Sync. It is written by the one caller (`run`
// takes `&mut self`) while the state is closed with nobody inside, and read only by threads inside an
// open epoch; the release store that opens it and the acquire on entering order the two. The pointer
// in it is to a `Sync` closure that outlives the epoch, because `run` returns only when all have left.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it is bound to a thread.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads`, at least one: one less is spawned, so a pool of one spawns none.
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
            active: AtomicUsize::new(usize::MAX),
            recall: Condvar::new(),
        });
        let spawn = |n| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("engine-{n}")).spawn(move || shared.serve(n))
        };
        // A machine that refuses a thread gets a smaller pool, not an error.
        let workers = (1..threads.clamp(1, 1024)).map_while(|n| spawn(n).ok()).collect();
        Self { shared, workers }
    }

    /// Number of threads that take part, the caller's included.
    pub(crate) fn threads(&self) -> usize {
        self.shared.active.load(Ordering::Relaxed).min(self.workers.len() + 1)
    }

    /// Lets at most so many threads take part, at least the caller's; none is ended or spawned.
    pub(crate) fn set_threads(&mut self, threads: usize) {
        if self.shared.active.swap(threads.max(1), Ordering::SeqCst) != threads.max(1) {
            drop(self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.shared.recall.notify_all();
        }
    }

    /// Calls `work` with disjoint ranges that together are 0..items, `grain` items at a time.
    /// Returns when all are done. A panic in `work` is raised again here.
    pub(crate) fn run(&mut self, items: usize, grain: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
        let grain = grain.max(1);
        if self.threads() == 1 || items <= grain {
            if items > 0 {
                work(0..items);
            }
            return;
        }
        let shared = &*self.shared;
        // SAFETY: erases the closure's lifetime; `Close` below lets nobody stay inside when we leave.
        let work: *const (dyn Fn(Range<usize>) + Sync) = unsafe {
            std::mem::transmute::<&(dyn Fn(Range<usize>) + Sync), &'static (dyn Fn(Range<usize>) + Sync)>(work)
        };
        let job = Job { work, items, grain };
        // SAFETY: the state is closed and nobody is inside: the last `run` ended so, and `&mut self`
        // means there is no other.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        let epoch = (shared.state.load(Ordering::Relaxed) & !(EPOCH - 1)).wrapping_add(EPOCH);
        shared.state.store(epoch | OPEN, Ordering::SeqCst);
        let close = Close(shared);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
            shared.bell.notify_all();
        }
        shared.take_part(job);
        drop(close);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a kernel panicked in another thread");
    }

    /// [`Self::run`] over the chunks of a slice: `work(index, chunk)`.
    pub(crate) fn chunks<T: Send>(&mut self, data: &mut [T], size: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
        let count = data.len().div_ceil(size);
        let grain = (count / (self.threads() * 4)).max(1);
        let length = data.len();
        let shared = SharedSlice::new(data);
        self.run(count, grain, &|range| {
            for i in range {
                let (from, to) = (i * size, ((i + 1) * size).min(length));
                // SAFETY: every index is handed out once, so the chunks are disjoint.
                work(i, unsafe { shared.range(from, to - from) });
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.bell.notify_all();
        self.shared.recall.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs, so it ends normally.
            drop(worker.join());
        }
    }
}

/// Closes the epoch and waits until all have left, also when the caller's own part panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while state & INSIDE_MASK != 0 {
            spins += 1;
            if spins > SPINS {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
            state = self.0.state.load(Ordering::Acquire);
        }
    }
}

impl Shared {
    fn take_part(&self, job: Job) {
        // SAFETY: the closure lives until `run` returns, which waits for everybody inside.
        let work = unsafe { &*job.work };
        loop {
            let from = self.next.fetch_add(job.grain, Ordering::Relaxed);
            if from >= job.items {
                return;
            }
            work(from..(from + job.grain).min(job.items));
        }
    }

    /// The life of worker `n`, from 1.
    fn serve(&self, n: usize) {
        let mut seen = 0;
        while let Some(state) = self.wait(n, seen) {
            seen = state & !(EPOCH - 1);
            let entered =
                self.state.compare_exchange(state, state + INSIDE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if !entered {
                // Another worker entered, or the caller closed: look again.
                seen = seen.wrapping_sub(EPOCH);
                std::hint::spin_loop();
                continue;
            }
            // SAFETY: we are inside an open epoch, so the job is set and nobody writes it.
            let job = unsafe { *self.job.get() };
            let job = job.expect("an open epoch has a job");
            if catch_unwind(AssertUnwindSafe(|| self.take_part(job))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(INSIDE, Ordering::AcqRel);
        }
    }

    /// The state once it is open in an epoch other than `seen`, and worker `n` takes part; `None` when the
    /// pool ends.
    fn wait(&self, n: usize, seen: u64) -> Option<u64> {
        let mut looks = 0u32;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let state = self.state.load(Ordering::SeqCst);
            // Looked at after the state: whoever sees a loop sees for how many it is.
            if n >= self.active.load(Ordering::SeqCst) {
                self.rest(n);
                continue;
            }
            if state & OPEN != 0 && state & !(EPOCH - 1) != seen {
                return Some(state);
            }
            looks += 1;
            if looks < SPINS {
                std::hint::spin_loop();
            } else if looks < SPINS + YIELDS {
                std::thread::yield_now();
            } else {
                self.sleep(state & !(EPOCH - 1));
                looks = 0;
            }
        }
    }

    /// Sleeps while worker `n` does not take part.
    fn rest(&self, n: usize) {
        let guard = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = |_: &mut ()| !self.stop.load(Ordering::SeqCst) && n >= self.active.load(Ordering::SeqCst);
        drop(self.recall.wait_while(guard, rests).unwrap_or_else(PoisonError::into_inner));
    }

    /// Sleeps while the epoch is `at`.
    fn sleep(&self, at: u64) {
        let guard = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // Any new epoch wakes, even one that has closed meanwhile: more are about to come.
        let idle =
            |_: &mut ()| !self.stop.load(Ordering::SeqCst) && self.state.load(Ordering::SeqCst) & !(EPOCH - 1) == at;
        drop(self.bell.wait_while(guard, idle).unwrap_or_else(PoisonError::into_inner));
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A mutable slice that several threads write in disjoint places.
#[derive(Clone, Copy)]
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    length: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out ranges through an unsafe function whose callers keep them disjoint.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), owner: PhantomData }
    }

    /// The `count` elements from `from` on; panics if they are not in the slice.
    ///
    /// # Safety
    /// No other thread may hold a range that overlaps this one.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, from: usize, count: usize) -> &'a mut [T] {
        assert!(from <= self.length && count <= self.length - from, "a range outside its slice");
        // SAFETY: inside the slice by the assertion, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), count) }
    }
}
