//! The most memory that this process held.

use std::fs;

/// Forgets the peak so far. Without effect where the system cannot.
pub fn reset_peak() {
    // Linux: the peak of resident memory becomes what is resident now
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The peak of resident memory since then in bytes, where the system tells it.
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_this_process() {
        let peak = peak().expect("a number");
        assert!((1 << 20..1 << 40).contains(&peak), "{peak}");
    }
}
