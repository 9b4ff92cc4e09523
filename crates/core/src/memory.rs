//! How much memory a process can still take.

use std::fs;
use std::path::Path;

/// The memory in bytes that this process can still take, swap included: what the system has available, or what the limits of its control groups
/// leave if that is less. None where the system does not tell it.
pub fn free() -> Option<u64> {
    let system = of_system(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // of the second version: the group's path, whose parents' limits count too
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(group.unwrap_or_default());
    let left = (own.ancestors().take_while(|path| path.starts_with(root))).filter_map(|path| {
        let read = |name| fs::read_to_string(path.join(name)).ok();
        let [limit, used, stat] = ["memory.max", "memory.current", "memory.stat"].map(read);
        of_group(&limit?, &used?, &stat.unwrap_or_default())
    });
    Some(left.fold(system, u64::min))
}

/// By `/proc/meminfo`.
fn of_system(meminfo: &str) -> Option<u64> {
    let entry = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(entry("MemAvailable:")?.saturating_add(entry("SwapFree:").unwrap_or(0)))
}

/// By the files of a control group; none where it has no limit. The pages of files that it has read are given up when memory is short.
fn of_group(limit: &str, used: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let pages = |name| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(number).unwrap_or(0)
    };
    let files = pages("inactive_file ").saturating_add(pages("active_file "));
    let used = number(used)?.saturating_sub(files);
    Some(number(limit)?.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_is_available() {
        let meminfo = "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:   10000 kB\nSwapFree:           500 kB\n";
        assert_eq!(of_system(meminfo), Some(10_500 << 10));
        assert_eq!(of_system("MemAvailable: 7 kB\n"), Some(7 << 10));
        for other in ["", "MemFree: 7 kB\n", "MemAvailable: many kB\n"] {
            assert_eq!(of_system(other), None, "{other}");
        }
    }

    #[test]
    fn a_group_leaves_its_limit_without_what_is_used() {
        let stat = "anon 900\ninactive_file 200\nactive_file 100\n";
        assert_eq!(of_group("1000\n", "900\n", stat), Some(400));
        assert_eq!(of_group("1000\n", "1500\n", ""), Some(0));
        assert_eq!(of_group("max\n", "900\n", stat), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_system_tells_it() {
        let free = free().expect("a number");
        assert!((1 << 20..1 << 50).contains(&free), "{free}");
    }
}
