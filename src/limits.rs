//! Every bound and every default, in one place.
//!
//! A number that limits something, or that is what an operator gets when the
//! configuration is silent, stands here and nowhere else. Units come last in
//! the names, unless the type says them.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The most shards that one process may be asked for.
pub const SHARDS_MAX: usize = 1024;

/// Entries in a shard's submission ring. A busy shard submits a few polls per
/// turn; more than this only costs locked memory.
pub const RING_DEPTH: usize = 128;

/// Memory that glommio registers for direct I/O, in bytes per shard. adit does
/// none, so this is the least that the allocator accepts without complaint.
pub const RING_IO_MEMORY: usize = 64 * 1024;

/// The executor's preemption timer: never, as far as a shard is concerned. Its
/// tasks give way of themselves.
///
/// It must not run out: `runtime::heartbeat` tells what glommio 0.9.0 does if
/// it runs out at the wrong moment, and on a machine with more threads than
/// CPUs a few milliseconds pass easily at that moment.
///
/// It is also how these timers are told from others, so that they need not be
/// set at all (`sys::ring::submit`): no other lasts as long, which is 100 years.
pub const PREEMPT_TIMER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Polls of sockets that may wait for a shard's next sleep, to be submitted with
/// it in one call of the kernel. Half of its ring at most.
pub const POLLS_HELD: usize = 32;

/// For how many turns of the executor, beyond the one in which it is about to
/// sleep, such polls may wait while it does not.
pub const TURNS_HELD: u8 = 1;

/// How often polls are held in a row before they are submitted right away once,
/// to see whether they have something to tell at once.
pub const POLLS_TRUSTED: u8 = 15;

/// How far a processor's time stamp counter may go on while one reading of the
/// clock serves: a microsecond where it counts 2.5 a nanosecond, and never more
/// than what takes the processor as many of its own steps.
pub const CLOCK_TICKS: u64 = 2500;

/// How much later than asked a shard may wake for a timer, which then need not
/// be set anew for each sleep.
pub const SLEEP_SLACK: Duration = Duration::from_micros(500);

/// For how long a task that could go on gives way to the others: no longer
/// than it takes to look at the ring.
pub const GIVE_WAY: Duration = Duration::from_micros(1);

/// The longest that a shard sleeps, whether or not it has anything to do.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Tasks of a shard that take turns with its heartbeat.
pub const HEARTBEAT_TASKS: u32 = 4;

/// The most bytes of session tickets that wait to be sent along with the first
/// data.
pub const TICKETS_HELD_MAX: usize = 4096;

/// How long a tunnel carries bytes before it is one that lasts: tickets wait no
/// longer for data to go along with, and the backend's connection is kept alive.
/// The many that are over by then are spared both.
pub const SETTLING: Duration = Duration::from_millis(100);

/// Locked memory that a shard is charged with, in bytes, unless the process has
/// CAP_IPC_LOCK. Measured on kernel 6.18 with pages of 4 KiB, [`RING_DEPTH`] and
/// [`RING_IO_MEMORY`]: 240 KiB, which is three rings of 16 KiB and the same 64
/// KiB of buffers registered with each. (Kernels from 5.12 to 6.13 charge the
/// buffers alone.) The rest is for the ring that glommio probes the kernel
/// with, and for what the kernel takes its time to give back: 128 shards need
/// 32 MiB, and in the usual 8 MiB there is room for 32.
pub const SHARD_MEMLOCK: u64 = 256 * 1024;

/// The least RLIMIT_MEMLOCK, in bytes, with which glommio starts any executor;
/// root gets no exception.
pub const MEMLOCK_MIN: u64 = 512 * 1024;

/// File descriptors of a shard beside its sockets: three rings, an eventfd, and
/// the one that is kept for when there is no other.
pub const SHARD_DESCRIPTORS: u64 = 5;

/// File descriptors of a tunnel: the client's and the backend's.
pub const TUNNEL_DESCRIPTORS: u64 = 2;

/// Tunnels for which descriptors ought to suffice; with fewer, the start warns.
pub const TUNNELS_EXPECTED: usize = 1000;

/// File descriptors of the process beside its shards and tunnels: standard
/// streams, log, admin endpoint and its clients, name resolution.
pub const DESCRIPTORS_RESERVE: u64 = 128;

/// The oldest kernel that has every ring operation glommio demands.
pub const KERNEL_MIN: (u32, u32) = (5, 8);

/// The oldest kernel whose rings need not interrupt a core at each completion.
pub const KERNEL_COOPERATIVE: (u32, u32) = (5, 19);

/// The highest CPU number that may be asked for.
pub const CPU_MAX: usize = 4095;

/// How long all shards together may take from thread start to ready.
pub const SHARD_START_TIMEOUT: Duration = Duration::from_secs(10);

/// Orders that may wait in one shard's inbox.
pub const ORDERS_QUEUED_MAX: usize = 64;

/// Commands (signals, handles, admin requests) that may wait for the main shard.
pub const COMMANDS_QUEUED_MAX: usize = 256;

/// How often whoever waits for the server's end looks whether the main shard is
/// still there.
pub const MAIN_SHARD_LOOK: Duration = Duration::from_secs(1);

/// How long the main shard waits for every shard's snapshot before it names
/// the ones that stayed silent.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the main shard waits for every shard to prepare a new
/// configuration before it gives the reload up.
pub const PREPARE_TIMEOUT: Duration = Duration::from_secs(5);

/// The listen backlog when the configuration names none. The kernel cuts it to
/// `net.core.somaxconn`.
pub const BACKLOG_DEFAULT: u32 = 4096;

/// The most that a listen backlog may be asked for.
pub const BACKLOG_MAX: u32 = 1 << 20;

/// Bytes taken from one side of a tunnel in one turn. The default is three
/// full TLS records. With it a tunnel whose both directions are stalled holds
/// at most `2 * BUFFER_SIZE_DEFAULT + RECORD_WIRE_MAX + sealing overhead`,
/// which is under 128 KiB.
pub const BUFFER_SIZE_DEFAULT: usize = 48 * 1024;

/// How many times as much is taken in one turn where there is much to take, and
/// the kernel has room for all of it on the other side, so that nothing of it
/// waits here. [`BUFFER_SIZE_MAX`] at most.
pub const BULK_FACTOR: usize = 2;

/// The least `buffer_size`.
pub const BUFFER_SIZE_MIN: usize = 1024;

/// The greatest `buffer_size`.
pub const BUFFER_SIZE_MAX: usize = 1024 * 1024;

/// The longest TLS record on the wire: header, fragment and the expansion that
/// TLS 1.2 allows (RFC 5246, section 6.2.3; RFC 8446 allows less).
pub const RECORD_WIRE_MAX: usize = 5 + 16 * 1024 + 2048;

/// The most plaintext in one TLS record (RFC 8446, section 5.1).
pub const RECORD_PLAIN_MAX: usize = 16 * 1024;

/// What sealing may add to one record: header, content type, tag and, in
/// TLS 1.2, an explicit nonce.
pub const RECORD_SEAL_OVERHEAD_MAX: usize = 64;

/// The most bytes a client may send before its handshake is done. A
/// ClientHello with a post-quantum key share is about 2 KiB, a long client
/// certificate chain tens of KiB.
pub const HANDSHAKE_BYTES_MAX: usize = 128 * 1024;

/// The most early data that is opened in vain, over all tries. Clients send some
/// to whom another server, under the same name, has given a ticket for it; 16 KiB
/// are what most of those allow. rustls tries all that is there again with every
/// read, until the end of the handshake has come, and counts each try: 1 MiB is
/// 0.1 ms of work.
pub const EARLY_DATA_SKIPPED_MAX: u32 = 1024 * 1024;

/// Turns that one tunnel may take before the other tunnels of its shard get
/// theirs.
pub const TURNS_PER_POLL: usize = 4;

/// Connections taken from one listener before the shard looks at its ring, and
/// turns to the tunnels for which something has come.
pub const ACCEPTS_PER_TURN: usize = 8;

/// TLS handshakes with clients that one shard has in progress; the others wait
/// for their turn, in order. A silent client counts as well, until its
/// handshake has timed out: so it is far above what a shard is ever busy with,
/// lest a few thousand silent clients keep all others waiting, and bounds what
/// unfinished handshakes hold.
pub const HANDSHAKES_PER_SHARD: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// How long handshakes may be worked on between two looks at the ring, which
/// find what the other tunnels have to carry. The step that reaches it is ended.
pub const HANDSHAKE_TURN: Duration = Duration::from_micros(100);

/// How long an address of a name that failed is tried after the name's others.
pub const ADDRESS_PAUSE: Duration = Duration::from_secs(30);

/// File descriptors that tunnels leave to the rest of the process, so that the
/// admin endpoint answers when there is no room for more tunnels.
pub const DESCRIPTORS_SPARE: u64 = 32;

/// Tunnels that a shard must have more than the least loaded one before it
/// hands a connection over. One: where tunnels are few, each may be all that a
/// shard can carry.
pub const BALANCE_MARGIN: usize = 1;

/// The same as a part of the other's load: one in so many.
pub const BALANCE_PART: usize = 16;

/// How often a shard that drains looks whether anything is still being handed
/// to it.
pub const HANDOVER_LOOK: Duration = Duration::from_millis(100);

/// How long a listener rests after the kernel refused it a descriptor.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that one listener's door resets, at most, between two such
/// rests, where there is still no descriptor after the first: so that nobody is
/// left waiting for an answer, and nothing spins.
pub const SHED_PER_PAUSE: usize = 64;

/// How often a shard says that there are no descriptors, at most.
pub const LACK_INTERVAL: Duration = Duration::from_secs(10);

/// The least that a listener rests when connections have come faster than they
/// may: they are let in a few at a time, and not each on its own.
pub const RATE_PAUSE: Duration = Duration::from_millis(5);

/// How often a listener that has paused since memory is short looks whether
/// there is some again: buffers empty without telling anybody.
pub const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// The least part of a memory budget that a shard may have.
pub const MEMORY_PART_MIN: usize = 256 * 1024;

/// What a tunnel that carries is charged with beside its buffers, in bytes.
/// Measured, as growth of anonymous resident memory over 2,000 idle tunnels: 6.0
/// kB with TLS to clients, 2.2 kB in plaintext.
pub const TUNNEL_MEMORY: usize = 8 * 1024;

/// What a tunnel is charged with besides until it carries, in bytes: the
/// handshakes, and what is heard and looked up before there is a backend.
/// Measured likewise, both together: 5.3 kB for a silent client, 6.7 kB for one
/// that stops behind its ClientHello. The rest is for a long certificate chain.
pub const OPENING_MEMORY: usize = 8 * 1024;

/// How long a listener that closes waits for the kernel to let go of it before
/// it lets in the last ones: any time at all is a turn of the executor.
pub const DOOR_TURN: Duration = Duration::from_millis(1);

/// How often a shard warns of tunnels that ended badly.
pub const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// The step of the timer wheel. Every timeout is met to within one step.
pub const TICK: Duration = Duration::from_millis(100);

/// Slots of the timer wheel: one turn is `WHEEL_SLOTS * TICK`.
pub const WHEEL_SLOTS: usize = 512;

/// Default time for the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default time for resolving the backend's name and connecting to it, over
/// all of its addresses together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon a Unix backend whose backlog is full is tried again.
pub const CONNECT_RETRY: Duration = Duration::from_millis(20);

/// Default time without a byte in either direction.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Default time without a byte once one direction has ended.
pub const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Default time that open tunnels get once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Default time for which a server that was told to stop goes on accepting.
pub const READY_GRACE: Duration = Duration::ZERO;

/// How long ago bytes moved for a tunnel that is cut not to be in the midst of
/// something.
pub const UNDER_WAY: Duration = Duration::from_millis(500);

/// For how long nothing has moved, and somebody takes nothing, when it is noted
/// what is queued, so that it can be told later whether he took some.
pub const STALL_NOTED: Duration = Duration::from_millis(500);

/// How often it is looked whether a peer that is not being read has reset its
/// connection: a client while its backend takes nothing, and while it waits for
/// one; either once its stream has ended.
pub const GONE_INTERVAL: Duration = Duration::from_secs(2);

/// Tunnels of one shard that are a crowd: when three quarters of it have gone,
/// the memory that they had is given back to the system. They need 1 MB or more.
pub const CROWD: usize = 250;

/// How much later, so that it is done once for all that go together.
pub const GIVE_BACK_DELAY: Duration = Duration::from_secs(1);

/// How long a closing tunnel may take to hand the kernel's last bytes to a
/// peer before the connection is reset.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The same for a tunnel that is cut, since the drain time is over or an operator
/// closes it.
pub const CUT_LINGER_TIMEOUT: Duration = Duration::from_millis(300);

/// The longest timeout that may be configured: a year.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Idle time before the kernel sends its first keepalive probe.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between keepalive probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered keepalive probes before the kernel gives the peer up.
pub const KEEPALIVE_PROBES: u32 = 4;

/// The most routes of one listener.
pub const ROUTES_MAX: usize = 65_536;

/// The most networks in one list.
pub const NETWORKS_MAX: usize = 1 << 20;

/// The greatest weight of a backend.
pub const WEIGHT_MAX: u32 = 256;

/// From the end of one health check to the next.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// How long one health check may take.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Health checks in a row that bring a backend up.
pub const HEALTH_RISE: u32 = 2;

/// Health checks in a row that bring a backend down.
pub const HEALTH_FALL: u32 = 3;

/// Health checks under way at once, each on a thread of its own.
pub const HEALTH_THREADS_MAX: usize = 32;

/// The longest head of an answer that an HTTP health check reads, in bytes.
pub const HEALTH_HEAD_MAX: usize = 16 * 1024;

/// The part of a health check's interval by which it is varied, up and down,
/// so that processes which began together do not stay together.
pub const HEALTH_JITTER: f64 = 0.1;

/// The most that is kept of what a health check found wrong, in bytes.
pub const HEALTH_DETAIL_MAX: usize = 256;

/// How soon a client that is held since every connect failed is given another
/// try.
pub const HOLD_RETRY: Duration = Duration::from_millis(250);

/// Failed connects in a row, on one shard, for which a backend is left alone.
pub const EJECTION_FAILURES: u32 = 3;

/// For how long it is left alone the first time.
pub const EJECTION_PAUSE: Duration = Duration::from_secs(1);

/// For how long it is left alone at most.
pub const EJECTION_MAX: Duration = Duration::from_secs(60);

/// Tunnels of a service that may wait for a backend with room.
pub const QUEUE_LENGTH: u32 = 1024;

/// How long one may wait.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// Leading bits of an IPv4 address by which rates tell clients apart.
pub const RATE_PREFIX_V4: u8 = 32;

/// Leading bits of an IPv6 address by which rates tell clients apart: what one
/// subscriber is given.
pub const RATE_PREFIX_V6: u8 = 56;

/// Sets of accounts by which a shard knows how fast networks come in. With
/// [`RATE_WAYS`] and 32 bytes for each it is a table of 512 KiB, which a shard
/// has if any of its listeners limits rates.
pub const RATE_SETS: usize = 4096;

/// Accounts in one set.
pub const RATE_WAYS: usize = 4;

/// How long a resolved backend name is trusted.
pub const RESOLVE_TTL: Duration = Duration::from_secs(30);

/// How soon a name that failed to resolve is asked for again.
pub const RESOLVE_RETRY: Duration = Duration::from_secs(1);

/// Names that may be resolved at once in the process.
pub const RESOLVES_IN_FLIGHT_MAX: usize = 4;

/// Addresses of one backend name that are tried.
pub const ADDRESSES_PER_NAME_MAX: usize = 16;

/// Age at which a ticket key stops sealing new tickets and a fresh one takes
/// its place; it goes on opening old ones for as long again.
pub const TICKET_KEY_ROTATION: Duration = Duration::from_secs(12 * 3600);

/// Lifetime stated in a session ticket (RFC 8446, section 4.6.1: seven days at
/// most).
pub const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The longest lifetime of a session ticket (RFC 8446, section 4.6.1).
pub const TICKET_LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far a ticket's time of issue may lie in the future: by so much the clocks
/// of a fleet may differ.
pub const TICKET_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The most keys in one file of ticket keys.
pub const TICKET_KEYS_MAX: usize = 64;

/// The largest file of ticket keys, in bytes, comments and all.
pub const TICKET_KEY_FILE_MAX: usize = 64 * 1024;

/// The keys that a new file of ticket keys has, and that a rotation keeps at
/// least, unless it is told otherwise.
pub const TICKET_KEYS_KEPT: usize = 3;

/// Session tickets sent after a TLS 1.3 handshake.
pub const TICKETS_PER_HANDSHAKE: usize = 2;

/// A certificate with less than this left is warned of.
pub const CERTIFICATE_EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);

/// The most certificates in one directory.
pub const CERTIFICATES_MAX: usize = 100_000;

/// The most certificates in one chain, the server's own included.
pub const CHAIN_LENGTH_MAX: usize = 16;

/// Certificates that one listener keeps ready for use on one shard, of those
/// that clients have asked for. Each takes some KiB; one that is not ready is
/// made so in a fraction of a millisecond.
pub const CERTIFICATES_HOT_MAX: usize = 1024;

/// The most threads that read certificates.
pub const LOADER_THREADS_MAX: usize = 8;

/// Certificates for each of several threads that read them: with fewer, one
/// thread does it.
pub const CERTIFICATES_PER_LOADER: usize = 64;

/// The most bytes of authorities' names that a client which is asked for a
/// certificate is told (RFC 8446, section 4.2.4). Where there are more, it is
/// told none, and may choose by itself.
pub const AUTHORITY_NAMES_MAX: usize = 8 * 1024;

/// Warnings of what a configuration names that are logged, each time it is
/// read.
pub const LOAD_WARNINGS_MAX: usize = 20;

/// Certificates of one listener that `adit check` shows as text even if there
/// is nothing to say about them.
pub const CERTIFICATES_SHOWN_MAX: usize = 20;

/// How far a responder's clock may be ahead when its OCSP response is taken for
/// good already.
pub const OCSP_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The largest file of certificates, keys or configuration that is read, in
/// bytes.
pub const FILE_SIZE_MAX: u64 = 16 * 1024 * 1024;

/// How often the files that a configuration names are looked at for changes, if
/// it does not say.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The least that may be configured for it.
pub const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The coarsest step in which a file system tells the time of a change. What
/// changed less long ago may change again without showing it.
pub const FILE_CLOCK_STEP: Duration = Duration::from_secs(2);

/// The most names of one folder that are looked at for changes.
pub const WATCH_FOLDER_MAX: usize = 1 << 20;

/// How long `adit reload` waits for the outcome.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a new process may take to serve when it is to take over from a
/// running one; then it is ended, and the old one goes on.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long each message between the two may take, and the last word of the old
/// process to the new one.
pub const UPGRADE_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an upgrade that waits for the new process looks whether it has
/// ended, or the server is to stop.
pub const UPGRADE_LOOK: Duration = Duration::from_millis(50);

/// How long a new process that comes to nothing may take to end of itself.
pub const UPGRADE_GRACE: Duration = Duration::from_secs(1);

/// How long the old process waits for requests of those that have reached its
/// admin endpoint when that was the new one's already.
pub const ADMIN_LEAVE: Duration = Duration::from_millis(250);

/// The longest message between the two, in bytes.
pub const UPGRADE_MESSAGE_MAX: usize = 64 * 1024;

/// The longest reason for which a new process gave up that is kept, in bytes.
pub const UPGRADE_REASON_MAX: usize = 16 * 1024;

/// The most descriptors of one message: what the kernel takes (SCM_MAX_FD,
/// unix(7)).
pub const PASSED_DESCRIPTORS_MAX: usize = 253;

/// How often a service manager is told how many tunnels are open, if that has
/// changed.
pub const SERVICE_STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// How long a service manager may take to read that there is another main
/// process.
pub const SERVICE_BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// How deep brackets may be nested in a configuration file.
pub const CONFIG_DEPTH_MAX: usize = 32;

/// The most values in a configuration file, counted with their lists and
/// brackets.
pub const CONFIG_VALUES_MAX: usize = 1 << 20;

/// The most listeners, and the most services, in one configuration.
pub const LISTENERS_MAX: usize = 1024;

/// The most backends in one service.
pub const BACKENDS_MAX: usize = 1024;

/// The longest name of a listener or a service, in bytes.
pub const NAME_MAX: usize = 128;

/// The most session tickets that a handshake may be asked to send.
pub const TICKETS_PER_HANDSHAKE_MAX: usize = 16;

/// The shortest lifetime of a session ticket; it is stated in seconds.
pub const TICKET_LIFETIME_MIN: Duration = Duration::from_secs(1);

/// The most application protocols that may be listed.
pub const ALPN_MAX: usize = 16;

/// The longest name of an application protocol, in bytes (RFC 7301, section
/// 3.1).
pub const ALPN_NAME_MAX: usize = 255;

/// The most files of revocation lists for one listener.
pub const CRLS_MAX: usize = 256;

/// The most subjects in one list of those that are let in.
pub const SUBJECT_PATTERNS_MAX: usize = 4096;

/// The longest of them, in bytes. The longest SPIFFE id fits.
pub const SUBJECT_PATTERN_MAX: usize = 2048;

/// Log lines that may wait for the writer; more are dropped and counted.
pub const LOG_LINES_QUEUED_MAX: usize = 4096;

/// The longest log line, in bytes, after escaping.
pub const LOG_LINE_MAX: usize = 2048;

/// The most of one text from the network (a server name, a peer's error) that
/// a log line shows, in bytes after escaping. The longest DNS name fits.
pub const LOG_FIELD_MAX: usize = 256;

/// What a log line is cut to when the syslog daemon's socket refuses it as too
/// long, in bytes (RFC 3164, section 4.1: every daemon takes that much).
pub const SYSLOG_PACKET_SAFE: usize = 1024;

/// How long the log's writer waits for a syslog daemon that does not read
/// before it gives one line up.
pub const SYSLOG_WAIT: Duration = Duration::from_millis(100);

/// Access lines that may wait for the writer; more are dropped and counted.
pub const ACCESS_LINES_QUEUED_MAX: usize = 8192;

/// How long the writer of access lines lets them gather: one wake-up and one
/// write for many.
pub const ACCESS_GATHER: Duration = Duration::from_millis(10);

/// Bytes of access lines that are written to a file at once.
pub const ACCESS_WRITE_MAX: usize = 64 * 1024;

/// The longest access line, in bytes. Its texts are cut until it fits, so that
/// the line itself is whole; into a pipe it goes in one piece (PIPE_BUF).
pub const ACCESS_LINE_MAX: usize = 4096;

/// What a text in an access line is not cut below, in bytes before escaping.
pub const ACCESS_FIELD_MIN: usize = 16;

/// How often the log tells of access lines that were lost, at most.
pub const ACCESS_LOSS_INTERVAL: Duration = Duration::from_secs(10);

/// The permissions of a log file that is made.
pub const LOG_FILE_MODE: u32 = 0o640;

/// How long a flush of the log, and so the end of the process, may take.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a process may take to end, once its server has: more than its log
/// and its admin endpoint may take. What keeps it longer is left undone.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest PROXY header of version 2 that is read, in bytes. The addresses
/// of a TCP connection take 52 at most, those of Unix sockets 232; the rest is
/// TLVs, of which a client's certificate is the longest by far.
pub const PROXY_HEADER_MAX: usize = 8 * 1024;

/// The longest unique id in a PROXY header, in bytes (its specification,
/// section 2.2.5).
pub const PROXY_UNIQUE_ID_MAX: usize = 128;

/// The longest request head that the admin endpoint reads, in bytes.
pub const ADMIN_REQUEST_MAX: usize = 8 * 1024;

/// How long an admin client may take over its request.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Admin connections served at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Tunnels that a list shows if it is not told otherwise.
pub const TUNNELS_LISTED_DEFAULT: usize = 100;

/// The most tunnels in one list. They take some 400 bytes each on their way.
pub const TUNNELS_LISTED_MAX: usize = 10_000;

/// Tunnels that are looked at for a list before the shard looks at its ring,
/// and turns to those for which something has come: some 50 µs.
pub const TUNNELS_PER_TURN: usize = 256;

/// The longest filter of a list of tunnels, in bytes.
pub const TUNNEL_FILTER_MAX: usize = 512;

/// How old what tunnels had carried must be before it is noted anew.
pub const RATE_SPAN_MIN: Duration = Duration::from_millis(200);

/// For how long what tunnels had carried is remembered after somebody has asked
/// for their bytes a second, so that the next who asks is told of the time
/// since: 16 bytes for each tunnel.
pub const RATE_MEMORY: Duration = Duration::from_secs(10);

/// Names of services or backends that an error lists, where there are many.
pub const NAMES_SHOWN_MAX: usize = 20;

/// Lists and closes that may wait for one shard to get to them.
pub const ERRANDS_QUEUED_MAX: usize = 2 * ADMIN_CONNECTIONS_MAX;

/// How long a list of tunnels, or the order to close one, may take.
pub const ERRAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Over how long commands look at what is told for a span: the load of shards,
/// bytes a second.
pub const SAMPLE_SPAN: Duration = Duration::from_millis(500);

/// How often `adit top` asks a server that did not answer, at most.
pub const TOP_RETRY: Duration = Duration::from_secs(1);

/// How late an answer may be before `adit top` tells that it is missing.
pub const TOP_LATE: Duration = Duration::from_secs(2);

/// For how many pictures `adit top` remembers what went through the server: no
/// terminal is wider.
pub const TOP_HISTORY: usize = 512;

/// The most tunnels that `adit top` asks for: no terminal is higher.
pub const TOP_TUNNELS: usize = 200;

/// How much longer than the drain time `adit drain --wait` waits: for tunnels
/// that are cut to be told so, and for threads to end.
pub const DRAIN_GRACE: Duration = Duration::from_secs(30);

/// How long an answer at hand may take to be sent, from its first byte to its
/// last: a client that takes a byte now and then holds a connection no longer.
pub const HTTP_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that the kernel may hold for the metrics endpoint.
pub const METRICS_BACKLOG: u32 = 128;

/// For how long the figures that were gathered for one scrape or probe also do
/// for others, so that no number of them asks the shards more often.
pub const METRICS_SHARED_FOR: Duration = Duration::from_millis(100);

/// The most series of one metric in a scrape (of a histogram, buckets and all
/// count as one). What is left out is counted.
pub const METRICS_SERIES_MAX: usize = 4096;

/// The longest label value in metrics, in bytes before escaping; longer ones
/// are cut.
pub const METRICS_LABEL_MAX: usize = 256;

/// Certificates of one listener whose expiry metrics and statistics show: those
/// that expire first.
pub const CERTIFICATES_WATCHED_MAX: usize = 10;

/// Header fields in one HTTP message of the control plane.
pub const HTTP_HEADERS_MAX: usize = 32;

/// The longest answer that an HTTP client of the control plane reads, in
/// bytes. A thousand shards' statistics are well under 4 MiB.
pub const HTTP_ANSWER_MAX: usize = 64 * 1024 * 1024;

/// How long a streamed answer waits for a client that takes nothing.
pub const HTTP_STREAM_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a load generator measures if it is not told otherwise.
pub const BENCH_DURATION: Duration = Duration::from_secs(10);

/// How long it warms up before that.
pub const BENCH_WARMUP: Duration = Duration::from_secs(1);

/// How long one operation may take before it counts as failed.
pub const BENCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the tunnels of `idle` are held.
pub const BENCH_HOLD: Duration = Duration::from_secs(5);

/// The most lanes, tunnels and streams together.
pub const BENCH_LANES_MAX: usize = 1 << 20;

/// The most bytes of one exchange (1 GiB).
pub const BENCH_BYTES_MAX: u64 = 1 << 30;

/// The most operations a second that may be asked for.
pub const BENCH_RATE_MAX: f64 = 1e7;

/// The most executors of a load generator.
pub const BENCH_THREADS_MAX: usize = 256;

/// What a lane of a load generator sends or takes at once, in bytes. All lanes
/// of an executor share one buffer of it.
pub const BENCH_BUFFER: usize = 128 * 1024;

/// Turns that one lane may take before the other lanes of its executor get
/// theirs.
pub const BENCH_TURNS: usize = 8;

/// Tunnels that one executor opens at once where many are to be held: no more
/// than the shortest usual backlog has room for.
pub const BENCH_OPENING_MAX: usize = 64;

/// Tunnels that `idle` opens and closes to warm the server up.
pub const BENCH_IDLE_WARMUP: usize = 16;

/// How long a lane rests after an operation that failed.
pub const BENCH_RETRY: Duration = Duration::from_millis(10);

/// How long a load generator leaves a server to itself before it reads the
/// server's figures, so that what follows an operation's end is in them.
pub const BENCH_SETTLE: Duration = Duration::from_millis(30);

/// How long operations in flight may take to end once a load generator is told
/// to stop.
pub const BENCH_STOP_GRACE: Duration = Duration::from_secs(1);

/// How long a load generator's tunnels may take to close in the end.
pub const BENCH_LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that an executor of a load generator, or of its backend, sleeps.
pub const BENCH_PULSE: Duration = Duration::from_millis(10);

/// How often a load generator tells of its progress and looks whether it is to
/// stop.
pub const BENCH_TICK: Duration = Duration::from_millis(100);

/// The step in which the rate over time is first recorded. It doubles whenever
/// there would be more than [`BENCH_STEPS_MAX`] of them.
pub const BENCH_STEP: Duration = Duration::from_millis(100);

/// The most steps in which the rate over time is recorded.
pub const BENCH_STEPS_MAX: usize = 600;

/// The part of a CPU that an executor of the load generator may use, or wait
/// for, before the generator itself is taken to be the bottleneck.
pub const BENCH_BUSY_MAX: f64 = 0.9;

/// How late the load generator may be with one in a hundred of its sends, in an
/// open loop, before it is itself taken to be the bottleneck.
pub const BENCH_LAG_MAX: Duration = Duration::from_millis(2);

/// The longest latency that is told from longer ones.
pub const BENCH_LATENCY_MAX: Duration = Duration::from_secs(3600);

/// The most bytes that the demonstration's backend sends in one answer.
pub const DEMO_BYTES_MAX: u64 = 1 << 30;

/// How long the demonstration's certificate is valid.
pub const DEMO_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

const _: () = assert!(
    2 * BUFFER_SIZE_DEFAULT
        + RECORD_WIRE_MAX
        + (BUFFER_SIZE_DEFAULT / RECORD_PLAIN_MAX + 1) * RECORD_SEAL_OVERHEAD_MAX
        <= 128 * 1024,
    "a stalled tunnel must stay within 128 KiB by default"
);
