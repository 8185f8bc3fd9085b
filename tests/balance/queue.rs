//! Backends that may have only so many tunnels.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adit::Server;
use adit::config::{Balance, Ejection, Queue};
use adit::limits;

use crate::fleet::{Numbered, Tunnel, config, fleet, is_silent, service};
use crate::support::place::Place;
use crate::support::{PATIENCE, wait_for};

fn limited(most: u32, queue: Queue) -> (Vec<crate::fleet::Numbered>, Place) {
    let backends = fleet(1);
    let mut config = config(&backends);
    config.services[0].backends[0].max_connections = NonZeroU32::new(most);
    config.services[0].queue = queue;
    let place = Place::start(config);
    (backends, place)
}

fn waiting(place: &Place, count: u64) {
    wait_for("tunnels in the queue", || {
        (service(place).waiting == count).then_some(())
    });
}

#[test]
fn who_waits_is_served_in_order() {
    let queue = Queue {
        length: 10,
        timeout: PATIENCE,
    };
    let (backends, place) = limited(2, queue);
    let mut open: Vec<Tunnel> = (0..2).map(|_| Tunnel::open(&place)).collect();
    let mut queued = Vec::new();
    for count in 1..=3 {
        queued.push(place.connect());
        waiting(&place, count);
    }
    assert!(is_silent(&queued[0], Duration::from_millis(100)));
    for left in (0..3).rev() {
        drop(open.remove(0));
        open.push(Tunnel::greeted(queued.remove(0)).expect("its turn"));
        waiting(&place, left);
        for stream in &queued {
            assert!(is_silent(stream, Duration::from_millis(20)));
        }
    }
    assert_eq!(backends[0].most.load(Ordering::SeqCst), 2);
    let stats = service(&place);
    assert_eq!((stats.queued_total, stats.queue_refused), (3, 0));
}

/// Who waits for room has it, too, when one that was left alone is not any more;
/// nobody else has to come for that.
#[test]
fn who_waits_is_served_when_an_ejection_ends() {
    let mut backends = [Numbered::start(0), Numbered::dead(1)];
    let mut config = config(&backends);
    let app = &mut config.services[0];
    app.balance = Balance::First;
    app.backends[0].max_connections = NonZeroU32::new(1);
    app.backends[1].max_connections = NonZeroU32::new(9);
    app.queue = Queue {
        length: 10,
        timeout: PATIENCE,
    };
    app.eject = Ejection {
        failures: 1,
        pause: Duration::from_millis(500),
    };
    let place = Place::start(config);
    let _open = Tunnel::open(&place);
    // The other one refuses this one, which has none left but the first.
    let refused = place.connect();
    waiting(&place, 1);
    backends[1].revive();
    let began = Instant::now();
    let waits = place.connect();
    assert_eq!(Tunnel::greeted(waits).expect("an answer").number, 1);
    // When it is looked after anyway.
    let took = began.elapsed();
    assert!(took < limits::GONE_INTERVAL * 3 / 4, "{took:?}");
    assert!(is_silent(&refused, Duration::from_millis(20)));
}

#[test]
fn a_full_queue_and_a_long_wait_are_refused() {
    let queue = Queue {
        length: 1,
        timeout: Duration::from_millis(300),
    };
    let (_backends, place) = limited(1, queue);
    let mut open = Tunnel::open(&place);
    let late = place.connect();
    waiting(&place, 1);
    assert!(Tunnel::try_open(&place).is_none());
    assert_eq!(place.reason(), "connect/backend/full");
    assert!(Tunnel::greeted(late).is_none());
    assert!(open.works());
    assert_eq!(service(&place).queue_refused, 2);
}

/// Many at once, and never more than may be, over several shards.
#[test]
fn the_bound_holds_over_all_shards() {
    let backends = fleet(1);
    let mut config = config(&backends);
    config.services[0].backends[0].max_connections = NonZeroU32::new(5);
    config.services[0].queue.timeout = PATIENCE;
    config.shards.count = Some(3.try_into().expect("not zero"));
    let server = Server::new(config).expect("a server");
    let address = server.listeners()[0].address.clone();
    let _running = server.start().expect("shards");
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                let stream = std::net::TcpStream::connect(address).expect("a connection");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                let mut tunnel = Tunnel::greeted(stream).expect("an answer");
                assert!(tunnel.works());
            })
        })
        .collect();
    for client in clients {
        client.join().expect("served");
    }
    let most = backends[0].most.load(Ordering::SeqCst);
    assert!((1..=5).contains(&most), "{most} at once");
}

#[test]
fn a_bound_that_does_not_go_round_is_refused() {
    let backends = fleet(1);
    let mut config = config(&backends);
    config.services[0].backends[0].max_connections = NonZeroU32::new(2);
    config.shards.count = Some(3.try_into().expect("not zero"));
    let error = Server::new(config).expect_err("too few").to_string();
    assert!(error.contains("write 3 at least"), "{error}");
    assert!(
        error.contains(&backends[0].address().to_string()),
        "{error}"
    );
}
