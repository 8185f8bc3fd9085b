//! Asks the linker to hand the set-up of every ring, what is submitted to it and
//! what it completes, to `src/sys/ring`, and two functions of the C library, of
//! which the executor asks too much, to `src/sys/ring/barrier.rs` and
//! `src/sys/clock.rs`.
//!
//! Only this package's own binaries and tests are linked so; a crate that uses
//! adit as a library may add the same arguments in its build script, all of
//! them, or do without what they bring.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let everywhere = [
        "io_uring_queue_init_params",
        "io_uring_submit",
        "io_uring_wait_cqes",
        "rust_io_uring_peek_cqe",
        "rust_io_uring_cqe_seen",
        "io_uring_queue_exit",
    ];
    // What is done instead of a barrier in the kernel, and of reading the clock,
    // holds for this architecture.
    let on_x86_64 = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => &["syscall", "clock_gettime"][..],
        _ => &[],
    };
    for function in everywhere.iter().chain(on_x86_64) {
        for kind in ["bins", "tests"] {
            println!("cargo::rustc-link-arg-{kind}=-Wl,--wrap={function}");
        }
    }
}
