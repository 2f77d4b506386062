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
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("it has a name");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("it is a number"));
    TICK * ticks.sum::<u32>()
}
