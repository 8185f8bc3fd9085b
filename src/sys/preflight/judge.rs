//! What the facts mean for what is needed.

use std::io;

use super::{Facts, Finding, Kernel, Needs, Report, Severity, Trial};
use crate::limits;
use crate::sys::rlimit::UNLIMITED;

/// Compares the facts with the needs. Looks at nothing else.
pub fn judge(facts: &Facts, needs: &Needs) -> Report {
    let mut findings: Vec<Finding> = [
        ring(facts, needs),
        locked_memory(facts, needs),
        descriptors(facts, needs),
        backlog(facts, needs),
        migration(facts, needs),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.sort_by_key(|finding| finding.severity);
    Report { findings }
}

fn finding(severity: Severity, what: impl Into<String>, fix: impl Into<String>) -> Option<Finding> {
    Some(Finding {
        severity,
        what: what.into(),
        fix: fix.into(),
    })
}

/// Whether rings can be had, and good ones.
fn ring(facts: &Facts, needs: &Needs) -> Option<Finding> {
    let kernel = facts.kernel;
    let oldest = Kernel::from(limits::KERNEL_MIN);
    match &facts.ring {
        Trial::Usable { missing, .. } if !missing.is_empty() => finding(
            Severity::Error,
            format!(
                "the io_uring of this kernel ({kernel}) lacks what the executor needs: {}",
                missing.join(", ")
            ),
            format!("boot a kernel of at least {oldest}"),
        ),
        Trial::Usable {
            cooperative: false, ..
        } => finding(
            Severity::Warning,
            format!(
                "the io_uring of this kernel ({kernel}) has no IORING_SETUP_COOP_TASKRUN: adit \
                 works, and takes about twice the time for a short message"
            ),
            format!(
                "boot a kernel of at least {}",
                Kernel::from(limits::KERNEL_COOPERATIVE)
            ),
        ),
        Trial::Usable { .. } => None,
        &Trial::Refused { call, errno } => refused(facts, needs, call, errno),
    }
}

fn refused(facts: &Facts, needs: &Needs, call: &str, errno: i32) -> Option<Finding> {
    match errno {
        libc::ENOSYS => not_there(facts, call),
        libc::EPERM | libc::EACCES => forbidden(facts, call, errno),
        // What the limit of locked memory explains is said there, with figures.
        libc::ENOMEM if short_of_memlock(facts, needs).is_some() => None,
        libc::ENOMEM if !facts.may_lock_any && facts.memlock.hard != UNLIMITED => finding(
            Severity::Error,
            format!(
                "{call} found no memory to lock, though {} would do: other processes of this user \
                 hold the rest of RLIMIT_MEMLOCK, or held it until a moment ago",
                bytes(facts.memlock.hard)
            ),
            format!(
                "run adit as a user of its own, or {}",
                raise_memlock(facts.memlock.hard.saturating_add(memlock_needed(needs)))
            ),
        ),
        libc::ENOMEM => finding(
            Severity::Error,
            format!("{call} found no memory"),
            "give the machine, the container or the systemd unit (MemoryMax=) more memory",
        ),
        libc::EMFILE => finding(
            Severity::Error,
            format!(
                "{call} found no file descriptor left: {} are open of {}",
                facts.descriptors_open, facts.nofile.soft
            ),
            raise_nofile(descriptors_needed(facts, needs) + limits::DESCRIPTORS_RESERVE),
        ),
        libc::ENFILE => finding(
            Severity::Error,
            "this machine has no file descriptor left for any process",
            "raise the sysctl fs.file-max",
        ),
        _ => finding(
            Severity::Error,
            format!("{call} failed: {}", io::Error::from_raw_os_error(errno)),
            "adit needs io_uring (io_uring_setup(2)); see the kernel's log for what is the matter",
        ),
    }
}

/// ENOSYS: too old, not compiled in, or a filter that pretends so.
fn not_there(facts: &Facts, call: &str) -> Option<Finding> {
    let kernel = facts.kernel;
    let oldest = Kernel::from(limits::KERNEL_MIN);
    if kernel < oldest {
        finding(
            Severity::Error,
            format!("this kernel ({kernel}) is too old for io_uring as adit needs it"),
            format!("boot a kernel of at least {oldest}"),
        )
    } else if facts.seccomp_filter {
        finding(
            Severity::Error,
            format!(
                "{call} is answered as if this kernel ({kernel}) had no io_uring: most likely by \
                 the seccomp filter that is in force"
            ),
            SECCOMP_FIX,
        )
    } else {
        finding(
            Severity::Error,
            format!("this kernel ({kernel}) was built without io_uring"),
            "boot a kernel that has CONFIG_IO_URING=y",
        )
    }
}

const SECCOMP_FIX: &str = "\
allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile. Docker and \
Podman: --security-opt seccomp=PROFILE.json, a copy of the default profile with these three added. \
Kubernetes (containerd, CRI-O): securityContext.seccompProfile, type Localhost, with such a \
profile. systemd: one more line SystemCallFilter=io_uring_setup io_uring_enter io_uring_register";

/// EPERM: by the sysctl, by a seccomp filter, or by a security module.
fn forbidden(facts: &Facts, call: &str, errno: i32) -> Option<Finding> {
    let by_sysctl = match facts.io_uring_disabled {
        Some(1) => !facts.is_administrator && !facts.in_io_uring_group,
        Some(2..) => true,
        _ => false,
    };
    if by_sysctl && call == "io_uring_setup" {
        let value = facts.io_uring_disabled.unwrap_or_default();
        let (whom, group) = match value {
            1 => (
                "to all but the privileged",
                ", or put adit's user into a group and write its id to kernel.io_uring_group",
            ),
            _ => ("to every process", ""),
        };
        let too = if facts.seccomp_filter {
            ". A seccomp filter is in force too, and may refuse it as well"
        } else {
            ""
        };
        finding(
            Severity::Error,
            format!("the sysctl kernel.io_uring_disabled={value} forbids io_uring {whom}{too}"),
            format!(
                "`sysctl kernel.io_uring_disabled=0`, for good in a file of /etc/sysctl.d{group}"
            ),
        )
    } else if facts.seccomp_filter {
        finding(
            Severity::Error,
            format!(
                "the seccomp filter that is in force refuses {call}: container runtimes forbid \
                 io_uring unless told otherwise"
            ),
            SECCOMP_FIX,
        )
    } else {
        finding(
            Severity::Error,
            format!(
                "{call} is refused ({}), neither by a seccomp filter nor by \
                 kernel.io_uring_disabled: most likely by a security module",
                io::Error::from_raw_os_error(errno)
            ),
            "look for the refusal in the audit log (`ausearch -m avc`, `journalctl -k`), and allow \
             io_uring to adit in the SELinux or AppArmor policy",
        )
    }
}

/// Whether the shards' rings fit into RLIMIT_MEMLOCK.
fn locked_memory(facts: &Facts, needs: &Needs) -> Option<Finding> {
    let needed = short_of_memlock(facts, needs)?;
    let limit = bytes(facts.memlock.hard);
    if facts.memlock.hard < limits::MEMLOCK_MIN {
        return finding(
            Severity::Error,
            format!(
                "RLIMIT_MEMLOCK is {limit}: no executor starts with less than {}, root's neither",
                bytes(limits::MEMLOCK_MIN)
            ),
            raise_memlock(needed),
        );
    }
    let shards = needs.shards;
    let fitting = facts.memlock.hard / limits::SHARD_MEMLOCK;
    let fix = format!(
        "{}, or run {fitting} shards at most (--shards {fitting}), or give adit the capability \
         CAP_IPC_LOCK",
        raise_memlock(needed)
    );
    if rings_are_charged(facts.kernel) {
        finding(
            Severity::Error,
            format!(
                "RLIMIT_MEMLOCK is {limit}: the rings of {shards} shards lock {}, {} each",
                bytes(needed),
                bytes(limits::SHARD_MEMLOCK)
            ),
            fix,
        )
    } else {
        finding(
            Severity::Warning,
            format!(
                "RLIMIT_MEMLOCK is {limit}: with {shards} shards, which would lock up to {}, not \
                 all can register their buffers; adit works without, and each logs a warning",
                bytes(needed)
            ),
            fix,
        )
    }
}

/// What RLIMIT_MEMLOCK would have to be, in bytes, if it is less.
fn short_of_memlock(facts: &Facts, needs: &Needs) -> Option<u64> {
    let needed = memlock_needed(needs);
    let least = if facts.may_lock_any {
        limits::MEMLOCK_MIN
    } else {
        needed
    };
    (facts.memlock.hard < least).then_some(needed)
}

/// What the rings of so many shards may lock, in bytes.
pub fn memlock_needed(needs: &Needs) -> u64 {
    (needs.shards as u64 * limits::SHARD_MEMLOCK).max(limits::MEMLOCK_MIN)
}

/// Whether this kernel charges a ring's own memory to its user, and not just
/// the buffers registered with it. From 5.12 on the memory cgroup had it; since
/// 6.14 the user has it again.
fn rings_are_charged(kernel: Kernel) -> bool {
    kernel < Kernel::from((5, 12)) || kernel >= Kernel::from((6, 14))
}

/// Whether RLIMIT_NOFILE leaves room for shards and tunnels.
fn descriptors(facts: &Facts, needs: &Needs) -> Option<Finding> {
    let limit = facts.nofile.hard;
    let fixed = descriptors_needed(facts, needs);
    let tunnels = (needs.tunnels as u64).saturating_mul(limits::TUNNEL_DESCRIPTORS);
    let with_tunnels = fixed
        .saturating_add(limits::DESCRIPTORS_RESERVE)
        .saturating_add(tunnels);
    let least = fixed + least_room(needs.shards as u64);
    let fitting = tunnels_fitting(limit.saturating_sub(fixed));
    if limit < least {
        finding(
            Severity::Error,
            format!(
                "RLIMIT_NOFILE is {limit}: {} shards of {} listeners need {least} file \
                 descriptors to carry any tunnels",
                needs.shards, needs.listeners
            ),
            raise_nofile(with_tunnels),
        )
    } else if fitting < needs.tunnels as u64 {
        finding(
            Severity::Warning,
            format!(
                "RLIMIT_NOFILE is {limit}: there is room for some {fitting} tunnels at once, not \
                 for {}, and others wait",
                needs.tunnels
            ),
            raise_nofile(with_tunnels),
        )
    } else {
        None
    }
}

/// What shards need, and what is open already.
fn descriptors_needed(facts: &Facts, needs: &Needs) -> u64 {
    let per_shard = limits::SHARD_DESCRIPTORS + needs.listeners as u64;
    needs.shards as u64 * per_shard + facts.descriptors_open as u64
}

/// Beyond that, without which no start is worth it: a few tunnels, and one for
/// each shard, for a shard lets at least one in. Many shards need no more than
/// the full reserve.
fn least_room(shards: u64) -> u64 {
    let tunnels = limits::TUNNELS_LEAST.max(shards);
    let room = limits::DESCRIPTORS_RESERVE_MIN + tunnels * limits::TUNNEL_DESCRIPTORS;
    room.min(limits::DESCRIPTORS_RESERVE)
}

/// Tunnels for which so many are enough, with the reserve.
fn tunnels_fitting(left: u64) -> u64 {
    let reserve = (left / 4).clamp(limits::DESCRIPTORS_RESERVE_MIN, limits::DESCRIPTORS_RESERVE);
    left.saturating_sub(reserve) / limits::TUNNEL_DESCRIPTORS
}

fn backlog(facts: &Facts, needs: &Needs) -> Option<Finding> {
    let somaxconn = facts.somaxconn.filter(|&max| max < needs.backlog)?;
    finding(
        Severity::Info,
        format!(
            "net.core.somaxconn={somaxconn} cuts the backlog of {} to it",
            needs.backlog
        ),
        format!(
            "`sysctl net.core.somaxconn={}`, or a lower backlog",
            needs.backlog
        ),
    )
}

fn migration(facts: &Facts, needs: &Needs) -> Option<Finding> {
    if facts.tcp_migrate_req != Some(false) || needs.shards < 2 {
        return None;
    }
    finding(
        Severity::Info,
        "net.ipv4.tcp_migrate_req=0: a connection that is still queued when its shard's listener \
         closes is lost",
        "`sysctl net.ipv4.tcp_migrate_req=1`, which moves it to another shard's listener",
    )
}

fn raise_memlock(needed: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    let mib = needed.div_ceil(MIB);
    format!(
        "raise it to {mib} MiB: `ulimit -l {}` (hard limit too), LimitMEMLOCK={mib}M in the \
         systemd unit, or `docker run --ulimit memlock={}`",
        mib * 1024,
        mib * MIB
    )
}

fn raise_nofile(needed: u64) -> String {
    format!(
        "raise it to {needed}: `ulimit -n {needed}` (hard limit too), LimitNOFILE={needed} in the \
         systemd unit, or `docker run --ulimit nofile={needed}`"
    )
}

/// In the largest unit that needs no fraction.
fn bytes(bytes: u64) -> String {
    match bytes {
        UNLIMITED => "unlimited".into(),
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::rlimit::Limit;

    const MIB: u64 = 1024 * 1024;

    /// A machine on which nothing is the matter.
    fn good() -> Facts {
        Facts {
            kernel: Kernel::from((6, 18)),
            ring: Trial::Usable {
                cooperative: true,
                missing: Vec::new(),
            },
            io_uring_disabled: Some(0),
            in_io_uring_group: false,
            seccomp_filter: false,
            memlock: Limit {
                soft: 8 * MIB,
                hard: 8 * MIB,
            },
            may_lock_any: false,
            is_administrator: false,
            nofile: Limit {
                soft: 1024,
                hard: 524_288,
            },
            descriptors_open: 10,
            somaxconn: Some(4096),
            tcp_migrate_req: Some(true),
        }
    }

    fn needs(shards: usize) -> Needs {
        Needs {
            shards,
            listeners: 2,
            backlog: 4096,
            tunnels: 1000,
        }
    }

    fn refusal(errno: i32) -> Trial {
        Trial::Refused {
            call: "io_uring_setup",
            errno,
        }
    }

    /// The one finding, which must be of that severity and hold those texts.
    #[track_caller]
    fn one(facts: &Facts, needs: &Needs, severity: Severity, texts: &[&str]) {
        let report = judge(facts, needs);
        assert_eq!(report.findings.len(), 1, "{report}");
        assert_eq!(report.findings[0].severity, severity, "{report}");
        assert_eq!(report.can_start(), severity != Severity::Error);
        for text in texts {
            assert!(
                report.to_string().contains(text),
                "no {text:?} in\n{report}"
            );
        }
    }

    #[test]
    fn a_good_machine_is_given_no_findings() {
        assert_eq!(judge(&good(), &needs(32)), Report::default());
    }

    #[test]
    fn no_io_uring_by_age_by_build_and_by_pretence_are_told_apart() {
        let facts = Facts {
            ring: refusal(libc::ENOSYS),
            ..good()
        };
        let old = Facts {
            kernel: Kernel::from((5, 4)),
            ..facts.clone()
        };
        one(
            &old,
            &needs(2),
            Severity::Error,
            &["(5.4) is too old", "at least 5.8"],
        );
        one(&facts, &needs(2), Severity::Error, &["CONFIG_IO_URING"]);
        let filtered = Facts {
            seccomp_filter: true,
            ..facts
        };
        one(
            &filtered,
            &needs(2),
            Severity::Error,
            &["seccomp", "io_uring_enter"],
        );
    }

    #[test]
    fn refusal_by_sysctl_by_seccomp_and_by_policy_are_told_apart() {
        let facts = Facts {
            ring: refusal(libc::EPERM),
            ..good()
        };
        for (disabled, text) in [(1, "kernel.io_uring_group"), (2, "every process")] {
            let facts = Facts {
                io_uring_disabled: Some(disabled),
                ..facts.clone()
            };
            let name = format!("kernel.io_uring_disabled={disabled} forbids");
            one(&facts, &needs(2), Severity::Error, &[&name, text]);
        }
        let filtered = Facts {
            seccomp_filter: true,
            ..facts.clone()
        };
        let texts = ["seccomp", "Docker", "Kubernetes", "containerd"];
        one(&filtered, &needs(2), Severity::Error, &texts);
        // The sysctl does not concern the privileged, nor its group: it is not
        // to blame then.
        for exempt in [
            Facts {
                is_administrator: true,
                ..filtered.clone()
            },
            Facts {
                in_io_uring_group: true,
                ..filtered
            },
        ] {
            let exempt = Facts {
                io_uring_disabled: Some(1),
                ..exempt
            };
            one(
                &exempt,
                &needs(2),
                Severity::Error,
                &["seccomp filter that"],
            );
        }
        one(&facts, &needs(2), Severity::Error, &["security module"]);
    }

    #[test]
    fn a_ring_that_lacks_something_is_refused_and_a_plain_one_is_not() {
        let facts = |cooperative, missing| Facts {
            kernel: Kernel::from((5, 6)),
            ring: Trial::Usable {
                cooperative,
                missing,
            },
            ..good()
        };
        let lacking = facts(false, vec!["SEND", "RECV"]);
        one(
            &lacking,
            &needs(2),
            Severity::Error,
            &["SEND, RECV", "at least 5.8"],
        );
        let plain = facts(false, vec![]);
        one(
            &plain,
            &needs(2),
            Severity::Warning,
            &["COOP_TASKRUN", "at least 5.19"],
        );
    }

    #[test]
    fn locked_memory_is_counted_per_shard() {
        // 8 MiB hold 32 shards.
        one(
            &good(),
            &needs(128),
            Severity::Error,
            &[
                "RLIMIT_MEMLOCK is 8 MiB",
                "128 shards lock 32 MiB",
                "ulimit -l 32768",
                "LimitMEMLOCK=32M",
                "--shards 32",
            ],
        );
        one(&good(), &needs(33), Severity::Error, &["LimitMEMLOCK=9M"]);
        let soft = Facts {
            memlock: Limit {
                soft: MIB,
                hard: UNLIMITED,
            },
            ..good()
        };
        assert!(judge(&soft, &needs(128)).can_start());
        let root = Facts {
            may_lock_any: true,
            ..good()
        };
        assert_eq!(judge(&root, &needs(128)), Report::default());
        let uncharged = Facts {
            kernel: Kernel::from((6, 1)),
            ..good()
        };
        one(
            &uncharged,
            &needs(128),
            Severity::Warning,
            &["LimitMEMLOCK=32M"],
        );
    }

    #[test]
    fn the_executors_own_minimum_binds_root_too() {
        let facts = Facts {
            memlock: Limit {
                soft: 65536,
                hard: 65536,
            },
            may_lock_any: true,
            ..good()
        };
        let texts = ["RLIMIT_MEMLOCK is 64 KiB", "512 KiB", "LimitMEMLOCK=1M"];
        one(&facts, &needs(1), Severity::Error, &texts);
    }

    #[test]
    fn no_memory_is_put_down_to_what_caused_it() {
        let facts = Facts {
            ring: refusal(libc::ENOMEM),
            ..good()
        };
        one(&facts, &needs(128), Severity::Error, &["LimitMEMLOCK=32M"]);
        let texts = ["other processes of this user", "LimitMEMLOCK=9M"];
        one(&facts, &needs(4), Severity::Error, &texts);
        let root = Facts {
            may_lock_any: true,
            ..facts
        };
        one(&root, &needs(4), Severity::Error, &["MemoryMax="]);
    }

    #[test]
    fn descriptors_are_counted_for_shards_and_then_for_tunnels() {
        let facts = |hard| Facts {
            nofile: Limit { soft: 64, hard },
            ..good()
        };
        let fixed = 16 * (5 + 2) + 10;
        let all = fixed + 128 + 2 * 1000;
        let raise = format!("LimitNOFILE={all}");
        // One for each shard, at least.
        let least = fixed + 16 + 2 * 16;
        one(
            &facts(least - 1),
            &needs(16),
            Severity::Error,
            &["RLIMIT_NOFILE is 169", "need 170 file descriptors", &raise],
        );
        for (limit, room) in [
            (least, "room for some 16 tunnels"),
            // A quarter is kept.
            (fixed + 80, "room for some 30 tunnels"),
            (fixed + 128 + 400, "room for some 200 tunnels"),
            (all - 1, "room for some 999 tunnels"),
        ] {
            one(
                &facts(limit),
                &needs(16),
                Severity::Warning,
                &[room, &raise],
            );
        }
        // A handful is enough for one shard, and the reserve for very many.
        let alone = 7 + 10 + 16 + 2 * 4;
        one(
            &facts(alone),
            &needs(1),
            Severity::Warning,
            &["some 4 tunnels"],
        );
        one(&facts(alone - 1), &needs(1), Severity::Error, &[]);
        let root = |limit| Facts {
            may_lock_any: true,
            ..facts(limit)
        };
        let many = 128 * 7 + 10 + 128;
        assert!(judge(&root(many), &needs(128)).can_start());
        assert!(!judge(&root(many - 1), &needs(128)).can_start());
        assert_eq!(judge(&facts(all), &needs(16)), Report::default());
        let none_left = Facts {
            ring: refusal(libc::EMFILE),
            ..facts(all)
        };
        one(
            &none_left,
            &needs(16),
            Severity::Error,
            &["10 are open of 64"],
        );
    }

    #[test]
    fn lesser_matters_are_told_last() {
        let facts = Facts {
            somaxconn: Some(128),
            tcp_migrate_req: Some(false),
            ..good()
        };
        let report = judge(&facts, &needs(128));
        let severities: Vec<_> = report.findings.iter().map(|f| f.severity).collect();
        use Severity::{Error, Info};
        assert_eq!(severities, [Error, Info, Info], "{report}");
        let text = report.to_string();
        assert!(text.contains("net.core.somaxconn=4096"), "{text}");
        assert!(text.contains("net.ipv4.tcp_migrate_req=1"), "{text}");
        // One listener has no other to move its connections to.
        let alone = Facts {
            somaxconn: None,
            ..facts
        };
        assert_eq!(judge(&alone, &needs(1)), Report::default());
    }
}
