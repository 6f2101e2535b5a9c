//! Which driver this machine allows.
//!
//! io_uring is blocked in many places (containers by default, hardened kernels by sysctl), and that
//! is no reason not to run: `epoll` keeps the same contract. But it is said, with what would change
//! it. Lack of memory or descriptors is another matter: there io_uring works and the limits are
//! wrong, so the answer is advice, never a silent change of driver.

use std::fs;

use super::uring::ring::{SIZES, locked_bytes};
use super::uring::self_test::{Trouble, self_test};

/// The oldest kernel whose io_uring does what `uring` needs.
///
/// Before 6.13 one table of registered files shared one chain of references, and an operation armed
/// on *any* slot kept the files of all slots closed after it from being released (liburing issue
/// 1192): with a watch on every socket, no client would ever see a FIN. It was reworked in 6.13
/// into a reference for each file.
pub const FLOOR: (u32, u32) = (6, 13);

/// Slots of the largest table of files (`IORING_MAX_FIXED_FILES`).
const FILES_MAX: usize = 1 << 20;

/// How far this machine supports io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// io_uring works. Where there is advice, it works with smaller rings than it should, and this
    /// is to be said.
    Uring {
        /// Entries to submit for which each shard's ring has room, all of them together.
        entries: usize,
        /// What to raise.
        advice: Option<String>,
    },
    /// io_uring is blocked or too old; why, and what would change it. Use `epoll` and say this.
    Blocked(String),
    /// io_uring works, but the limits leave no room; which to raise. Do not start.
    NoRoom(String),
}

/// Locked memory of one shard's ring in bytes: as it should be, and the least that works.
///
/// As `locked_bytes` of the rings' sizes says.
pub fn ring_bytes() -> (u64, u64) {
    (locked_bytes(SIZES[0]), locked_bytes(SIZES[SIZES.len() - 1]))
}

/// Tries io_uring on this machine, in this process, under its seccomp filter, with as many rings
/// beside each other as there are to be `shards`. `capacity` is what one of them will ask for
/// ([`super::DriverConfig::capacity`]).
pub fn probe(capacity: usize, shards: usize) -> Support {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    if let Some(support) = too_old(&release) {
        return support;
    }
    judge(self_test(capacity.min(FILES_MAX), shards), disabled.as_deref().map(str::trim))
}

/// What a kernel's release says of it, where that settles it.
fn too_old(release: &str) -> Option<Support> {
    let release = release.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        // A name that we cannot read says nothing against the kernel; the self-test will.
        return None;
    };
    ((major, minor) < FLOOR).then(|| {
        let (major, minor) = FLOOR;
        Support::Blocked(format!(
            "this kernel is {release}, and its io_uring does not release closed sockets while \
             others are watched; from {major}.{minor} on io_uring is used"
        ))
    })
}

/// What the self-test says of it. `disabled` is the sysctl `kernel.io_uring_disabled`, where there
/// is one.
fn judge(outcome: Result<(usize, usize), Trouble>, disabled: Option<&str>) -> Support {
    let Trouble { step, errno } = match outcome {
        Ok((got, wanted)) => {
            return Support::Uring { entries: got, advice: cramped(got, wanted) };
        }
        Err(trouble) => trouble,
    };
    let error = std::io::Error::from_raw_os_error(errno);
    if let Some(advice) = advice(errno) {
        return Support::NoRoom(format!("{step} failed: {error}. {advice}"));
    }
    match errno {
        libc::EPERM | libc::EACCES => Support::Blocked(forbidden(step, &error, disabled)),
        libc::ENOSYS => Support::Blocked(format!(
            "{step} failed: {error}. The kernel was built without io_uring, or a sandbox (gVisor, \
             a seccomp profile) hides it: allow io_uring_setup, io_uring_enter and \
             io_uring_register"
        )),
        _ => Support::Blocked(format!(
            "{step} failed: {error}. This kernel's io_uring lacks what \
             is needed"
        )),
    }
}

/// What to raise where the kernel has no room for a ring or for what belongs to one.
pub fn advice(errno: i32) -> Option<&'static str> {
    match errno {
        libc::ENOMEM => Some(
            "Rings count against the limit of locked memory: raise it (`ulimit -l`, systemd \
             LimitMEMLOCK=infinity), or use fewer shards",
        ),
        libc::EMFILE | libc::ENFILE => Some(
            "Rings, listeners and a shard's table of connections are bounded by the limit of open \
             files: raise it (`ulimit -n`, systemd LimitNOFILE=1048576)",
        ),
        _ => None,
    }
}

fn cramped(got: usize, wanted: usize) -> Option<String> {
    (got < wanted).then(|| {
        format!(
            "the limit of locked memory leaves each shard room for a ring of {got} entries \
             instead of {wanted}, which makes sending dearer: raise it (`ulimit -l`, systemd \
             LimitMEMLOCK=infinity), or use fewer shards"
        )
    })
}

fn forbidden(step: &str, error: &std::io::Error, disabled: Option<&str>) -> String {
    match disabled {
        Some("2") => format!(
            "{step} failed: {error}. The sysctl kernel.io_uring_disabled is 2, which forbids \
             io_uring to everyone: set it to 0"
        ),
        Some("1") => format!(
            "{step} failed: {error}. The sysctl kernel.io_uring_disabled is 1, which allows \
             io_uring only to the group in kernel.io_uring_group: join it, or set it to 0"
        ),
        _ => format!(
            "{step} failed: {error}. A seccomp filter forbids io_uring, as containers do by \
             default: allow io_uring_setup, io_uring_enter and io_uring_register in its profile"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(errno: i32, disabled: Option<&str>) -> String {
        match judge(Err(Trouble { step: "io_uring_setup", errno }), disabled) {
            Support::Blocked(why) => why,
            other => panic!("{errno} became {other:?}"),
        }
    }

    #[test]
    fn a_blocked_ring_falls_back_and_says_what_would_change_it() {
        assert!(blocked(libc::EPERM, Some("2")).contains("kernel.io_uring_disabled is 2"));
        assert!(blocked(libc::EPERM, Some("1")).contains("kernel.io_uring_group"));
        assert!(blocked(libc::EPERM, Some("0")).contains("seccomp"));
        assert!(blocked(libc::EPERM, None).contains("seccomp"));
        assert!(blocked(libc::ENOSYS, None).contains("gVisor"));
        assert!(blocked(libc::EINVAL, None).contains("io_uring_setup failed"));
    }

    #[test]
    fn a_lack_of_room_never_changes_the_driver() {
        for (errno, advice) in
            [(libc::ENOMEM, "ulimit -l"), (libc::EMFILE, "ulimit -n"), (libc::ENFILE, "ulimit -n")]
        {
            let support = judge(Err(Trouble { step: "io_uring_setup", errno }), Some("0"));
            assert!(matches!(support, Support::NoRoom(why) if why.contains(advice)), "{errno}");
        }
    }

    #[test]
    fn a_kernel_below_the_floor_is_named() {
        for old in ["6.12.9-arch1", "6.1.0-13-amd64\n", "5.15.0", "4.4.0"] {
            let Some(Support::Blocked(why)) = too_old(old) else { panic!("{old} is new enough") };
            assert!(why.contains(old.trim()));
        }
        for new in ["6.13.0", "6.18.44-fc", "7.0.0-rc1", "unreadable", ""] {
            assert_eq!(too_old(new), None, "{new}");
        }
    }

    #[test]
    fn a_working_ring_is_used() {
        let support = judge(Ok((1024, 1024)), Some("0"));
        assert_eq!(support, Support::Uring { entries: 1024, advice: None });
    }

    #[test]
    fn a_smaller_ring_is_used_and_said() {
        let Support::Uring { entries: 256, advice: Some(advice) } = judge(Ok((256, 1024)), None)
        else {
            panic!("a cramped ring is used in silence")
        };
        assert!(advice.contains("256") && advice.contains("ulimit -l"));
    }

    #[test]
    fn a_capacity_beyond_the_limit_of_open_files_is_no_room() {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let beyond = limit.map_or(usize::MAX, |limit| limit as usize + 1);
        if beyond > FILES_MAX || !matches!(probe(64, 1), Support::Uring { .. }) {
            return eprintln!("SKIPPED: this machine's limit does not bound tables of files");
        }
        let support = probe(beyond, 1);
        assert!(matches!(support, Support::NoRoom(_)), "{support:?}");
    }
}
