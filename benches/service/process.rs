//! What the kernel tells of a process.

use std::{fs, time::Duration};

/// Of /proc: USER_HZ is 100 wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// Resident memory in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// Processor time so far, its own and the kernel's for it.
pub fn cpu(pid: u32) -> Duration {
    cpu_if_there(pid).expect("the process runs")
}

/// The same of a process that may have ended.
pub fn cpu_if_there(pid: u32) -> Option<Duration> {
    times(pid, 2)
}

/// The same with that of its children that have ended.
pub fn cpu_with_ended(pid: u32) -> Duration {
    times(pid, 4).expect("the process runs")
}

/// The first so many of: its own time, the kernel's for it, and both of its children that have ended.
fn times(pid: u32, count: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("it has a name");
    let ticks = fields.split(' ').skip(11).take(count).map(|field| field.parse::<u32>().expect("it is a number"));
    Some(TICK * ticks.sum::<u32>())
}
