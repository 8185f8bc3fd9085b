//! The memory budget.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use adit::{Server, limits};

use crate::support::{backend, wait_for};
use crate::{Door, config, echo};

const BUDGET: usize = 512 * 1024;

#[test]
fn accepting_pauses_before_tunnels_pass_the_budget() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.memory_budget = Some(BUDGET);
    let door = Door::start(config);
    let clients: Vec<TcpStream> = (0..100).map(|_| door.connect()).collect();
    wait_for("a pause", || {
        let total = door.stats().total;
        assert_eq!(total.memory_max, Some(BUDGET as u64));
        assert!(total.memory_held <= BUDGET as u64, "{total:?}");
        (total.memory_pauses > 2).then_some(())
    });
    let open = door.stats().total.tunnels_open;
    assert!((20..=64).contains(&open), "{open} tunnels");
    // Each that leaves lets another in, none is cut, and in the end all were in.
    for client in clients {
        client
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        wait_for("room", || {
            let total = door.stats().total;
            assert!(total.memory_held <= BUDGET as u64, "{total:?}");
            echo(&client).ok()
        });
    }
    wait_for("all is given back", || {
        let total = door.stats().total;
        (total.tunnels_open == 0 && total.memory_held == 0).then_some(())
    });
    let total = door.stats().total;
    assert_eq!(total.accepted, 100);
    assert!(
        total
            .closed
            .iter()
            .all(|c| c.reason.cause.as_str() == "eof"),
        "{total:?}"
    );
}

/// Bytes that a backend does not take are held for it, and are in the budget.
#[test]
fn what_waits_in_buffers_counts_until_it_is_gone() {
    // Nobody accepts there, so that nobody reads what the kernel has accepted.
    let backend = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut config = config(backend.local_addr().expect("an address"));
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.buffer_size = 256 * 1024;
    config.memory_budget = Some(BUDGET);
    let door = Door::start(config);
    // What a tunnel holds is what was left of its last turn, much or little. So
    // one comes after the other, when those before it have come to a halt: a
    // pause begins with somebody who would come in, and memory is short by then.
    let mut stalled: Vec<TcpStream> = Vec::new();
    let mut carried = 0;
    let total = wait_for("a pause", || {
        let total = door.stats().total;
        if total.memory_pauses > 0 {
            return Some(total);
        }
        let are_in = total.accepted == stalled.len() as u64;
        if are_in && std::mem::replace(&mut carried, total.bytes_up) == total.bytes_up {
            let client = door.connect();
            client.set_nonblocking(true).expect("a mode");
            stalled.push(client);
        }
        for mut client in &stalled {
            while client.write(&[7; 65_536]).is_ok() {}
        }
        None
    });
    // The tunnels alone are not what it is short of.
    let alone = total.tunnels_open as usize * limits::TUNNEL_MEMORY;
    assert!(alone < BUDGET / 2, "{total:?}");
    assert!(total.memory_held > BUDGET as u64 - 40 * 1024, "{total:?}");
    // Nobody else comes in now, but for one or two in whose stead a little was
    // given back, and none that is open is ended.
    let more: Vec<TcpStream> = (0..20).map(|_| door.connect()).collect();
    let all = (stalled.len() + more.len()) as u64;
    let (paused, accepted) = (total.memory_pauses, total.accepted);
    wait_for("more looks", || {
        (door.stats().total.memory_pauses > paused + 3).then_some(())
    });
    let total = door.stats().total;
    assert!(total.accepted <= accepted + 2, "{total:?}");
    assert!(total.closed.is_empty(), "{total:?}");
    // It is gone, and with it what was to be sent to it.
    drop(backend);
    wait_for("room for all", || {
        (door.stats().total.accepted == all).then_some(())
    });
    drop((more, stalled));
    wait_for("all is given back", || {
        let total = door.stats().total;
        (total.tunnels_open == 0 && total.memory_held == 0).then_some(())
    });
}

#[test]
fn too_little_for_each_shard_is_refused_with_advice() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(4.try_into().expect("not zero"));
    config.memory_budget = Some(BUDGET);
    let error = Server::new(config).expect_err("too little").to_string();
    for part in [
        "memory_budget is 524288 bytes",
        "4 shards",
        "write \"1024KiB\" at least",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
