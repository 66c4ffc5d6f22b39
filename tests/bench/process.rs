//! What Linux tells of a running daemon.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The memory that it has of its own now, in bytes.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most memory that it had since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Lets [`peak`] begin anew (`proc_pid_clear_refs(5)`).
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// How many files and sockets it has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The processor time that it has used, all its threads together.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    // utime and stime, fields 14 and 15 of proc_pid_stat(5), in hundredths of a second on every Linux.
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The processor time that a process, its threads and its children have used, to the nanosecond (`proc_pid_schedstat`).
pub fn busy(pid: u32) -> Duration {
    let own = tasks(pid)
        .filter_map(|task| fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum::<Duration>();
    own + children(pid).into_iter().map(busy).sum::<Duration>()
}

/// The threads of a process by their names, and the processor time that each has used.
pub fn threads(pid: u32) -> Vec<(String, Duration)> {
    let thread = |task: PathBuf| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let stat = fs::read_to_string(task.join("schedstat")).ok()?;
        let busy = stat.split(' ').next()?.parse().ok()?;
        Some((name.trim_end().to_owned(), Duration::from_nanos(busy)))
    };
    tasks(pid).filter_map(thread).collect()
}

/// The memory that a process and its children have now, each with what it shares, in bytes.
pub fn resident_in_all(pid: u32) -> u64 {
    let below = children(pid).into_iter().map(resident_in_all);
    resident(pid) + below.sum::<u64>()
}

fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.filter_map(|task| Some(task.ok()?.path()))
}

fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).filter_map(|task| fs::read_to_string(task.join("children")).ok());
    let text = lists.collect::<String>();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<u64>().unwrap() * 1024
}
