//! The executor that shards run on. glommio is named here, and in
//! `sys::stream`, alone.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Placement, Shares, Task, TaskQueueHandle,
};

use crate::limits;
use crate::sys::{cpu, socket, stream};

/// Makes the executor of the calling thread, pinned to `cpu` if one is given.
pub(crate) fn executor(cpu: Option<usize>) -> Result<LocalExecutor, String> {
    if let Some(cpu) = cpu {
        // glommio would read the whole machine's topology for it, twice for
        // each executor, and demand that it can be read. Memory that the thread
        // touches from here on is its own node's.
        cpu::pin(cpu).map_err(|error| format!("it cannot be pinned to CPU {cpu}: {error}"))?;
    }
    LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(limits::RING_DEPTH)
        .io_memory(limits::RING_IO_MEMORY)
        .preempt_timer(limits::PREEMPT_TIMER)
        .make()
        .map_err(|error| error.to_string())
}

/// The two classes of work on a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    /// Tunnels and accepting.
    data: TaskQueueHandle,
    /// Orders, reports and timers: little work, never to be starved by the
    /// data path.
    control: TaskQueueHandle,
}

impl Queues {
    /// Makes the queues of the calling thread's executor.
    pub(crate) fn new() -> Self {
        let executor = glommio::executor();
        Self {
            // Neither has a latency of its own: that would shorten the
            // preemption timer, and tasks give way of themselves.
            data: executor.create_task_queue(Shares::Static(1000), Latency::NotImportant, "data"),
            control: executor.create_task_queue(
                Shares::Static(1000),
                Latency::NotImportant,
                "control",
            ),
        }
    }

    /// Starts a task on the data path.
    pub(crate) fn spawn_data(&self, future: impl Future<Output = ()> + 'static) {
        // The queue lives as long as the executor.
        if let Ok(task) = glommio::spawn_local_into(future, self.data) {
            task.detach();
        }
    }

    /// Starts a task that the data path cannot starve.
    pub(crate) fn spawn_control(&self, future: impl Future<Output = ()> + 'static) {
        if let Ok(task) = glommio::spawn_local_into(future, self.control) {
            task.detach();
        }
    }

    /// Starts such a task as one that would not end of itself.
    pub(crate) fn spawn_job(&self, future: impl Future<Output = ()> + 'static) -> Job {
        Job(glommio::spawn_local_into(future, self.control).ok())
    }
}

/// A task that would not end of itself. Whatever still waits when its executor
/// ends is not dropped by that, and keeps its descriptors and memory for good:
/// so everything has to be ended before.
#[derive(Debug)]
pub(crate) struct Job(Option<Task<()>>);

impl Job {
    /// Ends it, and waits until it is gone.
    pub(crate) async fn cancel(self) {
        if let Some(task) = self.0 {
            task.cancel().await;
        }
    }
}

/// Waits.
pub(crate) async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Wakes the executor once every [`limits::HEARTBEAT`], for nothing, one of
/// [`limits::HEARTBEAT_TASKS`] tasks at a time: this is the one with that
/// number.
///
/// glommio 0.9.0 can go to sleep on tasks that are ready to run. When a
/// preemption is due at the very moment at which its `run_task_queues` begins,
/// because the thread had lost its CPU for as long as the preemption timer
/// takes, or because another thread's wake-up came in just then, that function
/// returns before it has looked at any queue, and says that none has work. What
/// was ready then waits for whatever event wakes the executor next; on a shard
/// that is idle otherwise, there may be none. This bounds the wait. A single
/// task might be passed over itself, and would then set no timer again; so many
/// in a row are not.
pub(crate) async fn heartbeat(number: u32) {
    sleep(limits::HEARTBEAT * number).await;
    loop {
        sleep(limits::HEARTBEAT * limits::HEARTBEAT_TASKS).await;
    }
}

/// A connected stream socket, TCP or Unix.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Takes charge of a connected socket, or of one that is connecting.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            stream: stream::adopt(fd),
        }
    }

    /// Receives, without waiting. 0 is the end of the stream.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Sends, without waiting.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Ready once a connection that was begun is made, or has failed.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sending nothing waits like sending something, and tells the error of
        // the connect.
        self.poll_send(cx, &[]).map_ok(|_| ())
    }

    /// Sends FIN.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        socket::shutdown_write(self.as_fd())
    }

    /// Closes the connection with RST instead of FIN.
    pub(crate) fn reset(self) {
        // Should it fail, the connection is closed with FIN at the worst.
        let _ = socket::set_linger_reset(self.as_fd());
    }
}

impl Drop for Socket {
    /// A tunnel that a fault in adit ends must not look like one that ended in
    /// order: its peers are reset.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = socket::set_linger_reset(self.as_fd());
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        stream::borrow(&self.stream)
    }
}

/// Waits until a listening socket has a connection to give.
///
/// The executor offers accept itself, but an accept that is cancelled may have
/// taken a connection which then belongs to nobody. This takes nothing.
pub(crate) async fn acceptable(listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut watcher = Socket::new(listener.try_clone_to_owned()?);
    std::future::poll_fn(|cx| {
        // Once it is readable the receive itself fails, since the socket is not
        // connected; that is the sign.
        watcher.poll_recv(cx, &mut [0]).map(|_| ())
    })
    .await;
    Ok(())
}
