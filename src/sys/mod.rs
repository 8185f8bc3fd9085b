//! What only the operating system can do: the only unsafe code.
//!
//! Each file is one thing that is asked of the kernel, behind functions that
//! are safe to call:
//!
//! - [`account`]: users and groups;
//! - [`activation`]: what a process is handed at its start;
//! - `clock`: the time, for those who ask too often;
//! - [`cpu`]: the CPUs that this process may use, and pinning to one;
//! - [`cpu_time`]: what processes and threads have used of them;
//! - [`landlock`]: where this process may write;
//! - `local_time`: the offset that syslog stamps need;
//! - `memory`: what the allocator keeps;
//! - [`notify`]: what a service tells its manager;
//! - [`peer`]: who is at the other end of a Unix socket;
//! - [`preflight`]: what this machine refuses, and how that is mended;
//! - [`privileges`]: giving up what a process may do beyond others;
//! - [`process`]: what the kernel keeps of this process;
//! - [`ring`]: how the executors' rings are set up;
//! - [`rlimit`]: resource limits;
//! - [`signals`]: signals that the parent process had blocked;
//! - [`socket`]: listeners, connections, and what is set on them;
//! - `stream`: between descriptors and the executor's streams;
//! - [`topology`]: cores, caches and NUMA nodes; [`quota`]: how much CPU time
//!   there is.
//!
//! Unsafe code is needed to hand pointers to system calls that neither the
//! standard library nor socket2 makes, and to stand in for functions of liburing
//! and of the C library. Nothing here knows of tunnels or shards, and nothing here waits.

#![allow(unsafe_code)]

pub mod account;
pub mod activation;
#[cfg(target_arch = "x86_64")]
mod clock;
pub mod cpu;
pub mod cpu_time;
pub mod landlock;
pub(crate) mod local_time;
pub(crate) mod memory;
pub mod notify;
pub mod peer;
pub mod preflight;
pub mod privileges;
pub mod process;
pub mod quota;
pub mod ring;
pub mod rlimit;
pub mod signals;
pub mod socket;
pub(crate) mod stream;
pub mod topology;
