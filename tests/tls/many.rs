//! More certificates than a shard keeps ready.

use adit::limits;

use crate::authority::{Authority, write};
use crate::place::{Place, from};
use crate::visitor::Visitor;

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
    // The first ones come again once they have made room for the last.
    for number in (0..count).chain(0..60) {
        let name = format!("{number}.test");
        let shown = Visitor::new(Some(&name)).visit(place.address);
        assert_eq!(shown.expect("shown").leaf, leaves[number], "{name}");
    }
}
