//! More certificates than a shard keeps ready.

use adit::limits;

use crate::authority::{Authority, write};
use crate::place::{Place, from};
use crate::visitor::Visitor;

/// They come at the same time, so that waiting for one is no waste.
const VISITORS: usize = 16;

#[test]
fn all_names_are_served_though_not_all_are_kept_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::new("ours");
    let count = limits::CERTIFICATES_HOT_MAX + 50;
    let mut leaves = Vec::with_capacity(count);
    for number in 0..count {
        let issued = ours.issue(&[&format!("{number}.test")]);
        write(folder.path(), &format!("{number:05}.pem"), issued.pem());
        leaves.push(issued.der());
    }
    let place = Place::start(from(&[folder.path()]));
    // Twice, so that those that made room for others come again.
    let visit = &|first: usize| {
        for number in (first..count).chain(first..count).step_by(VISITORS) {
            let name = format!("{number}.test");
            let shown = Visitor::new(Some(&name)).visit(place.address);
            assert_eq!(shown.expect("shown").leaf, leaves[number], "{name}");
        }
    };
    std::thread::scope(|scope| {
        for first in 0..VISITORS {
            scope.spawn(move || visit(first));
        }
    });
}
