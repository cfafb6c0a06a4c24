//! What the benchmarks share: the sizes, one process for each of them, and how times and memory are read.

use std::process::Command;
use std::time::Duration;

/// Workers.
const SIZES: [usize; 3] = [100, 1_000, 5_000];
/// An odd number, so that the middle one is the median.
pub const RUNS: usize = 11;

/// Prints the head of a table and measures each size in a process of its own: the peak of memory is one for a process.
pub fn each_size(head: &str, measure: fn(usize)) {
    sizes(&SIZES, head, measure);
}

/// The same for other sizes.
pub fn sizes(all: &[usize], head: &str, measure: fn(usize)) {
    if let Some(size) = std::env::args().find_map(|argument| argument.parse::<usize>().ok()) {
        return measure(size);
    }
    println!("{head}");
    for size in all {
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program).arg(size.to_string()).status().unwrap();
        assert!(status.success());
    }
}

/// The median processor time of several runs, divided by how many times each of them does the work.
pub fn median(times: u32, mut work: impl FnMut() -> usize) -> Duration {
    let once = |_| {
        let start = processor_time();
        std::hint::black_box(work());
        processor_time().saturating_sub(start) / times
    };
    let mut times: Vec<_> = (0..RUNS).map(once).collect();
    times.sort();
    times[RUNS / 2]
}

/// How long this thread has had a processor: what else the machine does meanwhile is not our measure.
pub fn processor_time() -> Duration {
    // Gives the processor away for a moment, so that the system brings its books up to date.
    std::thread::yield_now();
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(line.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap())
}

/// Bytes, from the system's own books: `VmRSS:` is what the process has now, `VmHWM:` the most that it ever had.
pub fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
