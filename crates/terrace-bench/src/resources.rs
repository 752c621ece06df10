//! What the process used: CPU time, memory, bytes on disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// CPU seconds of all threads so far.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds of all threads of another process so far, in steps of 10 ms; zero where the system does not say.
pub(crate) fn cpu_seconds_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory now and its highest value, in bytes; zero where the system does not say.
pub(crate) fn resident_bytes() -> (u64, u64) {
    resident_bytes_of("self")
}

/// The same of another process.
pub(crate) fn resident_bytes_of(pid: &str) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (field_bytes(&status, "VmRSS:"), field_bytes(&status, "VmHWM:"))
}

/// Forgets the highest value of resident memory so far, where the system lets us.
pub(crate) fn reset_peak() {
    // Without it the peak of the whole process is reported, which is no less true.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Bytes that this process has caused to be read from and written to the disk so far, page cache aside; zero where
/// the system does not say. Written bytes count when a page becomes dirty, whether by a call or through a mapping.
pub(crate) fn disk_traffic() -> (u64, u64) {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = |name: &str| {
        let value = io.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim().parse::<u64>().unwrap_or(0)
    };
    (field("read_bytes:"), field("write_bytes:"))
}

fn field_bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// Bytes that the files of a directory take on disk (allocated blocks, not lengths).
pub(crate) fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file may be deleted by the store between the two calls.
        let Ok(meta) = entry.metadata() else { continue };
        total += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let (now, peak) = resident_bytes();
        assert!(now > 0 && peak >= now);
        let before = cpu_seconds();
        let mut x = 1;
        while cpu_seconds() - before < 0.001 {
            x = crate::keys::mix(x);
        }
        assert!(x != 0);
    }

    #[test]
    fn the_time_of_a_process_is_found_by_its_id() {
        let before = cpu_seconds_of(std::process::id());
        let own = cpu_seconds();
        assert!(before <= own + 0.05, "{before} of {own}");
        let mut x = 1;
        while cpu_seconds_of(std::process::id()) <= before {
            x = crate::keys::mix(x);
        }
        assert!(x != 0);
    }

    #[test]
    fn a_directory_is_measured_with_what_lies_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), vec![1; 100_000]).unwrap();
        assert!(disk_bytes(dir.path()).unwrap() >= 100_000);
    }
}
