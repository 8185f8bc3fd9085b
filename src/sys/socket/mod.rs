//! Sockets: bound for listening, connected to a backend, and what is asked of
//! them in between.
//!
//! [`bind_all`] binds every listener once per shard and starts none;
//! [`Bound::listen`] starts one; [`bind_patiently`] waits a while for an address
//! that another socket has; those that another process has bound arrive over
//! a [`Channel`]. The rest works on any descriptor, borrowed,
//! and never waits: what cannot be done at once is
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock).

mod bind;
mod bind_error;
mod connect;
mod cpu_program;
mod options;
mod pass;
mod passed;
mod patience;
mod socket_file;
mod steer;
mod transfer;

pub use bind::{Bound, bind_all, bind_group};
pub use bind_error::{BindError, unprivileged_port_start};
pub use connect::{
    Outgoing, Peer, connect_as, connect_nonblocking, has_congestion, may_be_transparent,
};
pub use options::{
    acknowledge, ask_tcp, ask_tcp_anew, local_address, peer_address, prepare_for_accepting,
    send_room, set_backlog, set_keepalive, set_linger_reset, set_nodelay, shutdown_write,
    take_error, unsent_bytes,
};
pub use pass::{Arrival, Channel};
pub use passed::{adopt, bind_beside, bound_to};
pub use patience::{bind_patiently, patiently};
pub use socket_file::SocketFile;
pub use steer::Steering;
pub use transfer::{accept, accept_from, recv, send, send_more};
