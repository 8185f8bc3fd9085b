//! Reading what an operator writes. Not on the data path, but on the way to a
//! reload.

use std::hint::black_box;

use adit::Config;
use adit::config::Address;

use super::{Part, again, part};

/// A listener each for so many sites.
const LISTENERS: usize = 100;

fn file() -> String {
    let listener = |n: usize| {
        let port = 10_000 + n;
        format!(
            "(name: \"site {n}\", address: \"[2001:db8::{n:x}]:{port}\", \
             tls: (cert: \"site-{n}.pem\", key: \"site-{n}.key\"), \
             backend: \"app-{n}.internal:8080\"),\n"
        )
    };
    let listeners: String = (0..LISTENERS).map(listener).collect();
    format!("(\n// Every site.\nlisteners: [\n{listeners}],\n)\n")
}

pub(super) fn parts() -> [Part; 2] {
    [
        part("config: an address", || {
            again(|| {
                black_box(black_box("192.0.2.1:8443").parse::<Address>()).expect("an address");
            })
        }),
        part("config: a file of 100 listeners", || {
            let text = file();
            again(move || {
                black_box(Config::from_ron(black_box(&text), "adit.ron")).expect("a configuration");
            })
        }),
    ]
}
