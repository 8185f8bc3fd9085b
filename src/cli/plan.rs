//! What is meant by what was typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use adit::Config;
use adit::config::{Address, Admin, LogSink, Metrics, Placement, SyslogLevel, SyslogSink};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use log::LevelFilter;

use super::args::{
    AdminArg, Args, CheckArgs, Command, ConvertArgs, MetricsArg, OverrideArgs, RunArgs, ShardsArg,
    SourceArgs, StatsArgs, TargetArgs, TicketKeysCommand,
};
use super::bench::BenchPlan;
use super::exit::Failure;
use super::operator::Work;
use super::source::Source;
use super::top::TopArgs;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Plan {
    Demo(Overrides),
    Run(RunPlan),
    Check(RunPlan, Format),
    /// A check of what this very start would come to.
    Test(RunPlan),
    Stats(StatsPlan),
    Reload(Target, Format),
    Upgrade(Target),
    Operate(Work),
    Top(TopArgs),
    TicketKeys(TicketKeysCommand),
    Bench(BenchPlan),
    Convert(ConvertArgs),
    Completions(clap_complete::Shell),
    Man,
}

/// A server: how to come by its configuration, now and at every reload.
#[derive(Clone, Debug)]
pub(crate) struct RunPlan {
    pub(crate) source: Source,
    pub(crate) overrides: Overrides,
}

/// What wins over the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    shards: Option<Option<NonZeroUsize>>,
    cpus: Option<Vec<usize>>,
    nodes: Option<Vec<usize>>,
    caches: Option<Vec<usize>>,
    placement: Option<Placement>,
    level: Option<LevelFilter>,
    syslog: bool,
    admin: Option<Admin>,
    metrics: Option<Option<Address>>,
    drain: Option<Duration>,
    user: Option<String>,
    group: Option<String>,
    chroot: Option<PathBuf>,
    core_dumps: bool,
    no_watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug)]
pub(crate) struct StatsPlan {
    pub(crate) of: Target,
    pub(crate) format: Format,
    pub(crate) every: Option<Duration>,
}

/// Whose statistics.
#[derive(Debug)]
pub(crate) enum Target {
    TheOnlyOne,
    Pid(u32),
    Socket(PathBuf),
}

impl Plan {
    /// The meaning of what was typed, or what does not go together in it.
    pub(crate) fn new(args: Args) -> Result<Self, clap::Error> {
        match args.command {
            None if args.run.source.is_empty() && !args.run.test => {
                Ok(Self::Demo(args.run.overrides.into()))
            }
            None => Self::serve(args.run),
            Some(Command::Run(run)) => Self::serve(run),
            Some(Command::Check(check)) => Self::check(check),
            Some(Command::Stats(stats)) => Ok(Self::Stats(stats.into())),
            Some(Command::Top(args)) => Ok(Self::Top(args)),
            Some(Command::Tunnels(args)) => Ok(Self::Operate(Work::Tunnels(args))),
            Some(Command::Close(args)) => Ok(Self::Operate(Work::Close(args))),
            Some(Command::Drain(args)) => Ok(Self::Operate(Work::Drain(args))),
            Some(Command::Backend { command }) => Ok(Self::Operate(Work::Backend(command))),
            Some(Command::Shards(args)) => Ok(Self::Operate(Work::Shards(args))),
            Some(Command::Reload(args)) => Ok(Self::Reload(args.of.into(), Format::new(args.json))),
            Some(Command::Upgrade(of)) => Ok(Self::Upgrade(of.into())),
            Some(Command::TicketKeys { command }) => Ok(Self::TicketKeys(command)),
            Some(Command::Bench(bench)) => bench.plan().map(Self::Bench),
            Some(Command::Convert(convert)) => Ok(Self::Convert(convert)),
            Some(Command::Completions { shell }) => Ok(Self::Completions(shell)),
            Some(Command::Man) => Ok(Self::Man),
        }
    }

    fn serve(args: RunArgs) -> Result<Self, clap::Error> {
        let plan = RunPlan::new(args.source, args.overrides)?;
        Ok(if args.test {
            Self::Test(plan)
        } else {
            Self::Run(plan)
        })
    }

    fn check(args: CheckArgs) -> Result<Self, clap::Error> {
        let plan = RunPlan::new(args.source, args.overrides)?;
        Ok(Self::Check(plan, Format::new(args.json)))
    }
}

impl RunPlan {
    fn new(source: SourceArgs, overrides: OverrideArgs) -> Result<Self, clap::Error> {
        Ok(Self {
            source: Source::new(source).map_err(|(kind, message)| usage(kind, &message))?,
            overrides: overrides.into(),
        })
    }

    /// The configuration as it stands at this moment.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let mut config = match &self.source {
            Source::File(path) => {
                Config::from_file(path).map_err(|error| Failure::usage(error.to_string()))?
            }
            Source::Server {
                listen,
                backend,
                tls,
            } => Config::single(listen.clone(), tls.clone(), backend.clone()),
            Source::Client {
                listen,
                backend,
                tls,
            } => Config::client(listen.clone(), tls.clone(), backend.clone()),
        };
        self.overrides.apply(&mut config);
        Ok(config)
    }
}

impl Overrides {
    pub(crate) fn apply(&self, config: &mut Config) {
        if let Some(count) = self.shards {
            config.shards.count = count;
        }
        if let Some(cpus) = &self.cpus {
            config.shards.cpus = Some(cpus.clone());
        }
        if let Some(nodes) = &self.nodes {
            config.shards.nodes = Some(nodes.clone());
        }
        if let Some(caches) = &self.caches {
            config.shards.caches = Some(caches.clone());
        }
        if let Some(placement) = self.placement {
            config.shards.placement = placement;
        }
        if self.syslog && !matches!(config.log.sink, LogSink::Syslog(_)) {
            config.log.sink = LogSink::Syslog(SyslogSink::default());
        }
        if let Some(level) = self.level {
            config.log.level = level;
            // Who asks for debug lines wants them wherever lines go.
            if let (LogSink::Syslog(sink), Some(up_to)) =
                (&mut config.log.sink, syslog_level(level))
            {
                sink.up_to = up_to;
            }
        }
        if let Some(admin) = &self.admin {
            config.admin = admin.clone();
        }
        match &self.metrics {
            None => {}
            Some(None) => config.metrics = None,
            Some(Some(address)) => {
                let metrics = config.metrics.take();
                config.metrics = Some(Metrics {
                    address: address.clone(),
                    ..metrics.unwrap_or_else(|| Metrics::new(address.clone()))
                });
            }
        }
        if let Some(drain) = self.drain {
            config.timeouts.drain = drain;
        }
        if let Some(user) = &self.user {
            config.privileges.user = Some(user.clone());
            // The file's group goes with the file's user.
            config.privileges.group = self.group.clone();
        }
        if let Some(folder) = &self.chroot {
            config.privileges.chroot = Some(folder.clone());
        }
        if self.core_dumps {
            config.privileges.core_dumps = true;
        }
        if self.no_watch {
            config.watch = None;
        }
    }
}

fn syslog_level(level: LevelFilter) -> Option<SyslogLevel> {
    match level {
        LevelFilter::Off => None,
        LevelFilter::Error => Some(SyslogLevel::Err),
        LevelFilter::Warn => Some(SyslogLevel::Warning),
        LevelFilter::Info => Some(SyslogLevel::Info),
        LevelFilter::Debug | LevelFilter::Trace => Some(SyslogLevel::Debug),
    }
}

impl From<OverrideArgs> for Overrides {
    fn from(args: OverrideArgs) -> Self {
        Self {
            shards: args.shards.map(|shards| match shards {
                ShardsArg::Auto => None,
                ShardsArg::Count(count) => Some(count),
            }),
            cpus: args.cpus.map(|cpus| cpus.0),
            nodes: args.nodes.map(|nodes| nodes.0),
            caches: args.caches.map(|caches| caches.0),
            placement: args.placement.map(Placement::from),
            level: args.log_level.map(LevelFilter::from),
            syslog: args.syslog,
            admin: args.admin.map(|admin| match admin {
                AdminArg::Auto => Admin::Auto,
                AdminArg::Off => Admin::Off,
                AdminArg::Path(path) => Admin::Path(path),
            }),
            metrics: args.metrics.map(|metrics| match metrics {
                MetricsArg::Off => None,
                MetricsArg::At(address) => Some(address),
            }),
            drain: args.drain_timeout,
            user: args.user,
            group: args.group,
            chroot: args.chroot,
            core_dumps: args.core_dumps,
            no_watch: args.no_watch,
        }
    }
}

impl From<TargetArgs> for Target {
    fn from(args: TargetArgs) -> Self {
        match (args.pid, args.admin) {
            (Some(pid), _) => Self::Pid(pid),
            (None, Some(path)) => Self::Socket(path),
            (None, None) => Self::TheOnlyOne,
        }
    }
}

impl From<StatsArgs> for StatsPlan {
    fn from(args: StatsArgs) -> Self {
        Self {
            of: args.of.into(),
            format: Format::new(args.json),
            every: args.watch,
        }
    }
}

impl Format {
    fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// An error in the same form as clap's own.
fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    Args::command().error(kind, message)
}

#[cfg(test)]
mod tests {
    use adit::config::{
        ClientTls, JournaldSink, Privileges, ServerTls, ServerVerify, SyslogFacility,
    };
    use clap::Parser as _;

    use super::*;

    fn plan(words: &str) -> Result<Plan, String> {
        Args::try_parse_from(std::iter::once("adit").chain(words.split_whitespace()))
            .and_then(Plan::new)
            .map_err(|error| error.to_string())
    }

    fn config(words: &str) -> Config {
        match plan(words) {
            Ok(Plan::Run(plan)) => plan.config().expect("no file is read"),
            other => panic!("{words}: {other:?}"),
        }
    }

    const FLAGS: &str = "--listen *:443 --backend b:80 --cert c.pem";

    #[test]
    fn no_source_is_the_demonstration_unless_run_was_typed() {
        for words in ["", "--shards 2 --cpus 0 --log-level debug", "--admin off"] {
            assert!(matches!(plan(words), Ok(Plan::Demo(_))), "{words}");
        }
        for words in ["run", "check", "--test", "run --shards 2"] {
            let error = plan(words).unwrap_err();
            assert!(error.contains("nothing to serve"), "{words}: {error}");
        }
    }

    #[test]
    fn run_is_the_default_command() {
        assert_eq!(config(FLAGS), config(&format!("run {FLAGS}")));
        assert!(matches!(plan("-c x.ron"), Ok(Plan::Run(_))));
    }

    #[test]
    fn the_key_may_be_in_the_certificates_file() {
        let alone = config(FLAGS).listeners[0].tls.clone();
        assert_eq!(alone, Some(ServerTls::new("c.pem", "c.pem")));
        let apart = config(&format!("{FLAGS} --key k.pem")).listeners[0]
            .tls
            .clone();
        assert_eq!(apart, Some(ServerTls::new("c.pem", "k.pem")));
    }

    #[test]
    fn certificates_may_be_many() {
        let many = config(&format!(
            "{FLAGS} --cert dir/ --alpn h2,http/1.1 --key-log k.log"
        ));
        let tls = many.listeners[0].tls.as_ref().expect("TLS");
        let certs: Vec<_> = tls.certs.iter().map(|source| &source.cert).collect();
        assert_eq!(certs, [&PathBuf::from("c.pem"), &PathBuf::from("dir/")]);
        assert_eq!(tls.alpn, ["h2", "http/1.1"]);
        assert_eq!(tls.key_log, Some("k.log".into()));
    }

    #[test]
    fn a_client_speaks_tls_to_the_backend() {
        let bare = config("--client -l 127.0.0.1:80 -b b:443");
        assert_eq!(bare.listeners[0].tls, None);
        assert_eq!(bare.services[0].tls, Some(ClientTls::default()));
        let full = config(
            "run --client -l 127.0.0.1:80 -b 192.0.2.1:443 --ca ca.pem --server-name b.example \
             --cert c.pem --key k.pem --alpn imap --key-log=k.log",
        );
        assert_eq!(
            full.services[0].tls,
            Some(ClientTls {
                verify: ServerVerify::Ca("ca.pem".into()),
                server_name: Some("b.example".into()),
                identity: Some(adit::config::CertSource::new("c.pem", "k.pem")),
                alpn: vec!["imap".into()],
                key_log: Some("k.log".into()),
                ..ClientTls::default()
            })
        );
    }

    #[test]
    fn flags_win_over_the_source() {
        let config = config(&format!(
            "{FLAGS} --shards 3 --cpus 1,4-5 --nodes 0-1 --caches 2 --placement per-core --log-level debug --syslog --admin /a.sock --drain-timeout 90s --user u --group 7 --chroot /jail --core-dumps --no-watch"
        ));
        assert_eq!(config.shards.count, NonZeroUsize::new(3));
        assert_eq!(config.shards.cpus, Some(vec![1, 4, 5]));
        assert_eq!(config.shards.nodes, Some(vec![0, 1]));
        assert_eq!(config.shards.caches, Some(vec![2]));
        assert_eq!(config.shards.placement, Placement::PerCore);
        assert_eq!(config.log.level, LevelFilter::Debug);
        let LogSink::Syslog(sink) = config.log.sink else {
            panic!("not syslog");
        };
        assert_eq!(sink.up_to, SyslogLevel::Debug);
        assert_eq!(config.admin, Admin::Path("/a.sock".into()));
        assert_eq!(config.timeouts.drain, Duration::from_secs(90));
        assert_eq!(config.watch, None);
        assert_eq!(
            config.privileges,
            Privileges {
                user: Some("u".into()),
                group: Some("7".into()),
                chroot: Some("/jail".into()),
                core_dumps: true,
                landlock: true,
            }
        );
    }

    #[test]
    fn syslog_wins_over_any_other_sink() {
        let Ok(Plan::Run(plan)) = plan(&format!("{FLAGS} --syslog")) else {
            panic!("no server");
        };
        let facility = SyslogFacility::Local3;
        let own = SyslogSink {
            facility,
            ..SyslogSink::default()
        };
        for (sink, wanted) in [
            (LogSink::Stderr, SyslogSink::default()),
            (LogSink::File("/a.log".into()), SyslogSink::default()),
            (
                LogSink::Journald(JournaldSink::default()),
                SyslogSink::default(),
            ),
            // The file knows more of it.
            (LogSink::Syslog(own.clone()), own),
        ] {
            let mut config = plan.config().expect("no file is read");
            config.log.sink = sink;
            plan.overrides.apply(&mut config);
            assert_eq!(config.log.sink, LogSink::Syslog(wanted));
        }
    }

    #[test]
    fn test_is_a_start_that_only_checks() {
        assert!(matches!(plan("-c x --test"), Ok(Plan::Test(_))));
        assert!(matches!(
            plan("check -c x --json"),
            Ok(Plan::Check(_, Format::Json))
        ));
    }
}
