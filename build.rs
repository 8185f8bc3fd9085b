//! Asks the linker to hand every ring's set-up to `src/sys/ring.rs`.
//!
//! Only this package's own binaries and tests are linked so; a crate that uses
//! adit as a library may add the same argument in its build script, or do
//! without the flag that it sets.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for function in [
        "io_uring_queue_init_params",
        "io_uring_submit",
        "io_uring_wait_cqes",
    ] {
        for kind in ["bins", "tests"] {
            println!("cargo::rustc-link-arg-{kind}=-Wl,--wrap={function}");
        }
    }
}
