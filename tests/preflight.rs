//! The preflight on the machine that the tests run on, as it is and under a
//! seccomp filter such as container runtimes put on.

use adit::limits;
use adit::sys::preflight::{self, Facts, Needs, Report, Trial};

fn needs(shards: usize) -> Needs {
    Needs {
        shards,
        listeners: 1,
        backlog: limits::BACKLOG_DEFAULT,
        tunnels: 0,
    }
}

#[test]
fn a_machine_that_runs_these_tests_can_start() {
    let report = preflight::check(&needs(1));
    assert!(report.can_start(), "{report}");
}

#[test]
fn nothing_stays_open() {
    // In a process of its own sockets and rings could be counted; here other
    // tests run at the same time, none of which opens a ring for longer than
    // this does.
    let before = Facts::gather();
    for _ in 0..100 {
        assert_eq!(Facts::gather().ring, before.ring);
    }
    let open = Facts::gather().descriptors_open;
    assert!(open < before.descriptors_open + 50, "{open}");
}

#[test]
fn a_seccomp_refusal_is_named_whichever_call_it_hits() {
    for (call, name) in [
        (libc::SYS_io_uring_setup, "io_uring_setup"),
        (libc::SYS_io_uring_register, "io_uring_register"),
        (libc::SYS_io_uring_enter, "io_uring_enter"),
    ] {
        let report = under_filter(call, libc::EPERM);
        let text = report.to_string();
        assert!(!report.can_start(), "{text}");
        assert_eq!(report.errors().count(), 1, "{text}");
        assert!(text.contains("seccomp"), "{text}");
        assert!(text.contains(&format!("refuses {name}")), "{text}");
        assert!(text.contains("Docker"), "{text}");
    }
}

#[test]
fn a_filter_that_pretends_there_is_no_io_uring_is_seen_through() {
    let text = under_filter(libc::SYS_io_uring_setup, libc::ENOSYS).to_string();
    assert!(text.contains("seccomp"), "{text}");
    assert!(!text.contains("CONFIG_IO_URING"), "{text}");
}

#[test]
fn a_filter_on_other_calls_is_not_blamed() {
    let report = under_filter(libc::SYS_acct, libc::EPERM);
    assert!(report.can_start(), "{report}");
    assert!(!report.to_string().contains("seccomp"), "{report}");
}

#[test]
fn the_trial_is_a_real_one() {
    let Trial::Usable { missing, .. } = Facts::gather().ring else {
        panic!("no io_uring here");
    };
    assert!(missing.is_empty(), "{missing:?}");
}

/// What the preflight says where a system call fails with `errno`. Filters are
/// a thread's own and cannot be taken off again, so that one is made for it.
fn under_filter(call: libc::c_long, errno: i32) -> Report {
    std::thread::spawn(move || {
        install_filter(call, errno);
        preflight::check(&needs(1))
    })
    .join()
    .unwrap()
}

#[allow(unsafe_code)]
fn install_filter(call: libc::c_long, errno: i32) {
    let call = u32::try_from(call).unwrap();
    let errno = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap();
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        // The call's number is the first word of struct seccomp_data.
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, call),
        step(RETURN, 0, 0, errno),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call, which copies it; the filter is
    // this thread's alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program
            ),
            0
        );
    }
}
