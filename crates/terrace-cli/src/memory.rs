//! How much memory this process may use, and what part of it a server takes.
//!
//! The answer is the least of the physical memory and every control-group limit (v2 or v1) above the process.
//! Reading goes through a function argument, so the rules are tested without a kernel.

use std::path::{Path, PathBuf};

/// The share of the usable memory that a server takes by default: one in this many parts.
const BUDGET_DIVISOR: u64 = 4;
/// The least budget worth starting with.
const BUDGET_MIN_BYTES: u64 = 16 << 20;
/// What to assume when the system says nothing.
const FALLBACK_BYTES: u64 = 1 << 30;

/// The default memory budget of a server on this machine.
pub(crate) fn default_budget() -> u64 {
    budget_of(usable_bytes(|path| std::fs::read_to_string(path).ok()))
}

/// A quarter of what may be used, within reason.
fn budget_of(usable_bytes: u64) -> u64 {
    (usable_bytes / BUDGET_DIVISOR).max(BUDGET_MIN_BYTES)
}

/// The least of physical memory and control-group limits.
fn usable_bytes(read: impl Fn(&Path) -> Option<String>) -> u64 {
    let physical = read(Path::new("/proc/meminfo")).and_then(|text| physical_bytes(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| limit_bytes(&read(&path)?));
    limits.chain(physical).min().unwrap_or(FALLBACK_BYTES)
}

/// `MemTotal` of `/proc/meminfo`.
fn physical_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A limit file's content; `max` means none. (Version 1 writes a huge number for none, which loses against the
/// physical memory.)
fn limit_bytes(content: &str) -> Option<u64> {
    content.trim().parse().ok().filter(|&limit| limit > 0)
}

/// The limit files of every group above the process. In a container the named path is often the host's and
/// missing inside, so each group's ancestors up to the root are asked too.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|part| Path::new(root).join(part).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree: 1 kB\n";
    const PHYSICAL: u64 = 16_000_000 * 1024;

    fn usable(files: &[(&str, &str)]) -> u64 {
        usable_bytes(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, content)| (*content).to_owned())
        })
    }

    #[test]
    fn without_a_limit_the_physical_memory_counts() {
        assert_eq!(usable(&[("/proc/meminfo", MEMINFO)]), PHYSICAL);
        let unlimited = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "max\n"),
        ];
        assert_eq!(usable(&unlimited), PHYSICAL);
        assert_eq!(usable(&[]), FALLBACK_BYTES);
    }

    #[test]
    fn the_least_limit_of_any_ancestor_counts() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/memory.max", "2147483648\n"),
        ];
        assert_eq!(usable(&files), 1 << 30);
    }

    #[test]
    fn version_1_is_understood_and_its_no_limit_number_too() {
        let with = |limit| {
            usable(&[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/docker/1\n"),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", limit),
            ])
        };
        assert_eq!(with("536870912\n"), 512 << 20);
        assert_eq!(with("9223372036854771712\n"), PHYSICAL);
    }

    #[test]
    fn the_budget_is_a_quarter_and_never_useless() {
        assert_eq!(budget_of(8 << 30), 2 << 30);
        assert_eq!(budget_of(1 << 20), BUDGET_MIN_BYTES);
        assert!(default_budget() >= BUDGET_MIN_BYTES);
    }
}
