//! A container as `configs/container` has it: what the image is laid out with
//! suffices, and so do the system calls of its seccomp profile.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use adit::config::Address;
use adit::http::{Method, client};
use rustls::ClientConfig;
use serde_json::Value;

use crate::program;
use crate::support::certificate::Certificate;
use crate::support::{PATIENCE, backend, same_rights, wait_for};

const PROFILE: &str = include_str!("../../configs/container/seccomp.json");

/// The numbers of all the calls that the profile names and this machine has.
macro_rules! numbers {
    ($($name:ident => $number:ident),* $(,)?) => {
        &[$((stringify!($name), libc::$number)),*]
    };
}

const NUMBERS: &[(&str, libc::c_long)] = numbers! {
    accept4 => SYS_accept4,
    bind => SYS_bind,
    brk => SYS_brk,
    capget => SYS_capget,
    capset => SYS_capset,
    chdir => SYS_chdir,
    clock_getres => SYS_clock_getres,
    clock_gettime => SYS_clock_gettime,
    clock_nanosleep => SYS_clock_nanosleep,
    clone => SYS_clone,
    clone3 => SYS_clone3,
    close => SYS_close,
    close_range => SYS_close_range,
    connect => SYS_connect,
    dup => SYS_dup,
    dup3 => SYS_dup3,
    epoll_create1 => SYS_epoll_create1,
    epoll_ctl => SYS_epoll_ctl,
    epoll_pwait => SYS_epoll_pwait,
    eventfd2 => SYS_eventfd2,
    execve => SYS_execve,
    exit => SYS_exit,
    exit_group => SYS_exit_group,
    faccessat => SYS_faccessat,
    faccessat2 => SYS_faccessat2,
    fadvise64 => SYS_fadvise64,
    fallocate => SYS_fallocate,
    fchdir => SYS_fchdir,
    fchmod => SYS_fchmod,
    fchmodat => SYS_fchmodat,
    fchown => SYS_fchown,
    fchownat => SYS_fchownat,
    fcntl => SYS_fcntl,
    fdatasync => SYS_fdatasync,
    flock => SYS_flock,
    fstat => SYS_fstat,
    fstatfs => SYS_fstatfs,
    fsync => SYS_fsync,
    ftruncate => SYS_ftruncate,
    futex => SYS_futex,
    getcpu => SYS_getcpu,
    getcwd => SYS_getcwd,
    getdents64 => SYS_getdents64,
    getegid => SYS_getegid,
    geteuid => SYS_geteuid,
    getgid => SYS_getgid,
    getgroups => SYS_getgroups,
    getpeername => SYS_getpeername,
    getpid => SYS_getpid,
    getppid => SYS_getppid,
    getrandom => SYS_getrandom,
    getresgid => SYS_getresgid,
    getresuid => SYS_getresuid,
    getrlimit => SYS_getrlimit,
    getrusage => SYS_getrusage,
    getsockname => SYS_getsockname,
    getsockopt => SYS_getsockopt,
    gettid => SYS_gettid,
    gettimeofday => SYS_gettimeofday,
    getuid => SYS_getuid,
    io_uring_enter => SYS_io_uring_enter,
    io_uring_register => SYS_io_uring_register,
    io_uring_setup => SYS_io_uring_setup,
    ioctl => SYS_ioctl,
    kill => SYS_kill,
    landlock_add_rule => SYS_landlock_add_rule,
    landlock_create_ruleset => SYS_landlock_create_ruleset,
    landlock_restrict_self => SYS_landlock_restrict_self,
    listen => SYS_listen,
    lseek => SYS_lseek,
    madvise => SYS_madvise,
    membarrier => SYS_membarrier,
    memfd_create => SYS_memfd_create,
    mkdirat => SYS_mkdirat,
    mmap => SYS_mmap,
    mprotect => SYS_mprotect,
    mremap => SYS_mremap,
    msync => SYS_msync,
    munmap => SYS_munmap,
    nanosleep => SYS_nanosleep,
    newfstatat => SYS_newfstatat,
    openat => SYS_openat,
    pidfd_open => SYS_pidfd_open,
    pidfd_send_signal => SYS_pidfd_send_signal,
    pipe2 => SYS_pipe2,
    ppoll => SYS_ppoll,
    prctl => SYS_prctl,
    pread64 => SYS_pread64,
    preadv => SYS_preadv,
    prlimit64 => SYS_prlimit64,
    pselect6 => SYS_pselect6,
    pwrite64 => SYS_pwrite64,
    pwritev => SYS_pwritev,
    read => SYS_read,
    readlinkat => SYS_readlinkat,
    readv => SYS_readv,
    recvfrom => SYS_recvfrom,
    recvmmsg => SYS_recvmmsg,
    recvmsg => SYS_recvmsg,
    renameat => SYS_renameat,
    renameat2 => SYS_renameat2,
    restart_syscall => SYS_restart_syscall,
    rseq => SYS_rseq,
    rt_sigaction => SYS_rt_sigaction,
    rt_sigpending => SYS_rt_sigpending,
    rt_sigprocmask => SYS_rt_sigprocmask,
    rt_sigreturn => SYS_rt_sigreturn,
    rt_sigtimedwait => SYS_rt_sigtimedwait,
    sched_getaffinity => SYS_sched_getaffinity,
    sched_getparam => SYS_sched_getparam,
    sched_getscheduler => SYS_sched_getscheduler,
    sched_setaffinity => SYS_sched_setaffinity,
    sched_yield => SYS_sched_yield,
    seccomp => SYS_seccomp,
    sendfile => SYS_sendfile,
    sendmmsg => SYS_sendmmsg,
    sendmsg => SYS_sendmsg,
    sendto => SYS_sendto,
    set_robust_list => SYS_set_robust_list,
    set_tid_address => SYS_set_tid_address,
    setgid => SYS_setgid,
    setgroups => SYS_setgroups,
    setresgid => SYS_setresgid,
    setresuid => SYS_setresuid,
    setsid => SYS_setsid,
    setsockopt => SYS_setsockopt,
    setuid => SYS_setuid,
    shutdown => SYS_shutdown,
    sigaltstack => SYS_sigaltstack,
    socket => SYS_socket,
    socketpair => SYS_socketpair,
    splice => SYS_splice,
    statfs => SYS_statfs,
    statx => SYS_statx,
    sysinfo => SYS_sysinfo,
    tgkill => SYS_tgkill,
    tkill => SYS_tkill,
    umask => SYS_umask,
    uname => SYS_uname,
    unlinkat => SYS_unlinkat,
    wait4 => SYS_wait4,
    waitid => SYS_waitid,
    write => SYS_write,
    writev => SYS_writev,
};

/// Those that newer architectures have left out.
#[cfg(target_arch = "x86_64")]
const OLD_NUMBERS: &[(&str, libc::c_long)] = numbers! {
    access => SYS_access,
    arch_prctl => SYS_arch_prctl,
    chmod => SYS_chmod,
    chown => SYS_chown,
    dup2 => SYS_dup2,
    epoll_wait => SYS_epoll_wait,
    getdents => SYS_getdents,
    lstat => SYS_lstat,
    mkdir => SYS_mkdir,
    open => SYS_open,
    pipe => SYS_pipe,
    poll => SYS_poll,
    readlink => SYS_readlink,
    rename => SYS_rename,
    rmdir => SYS_rmdir,
    stat => SYS_stat,
    unlink => SYS_unlink,
    vfork => SYS_vfork,
};
#[cfg(not(target_arch = "x86_64"))]
const OLD_NUMBERS: &[(&str, libc::c_long)] = &[];

/// What a rule says of one call.
struct Rule {
    number: u32,
    /// Of the call's first argument: a mask, and what it must leave.
    argument: Option<(u32, u32)>,
    outcome: u32,
}

fn word(value: &Value) -> u32 {
    let number = value.as_u64().expect("a number");
    u32::try_from(number).expect("a word")
}

/// The profile's rules, but for calls that are left out.
fn rules(without: &str) -> Vec<Rule> {
    let profile: Value = serde_json::from_str(PROFILE).expect("JSON");
    let mut rules = Vec::new();
    for entry in profile["syscalls"].as_array().expect("a list") {
        let outcome = match entry["action"].as_str() {
            Some("SCMP_ACT_ALLOW") => libc::SECCOMP_RET_ALLOW,
            Some("SCMP_ACT_ERRNO") => libc::SECCOMP_RET_ERRNO | word(&entry["errnoRet"]),
            other => panic!("{other:?}"),
        };
        let argument = entry.get("args").map(|args| {
            let arg = &args[0];
            assert_eq!(
                (args.as_array().map(Vec::len), word(&arg["index"])),
                (Some(1), 0)
            );
            match arg["op"].as_str() {
                Some("SCMP_CMP_EQ") => (u32::MAX, word(&arg["value"])),
                Some("SCMP_CMP_MASKED_EQ") => (word(&arg["value"]), word(&arg["valueTwo"])),
                other => panic!("{other:?}"),
            }
        });
        for name in entry["names"].as_array().expect("a list") {
            let name = name.as_str().expect("text");
            let known = NUMBERS.iter().chain(OLD_NUMBERS).find(|(n, _)| *n == name);
            let Some((_, number)) = known else {
                if cfg!(target_arch = "x86_64") {
                    panic!("{name} is not known here");
                }
                continue;
            };
            if without.is_empty() || !name.starts_with(without) {
                rules.push(Rule {
                    number: u32::try_from(*number).expect("a word"),
                    argument,
                    outcome,
                });
            }
        }
    }
    rules
}

/// The rules as the kernel takes them (seccomp(2)).
fn filter(rules: &[Rule]) -> Vec<libc::sock_filter> {
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // struct seccomp_data: the number, and the first argument's lower half.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = if cfg!(target_endian = "little") {
        16
    } else {
        20
    };
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut steps = Vec::new();
    for rule in rules {
        steps.push(step(LOAD_WORD, 0, 0, NUMBER));
        match rule.argument {
            None => steps.push(step(JUMP_IF_EQUAL, 0, 1, rule.number)),
            Some((mask, left)) => {
                steps.push(step(JUMP_IF_EQUAL, 0, 4, rule.number));
                steps.push(step(LOAD_WORD, 0, 0, ARGUMENT));
                steps.push(step(AND, 0, 0, mask));
                steps.push(step(JUMP_IF_EQUAL, 0, 1, left));
            }
        }
        steps.push(step(RETURN, 0, 0, rule.outcome));
    }
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    steps.push(step(RETURN, 0, 0, refused));
    steps
}

/// Has the command run under these rules.
#[allow(unsafe_code)]
fn confine(command: &mut Command, rules: &[Rule]) {
    let mut steps = filter(rules);
    let install = move || {
        let program = libc::sock_fprog {
            len: u16::try_from(steps.len()).map_err(io::Error::other)?,
            filter: steps.as_mut_ptr(),
        };
        // SAFETY: the program outlives the call, which copies it.
        let outcome = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                )
        };
        if outcome == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec it makes two system calls, and allocates
    // nothing.
    unsafe { command.pre_exec(install) };
}

/// A folder with a configuration: a listener on TCP, one at a Unix socket, a
/// backend with a name, a key log.
struct Scene {
    folder: tempfile::TempDir,
    certificate: Certificate,
    backend: backend::Backend<()>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::make(folder.path());
        let backend = backend::echo();
        let (cert, key) = (&certificate.cert, &certificate.key);
        let port = backend.address().port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let listener = |address: String| {
            format!(
                "(address: {address:?}, tls: (cert: {cert:?}, key: {key:?}, key_log: {:?}), \
                 backend: \"localhost:{port}\")",
                at("keys"),
            )
        };
        let ron = format!(
            "(listeners: [{}, {}], shards: 2, log: (file: {:?}), admin: {:?})",
            listener("127.0.0.1:0".into()),
            listener(format!("unix:{}", at("tls.sock"))),
            at("log"),
            at("admin.sock"),
        );
        program::configure(folder.path(), &ron);
        Self {
            folder,
            certificate,
            backend,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, rules: &[Rule]) -> Child {
        let program = env!("CARGO_BIN_EXE_adit");
        let file = self.at("adit.ron");
        let words = [
            program,
            "run",
            "--no-watch",
            "-c",
            file.to_str().expect("text"),
        ];
        let mut command = program::command(self.folder.path(), &words);
        command
            .args(same_rights())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        confine(&mut command, rules);
        command.spawn().expect("the program starts")
    }

    fn trust(&self) -> Arc<ClientConfig> {
        program::trust(&self.certificate)
    }

    fn ask(&self, method: Method, path: &str) -> Option<client::Answer> {
        let socket = Address::Unix(self.at("admin.sock"));
        client::send(&socket, method, path, PATIENCE).ok()
    }
}

#[test]
fn the_profile_has_all_that_it_takes() {
    let scene = Scene::new();
    let mut adit = scene.start(&rules(""));
    let stats = wait_for("an answer of the admin socket", || {
        scene.ask(Method::Get, "/stats")
    });
    let stats: adit::metrics::Stats = serde_json::from_slice(&stats.body).expect("figures");
    let address = stats.listeners[0].address.parse().expect("an address");
    let status = fs::read_to_string(format!("/proc/{}/status", adit.id())).expect("a status");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let held = program::echo_at(address, &scene.trust());
    assert!(scene.at("tls.sock").exists());
    assert!(fs::metadata(scene.at("keys")).expect("a key log").len() > 0);
    let done = scene.ask(Method::Post, "/reload").expect("an answer");
    assert_eq!(done.status, 200, "{done:?}");
    program::echo_at(address, &scene.trust());
    program::assert_echo(&held);
    drop(held);
    program::signal(adit.id(), "USR1");
    program::signal(adit.id(), "TERM");
    let status = wait_for("the end", || adit.try_wait().expect("a child"));
    assert_eq!(
        status.code(),
        Some(0),
        "{:?}",
        fs::read_to_string(scene.at("log"))
    );
    assert!(!scene.at("tls.sock").exists());
    let log = fs::read_to_string(scene.at("log")).expect("a log");
    assert!(!log.contains("not permitted"), "{log}");
    drop(scene.backend);
}

#[test]
fn without_io_uring_the_start_names_the_profile() {
    let scene = Scene::new();
    let adit = scene.start(&rules("io_uring"));
    let ended = adit.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    for part in [
        "seccomp filter",
        "refuses io_uring_setup",
        "Docker",
        "Kubernetes",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn the_image_is_laid_out_with_all_that_it_takes() {
    let program = Path::new(env!("CARGO_BIN_EXE_adit"));
    let base = tempfile::tempdir().expect("a folder");
    let image = base.path().join("image");
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/container/layout");
    let done = Command::new(layout).arg(program).arg(&image).output();
    let done = done.expect("a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    if said.contains("ca-certificates.crt") || said.contains("Operation not permitted") {
        println!("passed over: the image cannot be laid out here: {said}");
        return;
    }
    assert!(done.status.success(), "{said}");
    let mode = fs::metadata(image.join("run/adit"))
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
    // By its own libraries, from its own root, as its own user.
    let inside = Command::new("chroot")
        .args(["--userspec=65532:65532", "--groups="])
        .arg(&image)
        .args(["/usr/local/bin/adit", "--version"])
        .output()
        .expect("chroot");
    let said = String::from_utf8_lossy(&inside.stderr);
    if said.contains("Operation not permitted") {
        println!("passed over: it takes root to change the root");
        return;
    }
    assert!(inside.status.success(), "{said}");
    assert!(inside.stdout.starts_with(b"adit "), "{said}");
}
