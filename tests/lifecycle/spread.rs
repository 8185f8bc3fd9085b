//! Connections come to every shard, and no figure is lost between shards and
//! sum. (The ancestor's threads were handed all connections of one poll.)

use adit::metrics::Stats;
use adit::metrics::Totals;

use crate::program;
use crate::support::adit::Setup;
use crate::support::backend;
use crate::support::client::Client;

#[test]
fn every_shard_gets_its_share_and_the_sum_is_the_sum() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).shards(4).start();
    let mut clients = Vec::new();
    for turn in 0..200 {
        let client = Client::connect(&adit);
        program::assert_echo(&client);
        if turn % 10 == 0 {
            clients.push(client);
        }
    }
    let all_but_held = |stats: &Stats| stats.total.tunnels_open == clients.len() as u64;
    adit.wait_stats("the end of all tunnels but those held", all_but_held);

    let socket = adit.folder().join("admin.sock");
    let words = ["stats", "--json", "--admin", socket.to_str().expect("text")];
    let shown = program::run(adit.folder(), &words);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let stats: Stats = serde_json::from_str(&shown.out).expect("statistics");
    assert_eq!(stats.silent_shards, [0; 0]);
    assert_eq!(stats.shards.len(), 4);
    let mut sum = Totals::default();
    for shard in &stats.shards {
        // A fair coin gives a shard none of 200 once in 10^25 times.
        assert!(shard.totals.accepted > 0, "{stats:#?}");
        sum.add(&shard.totals);
    }
    assert_eq!(sum, stats.total);
    assert_eq!(sum.accepted, 200);
    assert_eq!(sum.handshakes, 200);
    assert_eq!((sum.bytes_up, sum.bytes_down), (200, 200));
    assert_eq!(sum.tunnels_open, 20);
}
