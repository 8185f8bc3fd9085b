//! A program of classic BPF that maps CPUs to the sockets of a group.
//!
//! The kernel runs it for each connection that is to come in
//! (SO_ATTACH_REUSEPORT_CBPF, socket(7); the instructions are in
//! Documentation/networking/filter.rst). What it returns is the index of a
//! socket; an index that there is not means that the hash decides.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use libc::{c_int, sock_filter, sock_fprog};

use super::connect::set_int;

/// What no group has as many sockets as.
const NOBODY: u32 = u32::MAX;

/// `A = number of this CPU`.
const LOAD_CPU: sock_filter = sock_filter {
    code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
    jt: 0,
    jf: 0,
    k: (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32,
};

/// The program that gives the index of its CPU in the list. A CPU that stands
/// there twice gets its first.
///
/// CPUs that follow each other at indices that do take four instructions
/// together, any other two: so there are never more than two for each, and
/// [`limits::SHARDS_MAX`](crate::limits::SHARDS_MAX) of them stay below the
/// kernel's 4096 (BPF_MAXINSNS).
pub(super) fn compile(cpus: &[usize]) -> Vec<sock_filter> {
    let mut program = vec![LOAD_CPU];
    let mut index = 0;
    while let Some(&first) = cpus.get(index) {
        let follows = |&(i, cpu): &(usize, &usize)| *cpu == first + i;
        let run = cpus[index..].iter().enumerate().take_while(follows).count();
        let (first_cpu, last_cpu) = (first as u32, (first + run - 1) as u32);
        if run == 1 {
            program.push(jump(libc::BPF_JEQ, first_cpu, 0, 1));
            program.push(ret(index as u32));
        } else {
            // Past this run, if the CPU is before it or after it.
            program.push(jump(libc::BPF_JGE, first_cpu, 0, 3));
            program.push(jump(libc::BPF_JGT, last_cpu, 2, 0));
            program.push(sock_filter {
                code: (libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K) as u16,
                jt: 0,
                jf: 0,
                k: (index as u32).wrapping_sub(first_cpu),
            });
            program.push(sock_filter {
                code: (libc::BPF_RET | libc::BPF_A) as u16,
                jt: 0,
                jf: 0,
                k: 0,
            });
        }
        index += run;
    }
    program.push(ret(NOBODY));
    program
}

/// Skips so many instructions if A compares so with the number, or if not.
fn jump(how: u32, number: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter {
        code: (libc::BPF_JMP | how | libc::BPF_K) as u16,
        jt: if_so,
        jf: if_not,
        k: number,
    }
}

fn ret(value: u32) -> sock_filter {
    sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: value,
    }
}

/// Has the program choose among the sockets of this one's group. It stays with
/// the group whichever of them is closed, until another takes its place.
pub(super) fn attach(fd: BorrowedFd<'_>, program: &[sock_filter]) -> io::Result<()> {
    /// Not in libc (asm-generic/socket.h).
    const SO_ATTACH_REUSEPORT_CBPF: c_int = 51;
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = sock_fprog {
        len: length,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads one `sock_fprog`, whose length is given, and as
    // many instructions as it names, which live until the call is over.
    let outcome = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes the program away again, if there is one.
pub(super) fn detach(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// As above; since Linux 5.3.
    const SO_DETACH_REUSEPORT_BPF: c_int = 68;
    match set_int(&fd, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    /// What the kernel would make of it on that CPU.
    fn run(program: &[sock_filter], cpu: u32) -> u32 {
        let mut a = 0;
        let mut at = 0;
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            let skip = |so| usize::from(if so { step.jt } else { step.jf });
            match code {
                _ if step.code == LOAD_CPU.code => {
                    assert_eq!(step.k, LOAD_CPU.k);
                    a = cpu;
                }
                _ if code == libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K => {
                    a = a.wrapping_add(step.k);
                }
                _ if code == libc::BPF_RET | libc::BPF_K => return step.k,
                _ if code == libc::BPF_RET | libc::BPF_A => return a,
                _ if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                    at += skip(a == step.k);
                }
                _ if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => {
                    at += skip(a >= step.k);
                }
                _ if code == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => {
                    at += skip(a > step.k);
                }
                _ => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn every_cpu_gets_its_socket_and_the_others_none() {
        let even: Vec<usize> = (0..limits::SHARDS_MAX).map(|i| 2 * i).collect();
        let all: Vec<usize> = (0..limits::SHARDS_MAX).collect();
        let lists: [&[usize]; 10] = [
            &[],
            &[0],
            &[7],
            &[0, 1, 2, 3],
            &[4, 5, 6, 7],
            &[0, 1, 4, 5, 6, 9],
            &[9, 8, 7, 0, 1],
            &[3, 4, 3, 4],
            &even,
            &all,
        ];
        for cpus in lists {
            let program = compile(cpus);
            assert!(program.len() <= 2 * cpus.len() + 2, "{}", program.len());
            assert!(program.len() <= 4096);
            for cpu in 0..2 * limits::SHARDS_MAX + 2 {
                let index = cpus.iter().position(|c| *c == cpu);
                let expected = index.map_or(NOBODY, |index| index as u32);
                assert_eq!(run(&program, cpu as u32), expected, "{cpu} of {cpus:?}");
            }
        }
        assert!(compile(&all).len() < 8);
    }
}
