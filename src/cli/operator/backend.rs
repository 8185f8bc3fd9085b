//! `adit backend`: which backends get tunnels.

use std::fmt::Write as _;

use adit::control::admin::Switched;
use adit::http;
use adit::metrics::{BackendState, BackendStats, ServiceStats};

use super::BackendCommand;
use super::args::SwitchArgs;
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{human, output};

pub(super) fn run(command: BackendCommand) -> Result<Exit, Failure> {
    match command {
        BackendCommand::List { service, json, of } => {
            let endpoint = Endpoint::of(&of.into())?;
            let (_, mut services): (_, Vec<ServiceStats>) = endpoint.get("/backends")?;
            if let Some(wanted) = service {
                services.retain(|service| service.name == wanted);
                if services.is_empty() {
                    return Err(Failure::runtime(format!(
                        "there is no service \"{wanted}\"; adit backend list shows all of them"
                    )));
                }
            }
            if json {
                super::print_json(&services)?;
            } else {
                output::print(&render(&services))?;
            }
            Ok(Exit::Clean)
        }
        BackendCommand::Disable(args) => switch(args, "disable"),
        BackendCommand::Enable(args) => switch(args, "enable"),
    }
}

fn switch(args: SwitchArgs, word: &str) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&args.of.into())?;
    let switched: Switched = endpoint.order(&format!(
        "/backends/{word}?service={}&backend={}",
        http::encode(&args.service),
        http::encode(&args.backend)
    ))?;
    if args.json {
        super::print_json(&switched)?;
    } else {
        let Switched {
            service, backend, ..
        } = &switched;
        let what = match switched.enabled {
            true => "enabled: it gets tunnels, as its health checks allow",
            false => "disabled: it gets no more tunnels; those that are open go on",
        };
        output::print(&format!("{backend} of {service} is {what}\n"))?;
    }
    super::note_silent(&switched.silent_shards);
    Ok(Exit::Clean)
}

pub(crate) fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Up => "up",
        BackendState::Ejected => "ejected",
        BackendState::Down => "down",
        BackendState::Disabled => "disabled",
    }
}

/// What the last check found, in a word.
pub(crate) fn check(backend: &BackendStats) -> &'static str {
    match &backend.last_check {
        None => "–",
        Some(check) if check.passed => "ok",
        Some(_) => "bad",
    }
}

fn render(services: &[ServiceStats]) -> String {
    let backends = || services.iter().flat_map(|service| &service.backends);
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let name = longest(&mut services.iter().map(|s| s.name.chars().count())).max(7);
    let address = longest(&mut backends().map(|b| b.address.chars().count())).max(7);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<name$}  {:<address$}  {:<8}  {:<5}  {:>7}  {:>10}  {:>6}",
        "service", "backend", "state", "check", "open", "total", "failed"
    );
    for service in services {
        for backend in &service.backends {
            let _ = writeln!(
                text,
                "{:<name$}  {:<address$}  {:<8}  {:<5}  {:>7}  {:>10}  {:>6}{}",
                service.name,
                backend.address,
                state(backend.state),
                check(backend),
                human::count(backend.tunnels_open),
                human::count(backend.tunnels_total),
                human::count(backend.connect_failures),
                if backend.backup { "  backup" } else { "" },
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use adit::metrics::{CheckStats, TimeCounts};

    use super::*;

    #[test]
    fn a_line_for_each_backend() {
        let backend = |address: &str, state| BackendStats {
            address: address.into(),
            state,
            backup: state == BackendState::Down,
            ejected_on_shards: 0,
            tunnels_open: 12,
            tunnels_total: 12_345,
            connect_failures: 1,
            max_connections: None,
            last_check: (state == BackendState::Down).then(|| CheckStats {
                passed: false,
                detail: "refused".into(),
                seconds_ago: 1.0,
                transitions: 1,
            }),
        };
        let services = [ServiceStats {
            name: "web".into(),
            waiting: 0,
            held: 0,
            queued_total: 0,
            queue_refused: 0,
            retries: 0,
            queue_length: 0,
            connect_times: TimeCounts::default(),
            backends: vec![
                backend("10.0.0.11:8080", BackendState::Disabled),
                backend("unix:/run/app.sock", BackendState::Down),
            ],
        }];
        let expected = "\
service  backend             state     check     open       total  failed
web      10.0.0.11:8080      disabled  –           12      12,345       1
web      unix:/run/app.sock  down      bad         12      12,345       1  backup
";
        assert_eq!(render(&services), expected);
    }
}
