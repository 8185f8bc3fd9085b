//! Asks the linker to hand the set-up of every ring, and what is submitted to
//! it, to `src/sys/ring`.
//!
//! Only this package's own binaries and tests are linked so; a crate that uses
//! adit as a library may add the same arguments in its build script, all of
//! them, or do without what they bring.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for function in [
        "io_uring_queue_init_params",
        "io_uring_submit",
        "io_uring_wait_cqes",
        "io_uring_queue_exit",
    ] {
        for kind in ["bins", "tests"] {
            println!("cargo::rustc-link-arg-{kind}=-Wl,--wrap={function}");
        }
    }
}
