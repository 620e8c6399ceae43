//! What this machine has, and what other programs leave of it. Linux tells; elsewhere it is assumed.

use std::time::{Duration, Instant};

/// Memory of a machine that does not tell.
const MEMORY_FALLBACK: u64 = 8 << 30;
/// How often the load is looked at, at most: often enough for people, and too seldom to cost anything.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of memory of this machine.
pub(crate) fn memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(MEMORY_FALLBACK)
}

/// `MemTotal` of /proc/meminfo (proc(5)), in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// Follows how many cores other programs leave us.
pub(super) struct Cores {
    threads_max: usize,
    left: usize,
    seen: Option<(Instant, Ticks)>,
}

/// Follows what part of the processor other programs use.
#[derive(Default)]
pub(crate) struct Load(Option<Ticks>);

impl Load {
    /// Since the last look, in percent; nothing the first time.
    pub(crate) fn others(&mut self) -> Option<u8> {
        let now = Ticks::read()?;
        let percent = self.0.and_then(|before| others(before, now));
        self.0 = Some(now);
        percent
    }
}

/// What other programs used in between, in percent of all cores.
fn others(before: Ticks, now: Ticks) -> Option<u8> {
    let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
    let others = now.busy.checked_sub(before.busy)?.saturating_sub(now.ours.checked_sub(before.ours)?);
    u8::try_from(others * 100 / all).ok()
}

/// What the system has counted since its start, in ticks of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    cores: u64,
    /// Of all cores, idle or not.
    all: u64,
    /// Of all programs.
    busy: u64,
    /// Of this process.
    ours: u64,
}

impl Cores {
    pub(super) fn new(threads_max: usize) -> Self {
        Self { threads_max, left: threads_max, seen: None }
    }

    /// Threads for which cores are left, at least one. Looks at the load once a second at most.
    pub(super) fn left(&mut self) -> usize {
        if self.seen.is_none_or(|(at, _)| at.elapsed() >= LOOK)
            && let Some(now) = Ticks::read()
        {
            if let Some((_, before)) = self.seen {
                self.left = threads(before, now, self.threads_max).unwrap_or(self.left);
            }
            self.seen = Some((Instant::now(), now));
        }
        self.left
    }
}

/// As many threads as other programs left cores in between, to the nearest, of `max`; at least one.
fn threads(before: Ticks, now: Ticks, max: usize) -> Option<usize> {
    let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
    let others = now.busy.checked_sub(before.busy)?.saturating_sub(now.ours.checked_sub(before.ours)?);
    let left = (2 * all.saturating_sub(others) * now.cores + all) / (2 * all);
    Some(usize::try_from(left).unwrap_or(max).clamp(1, max))
}

impl Ticks {
    fn read() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).ok();
        Self::parse(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    /// Of /proc/stat and /proc/self/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq of all
    /// cores, and utime, stime of this process, which stand 12th and 13th after its name in brackets.
    fn parse(stat: &str, own: &str) -> Option<Self> {
        let cores = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as u64;
        let sums = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let sums: Vec<u64> = sums.split_whitespace().map_while(|n| n.parse().ok()).take(7).collect();
        let [user, nice, system, idle, iowait, irq, softirq] = sums[..] else { return None };
        let busy = user + nice + system + irq + softirq;
        let mut own = own.rsplit_once(')')?.1.split_whitespace().skip(11).map_while(|n| n.parse::<u64>().ok());
        let ours = own.next()? + own.next()?;
        Some(Self { cores, all: busy + idle + iowait, busy, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        assert_eq!(total("MemTotal:       24615244 kB\nMemFree: 1 kB\n"), Some(24_615_244 << 10));
        assert_eq!((total("MemFree: 1 kB"), total("MemTotal: many kB"), total("")), (None, None, None));
        let stat = "cpu  100 20 30 4000 50 6 7 800 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n";
        let own = "77 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 41 2 0 0 20 0";
        assert_eq!(Ticks::parse(stat, own), Some(Ticks { cores: 2, all: 4_213, busy: 163, ours: 43 }));
        for (stat, own) in [("", own), (stat, ""), (stat, "77 (a) S 1"), ("cpu  1 2 3\ncpu0 1", own)] {
            assert_eq!(Ticks::parse(stat, own), None, "{stat:?} {own:?}");
        }
    }

    #[test]
    fn the_part_of_other_programs_is_told() {
        // Ticks in between, of them busy, of these ours: percent.
        let cases = [(200, 200, 0, Some(100)), (200, 200, 150, Some(25)), (200, 50, 60, Some(0)), (0, 0, 0, None)];
        for (all, busy, ours, want) in cases {
            let before = Ticks { cores: 2, all: 9_000, busy: 5_000, ours: 1_000 };
            let now = Ticks { all: 9_000 + all, busy: 5_000 + busy, ours: 1_000 + ours, ..before };
            assert_eq!(others(before, now), want, "{all} {busy} {ours}");
        }
    }

    #[test]
    fn other_programs_come_first() {
        // Cores, ticks in between, of them busy, of these ours, threads at most: threads.
        let cases = [
            (2, 200, 0, 0, 2, Some(2)),
            (2, 200, 200, 200, 2, Some(2)),
            (2, 200, 200, 160, 2, Some(2)),
            (2, 200, 200, 140, 2, Some(1)),
            (2, 200, 200, 0, 2, Some(1)),
            (8, 800, 800, 500, 8, Some(5)),
            (8, 800, 300, 0, 8, Some(5)),
            (8, 800, 300, 0, 4, Some(4)),
            (8, 800, 800, 0, 8, Some(1)),
            (64, 6_400, 6_400, 6_500, 64, Some(64)),
            (2, 0, 0, 0, 2, None),
        ];
        for (cores, all, busy, ours, max, want) in cases {
            let before = Ticks { cores, all: 9_000, busy: 5_000, ours: 1_000 };
            let now = Ticks { cores, all: 9_000 + all, busy: 5_000 + busy, ours: 1_000 + ours };
            assert_eq!(threads(before, now, max), want, "{cores} cores, {all} ticks, {busy} busy, {ours} ours");
            assert!(all == 0 || threads(now, before, max).is_none(), "a clock that goes back says nothing");
        }
    }
}
