//! What only the operating system can do: the only unsafe code.

pub(crate) mod local_time;
