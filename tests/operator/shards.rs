//! How shards are doing.

use crate::place::Place;
use crate::program::echo_at;
use crate::support::backend;

#[test]
fn each_shard_tells_what_it_is() {
    let backend = backend::echo();
    let place = Place::start(
        &format!("backend: \"{}\"", backend.address()),
        "  shards: 2,",
    );
    let _client = echo_at(place.address, &place.trust);
    let told: serde_json::Value = place.json(&["shards"]);
    let shards = told["shards"].as_array().expect("a list");
    assert_eq!(shards.len(), 2);
    assert_eq!(told["silent_shards"], serde_json::json!([]));
    let pid = place.program.pid();
    let mut open = 0;
    for (number, shard) in shards.iter().enumerate() {
        assert_eq!(shard["shard"], number);
        // It is a thread of that process, by that name.
        let thread = shard["thread"].as_u64().expect("a number");
        let name = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"));
        assert_eq!(name.expect("a thread").trim(), format!("adit-{number}"));
        let load = shard["load"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&load), "{load}");
        open += shard["tunnels_open"].as_u64().expect("a number");
    }
    assert_eq!(open, 1);
    let rings = told["rings"]["cooperative"].as_u64().expect("a number")
        + told["rings"]["plain"].as_u64().expect("a number");
    assert!(rings >= 6, "{told}");
    let shown = place.say(&["shards"]);
    assert_eq!(shown.lines().count(), 4, "{shown}");
}
