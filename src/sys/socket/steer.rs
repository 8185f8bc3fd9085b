//! Which shard gets a connection: that on the CPU which received it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use libc::c_int;

use super::connect::set_int;
use super::cpu_program;
use crate::sys::preflight::Kernel;

/// How the kernel is told which socket of a group (SO_REUSEPORT) is for
/// connections that come in on which CPU: where it works on the SYN.
///
/// Without it the kernel spreads connections over a group by a hash of their
/// addresses. Then most are worked on by two CPUs: on one the network card
/// interrupts and TCP is done, on the other the shard runs, and what belongs to
/// the connection goes back and forth between their caches.
///
/// # What a machine needs for it to be of use
///
/// The CPU that receives a connection must be one that has a shard, and go on
/// receiving it:
///
/// - A network card with many queues spreads connections over them by a hash of
///   its own (RSS), and each queue interrupts one CPU. Best is one queue for
///   each shard: `ethtool -L eth0 combined N`. Which CPU a queue interrupts is
///   in `/proc/irq/N/smp_affinity_list`; irqbalance must leave it alone
///   (`IRQBALANCE_BANNED_CPULIST`, or `--banirq`). The shards go to the CPUs of
///   the queues (`cpus`), and those to the NUMA node of the card
///   (`/sys/class/net/eth0/device/numa_node`, and `nodes`).
/// - With fewer queues than shards the kernel can deal out what a queue
///   receives (RPS): the CPUs of the shards, as a mask, in
///   `/sys/class/net/eth0/queues/rx-N/rps_cpus`. That costs an interrupt
///   between CPUs for each batch of packets, and spreads TCP as well. Without
///   it, the CPUs of the few queues get all connections: then this is not for
///   you.
/// - RFS (`net.core.rps_sock_flow_entries`) moves a connection's packets to
///   where it is read, which with this they are at already: leave it off.
/// - XPS has the answers leave by the queue of the CPU that sends them; most
///   drivers set it up. `/sys/class/net/eth0/queues/tx-N/xps_cpus` shows it.
/// - The load is spread as the card spreads it. Few clients with many
///   connections each, or a card that hashes by address alone
///   (`ethtool -n eth0 rx-flow-hash tcp4`; `sdfn` adds the ports), make for
///   uneven shards. `adit stats` shows what each of them accepted.
///
/// Connections that come in on a CPU without a shard are spread by the kernel's
/// hash, as without steering. Over loopback a connection comes in on the CPU
/// where its client runs.
///
/// # How
///
/// Since Linux 6.2 by the socket option SO_INCOMING_CPU: among the sockets of a
/// group the kernel then looks for one with the CPU it runs on, beginning where
/// the hash points, and takes the one at the hash if there is none
/// (`reuseport_select_sock_by_hash` in net/core/sock_reuseport.c). The option
/// belongs to each socket, so that it stays right whichever of them are closed,
/// added, or handed to another process. The search is linear; with 1024 sockets
/// it could not be told from none when connecting was timed.
///
/// Before, from 4.6 on, the option was silently of no effect in a group (as the
/// commit says that mended it: "soreuseport: Fix socket selection for
/// SO_INCOMING_CPU"). There a program of classic BPF is attached to the group
/// (SO_ATTACH_REUSEPORT_CBPF), which maps the number of the CPU to the index of
/// a socket. Sockets are numbered as they begin to listen, and when one is
/// closed the last takes its number: so a group must begin to listen in the
/// order of its shards, and is closed as a whole or not at all. What comes in
/// while the sockets of a group are being closed, one after the other, may be
/// given to any of those left.
#[derive(Clone, Debug)]
pub struct Steering {
    /// The CPU of each socket. If there are more sockets, they begin anew.
    cpus: Arc<[usize]>,
    means: Means,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Option,
    Program,
}

/// The first kernel that heeds SO_INCOMING_CPU in a group.
const HEEDED_SINCE: Kernel = Kernel { major: 6, minor: 2 };

impl Steering {
    /// For groups whose sockets are for these CPUs, in the order in which they
    /// begin to listen. Of a group with more sockets than CPUs the others are
    /// dealt to the CPUs in turns; where the program is needed, these get only
    /// what comes in on CPUs that have no socket.
    pub fn new(cpus: Arc<[usize]>) -> Self {
        let means = if Kernel::running() >= HEEDED_SINCE {
            Means::Option
        } else {
            Means::Program
        };
        Self { cpus, means }
    }

    /// Steers to the socket with that index in its group. It has to be done for
    /// each of them, be they listening or not; if not, the first is to listen
    /// first.
    ///
    /// # Errors
    ///
    /// ENOMEM, from a kernel that needs the program, if that is longer than
    /// `net.core.optmem_max` lets it be: by default, if it is for more than
    /// about 700 CPUs of which no two follow each other.
    pub fn steer(&self, fd: BorrowedFd<'_>, index: usize) -> io::Result<()> {
        match self.means {
            Means::Option => {
                let cpu = match self.cpus.len() {
                    0 => None,
                    count => c_int::try_from(self.cpus[index % count]).ok(),
                };
                let cpu = cpu.unwrap_or(NO_CPU);
                set_int(&fd, libc::SOL_SOCKET, SO_INCOMING_CPU, cpu)
            }
            // It is the group's, and has to be attached once.
            Means::Program if index == 0 => {
                cpu_program::attach(fd, &cpu_program::compile(&self.cpus))
            }
            Means::Program => Ok(()),
        }
    }

    /// Takes that back: connections are spread again.
    pub fn release(&self, fd: BorrowedFd<'_>, index: usize) -> io::Result<()> {
        match self.means {
            Means::Option => set_int(&fd, libc::SOL_SOCKET, SO_INCOMING_CPU, NO_CPU),
            Means::Program if index == 0 => cpu_program::detach(fd),
            Means::Program => Ok(()),
        }
    }
}

/// Not in libc (asm-generic/socket.h).
const SO_INCOMING_CPU: c_int = 49;

/// What it is when it was never set.
const NO_CPU: c_int = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;
    use crate::sys::cpu;
    use crate::sys::socket::{Bound, accept, bind_group};
    use std::net::TcpStream;
    use std::os::fd::AsFd as _;

    const MEANS: [Means; 2] = [Means::Option, Means::Program];

    fn group(count: usize) -> (Bound, u16) {
        let address = "127.0.0.1:0".parse().unwrap();
        let bound = bind_group(&address, count, 512).unwrap().remove(0);
        let Address::Tcp { port, .. } = bound.address else {
            panic!("{bound:?}");
        };
        (bound, port)
    }

    fn steering(cpus: &[usize], means: Means) -> Steering {
        Steering {
            cpus: cpus.into(),
            means,
        }
    }

    fn steer(bound: &Bound, steering: &Steering) {
        for (index, fd) in bound.fds.iter().enumerate() {
            steering.steer(fd.as_fd(), index).unwrap();
        }
    }

    /// Of connections from a thread on that CPU: how many come in where.
    fn connect_from(cpu: usize, bound: &Bound, port: u16) -> Vec<usize> {
        let clients = std::thread::spawn(move || {
            cpu::pin(cpu).unwrap();
            (0..60)
                .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
                .collect::<Vec<_>>()
        });
        let _clients = clients.join().unwrap();
        let drain = |fd| std::iter::from_fn(|| accept(fd).ok()).count();
        bound.fds.iter().map(|fd| drain(fd.as_fd())).collect()
    }

    /// This machine's, if there are two at least.
    fn cpus() -> Option<Vec<usize>> {
        let cpus = cpu::allowed().unwrap();
        if cpus.len() < 2 {
            println!("passed over: it takes two CPUs");
        }
        (cpus.len() >= 2).then_some(cpus)
    }

    fn heeds(means: Means) -> bool {
        means == Means::Program || Kernel::running() >= HEEDED_SINCE
    }

    fn is_spread(taken: &[usize]) -> bool {
        taken.iter().sum::<usize>() == 60 && taken.iter().all(|n| *n > 0)
    }

    #[test]
    fn a_connection_comes_in_at_the_socket_of_its_cpu() {
        let Some(cpus) = cpus() else { return };
        let (a, b) = (cpus[1], cpus[0]);
        for means in MEANS.into_iter().filter(|means| heeds(*means)) {
            let (bound, port) = group(2);
            bound.listen().unwrap();
            // Each is missed by all with a chance of 0.5^60.
            assert!(is_spread(&connect_from(a, &bound, port)));
            drop(bound);

            let (bound, port) = group(2);
            let steering = steering(&[a, b], means);
            steer(&bound, &steering);
            bound.listen().unwrap();
            for _ in 0..3 {
                assert_eq!(connect_from(a, &bound, port), [60, 0], "{means:?}");
                assert_eq!(connect_from(b, &bound, port), [0, 60], "{means:?}");
            }
            for (index, fd) in bound.fds.iter().enumerate() {
                steering.release(fd.as_fd(), index).unwrap();
                // Once more does no harm.
                steering.release(fd.as_fd(), index).unwrap();
            }
            assert!(is_spread(&connect_from(a, &bound, port)), "{means:?}");
            // And while they listen.
            steer(&bound, &steering);
            assert_eq!(connect_from(b, &bound, port), [0, 60], "{means:?}");
        }
    }

    #[test]
    fn what_comes_in_on_a_cpu_without_a_socket_is_spread() {
        let Some(cpus) = cpus() else { return };
        for means in MEANS.into_iter().filter(|means| heeds(*means)) {
            let (bound, port) = group(3);
            steer(&bound, &steering(&[cpus[0], 4000, 4001], means));
            bound.listen().unwrap();
            assert_eq!(connect_from(cpus[0], &bound, port), [60, 0, 0]);
            assert!(is_spread(&connect_from(cpus[1], &bound, port)), "{means:?}");
        }
    }

    #[test]
    fn more_sockets_than_cpus_are_dealt_to_them_in_turns() {
        let Some(cpus) = cpus() else { return };
        for means in MEANS.into_iter().filter(|means| heeds(*means)) {
            let (bound, port) = group(4);
            steer(&bound, &steering(&[cpus[0], cpus[1]], means));
            bound.listen().unwrap();
            let taken = connect_from(cpus[1], &bound, port);
            assert_eq!((taken[0], taken[2]), (0, 0), "{means:?}: {taken:?}");
            assert_eq!(taken[1] + taken[3], 60, "{means:?}: {taken:?}");
        }
    }

    #[test]
    fn it_stays_right_when_sockets_are_closed_if_each_has_its_own() {
        let Some(cpus) = cpus() else { return };
        if !heeds(Means::Option) {
            println!("passed over: this kernel does not heed SO_INCOMING_CPU");
            return;
        }
        let (mut bound, port) = group(4);
        steer(
            &bound,
            &steering(&[4000, cpus[0], 4001, cpus[1]], Means::Option),
        );
        bound.listen().unwrap();
        // The last takes its place.
        bound.fds.remove(0);
        assert_eq!(connect_from(cpus[0], &bound, port), [60, 0, 0]);
        assert_eq!(connect_from(cpus[1], &bound, port), [0, 0, 60]);
    }
}
