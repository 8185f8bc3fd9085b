//! `adit tunnels`: the tunnels that are open.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use adit::limits;
use adit::metrics::{TunnelList, TunnelOrder, TunnelStats};

use super::TunnelsArgs;
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{human, output};

pub(super) fn run(args: TunnelsArgs) -> Result<Exit, Failure> {
    let query = args.query();
    let endpoint = Endpoint::of(&args.of.into())?;
    if query.wants_rates() {
        // What is asked for twice is told for the time in between.
        let nothing = format!("/tunnels?{}", query.clone().limit(0).to_url());
        endpoint.get::<TunnelList>(&nothing)?;
        thread::sleep(limits::SAMPLE_SPAN);
    }
    let (_, list): (_, TunnelList) = endpoint.get(&format!("/tunnels?{}", query.to_url()))?;
    if args.json {
        super::print_json(&list)?;
    } else {
        output::print(&render(&list, args.sort))?;
        super::note_silent(&list.silent_shards);
    }
    Ok(Exit::Clean)
}

/// One line for each tunnel, and one more if there are others.
fn render(list: &TunnelList, order: TunnelOrder) -> String {
    let rates = order == TunnelOrder::Rate || list.tunnels.iter().any(has_rate);
    let mut rows = vec![header(rates)];
    rows.extend(list.tunnels.iter().map(|tunnel| row(tunnel, rates)));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Amounts are read from their ends.
            let padding = " ".repeat(width - cell.chars().count());
            // Writing to a String cannot fail.
            let _ = match is_amount(column, rates) {
                true => write!(line, "{padding}{cell}  "),
                false => write!(line, "{cell}{padding}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    let shown = list.tunnels.len() as u64;
    if shown < list.matching {
        let _ = writeln!(
            text,
            "{} of {} are shown; --limit N shows more",
            human::count(shown),
            human::count(list.matching)
        );
    }
    text
}

fn has_rate(tunnel: &TunnelStats) -> bool {
    tunnel.bytes_per_second.is_some()
}

fn is_amount(column: usize, rates: bool) -> bool {
    (2..5 + usize::from(rates)).contains(&column)
}

fn header(rates: bool) -> Vec<String> {
    let rate = if rates { &["per s"][..] } else { &[] };
    [
        &["id", "state", "age", "up", "down"][..],
        rate,
        &["client", "name", "service", "backend", "tls"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

fn row(tunnel: &TunnelStats, rates: bool) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    let age = Duration::try_from_secs_f64(tunnel.age_seconds).unwrap_or_default();
    let mut row = vec![
        tunnel.id.to_string(),
        tunnel.state.to_string(),
        human::duration(age),
        human::bytes(tunnel.bytes_up),
        human::bytes(tunnel.bytes_down),
    ];
    if rates {
        row.push(human::bytes(tunnel.bytes_per_second.unwrap_or(0)));
    }
    let tls = match (&tunnel.tls_version, &tunnel.cipher) {
        (Some(version), Some(cipher)) => format!("{version} {cipher}"),
        (version, _) => or_dash(version),
    };
    row.extend([
        tunnel
            .client
            .map_or("unix".into(), |client| client.to_string()),
        or_dash(&tunnel.sni),
        or_dash(&tunnel.service),
        or_dash(&tunnel.backend),
        tls,
    ]);
    row
}

/// A tunnel in one line of words.
pub(super) fn describe(tunnel: &TunnelStats) -> String {
    let age = Duration::try_from_secs_f64(tunnel.age_seconds).unwrap_or_default();
    let client = tunnel
        .client
        .map_or("unix".into(), |client| client.to_string());
    let to = tunnel.backend.as_ref().or(tunnel.service.as_ref());
    let to = to.map(|to| format!(" → {to}")).unwrap_or_default();
    format!(
        "{client}{to}, open for {}, {} up, {} down",
        human::duration(age),
        human::bytes(tunnel.bytes_up),
        human::bytes(tunnel.bytes_down)
    )
}

#[cfg(test)]
mod tests {
    use adit::metrics::{TunnelId, TunnelState};

    use super::*;

    fn tunnel(shard: usize, number: u64) -> TunnelStats {
        TunnelStats {
            id: TunnelId { shard, number },
            state: TunnelState::Relay,
            client: "192.0.2.7:50123".parse().ok(),
            sni: Some("shop.example.org".into()),
            listener: "web".into(),
            service: Some("app".into()),
            backend: Some("10.0.0.11:8080".into()),
            tls_version: Some("TLSv1.3".into()),
            cipher: Some("TLS_AES_128_GCM_SHA256".into()),
            group: None,
            resumed: Some(false),
            age_seconds: 7265.0,
            bytes_up: 1000,
            bytes_down: 20 << 20,
            bytes_per_second: None,
        }
    }

    #[test]
    fn a_line_for_each_in_columns() {
        let mut list = TunnelList {
            tunnels: vec![
                tunnel(0, 12),
                TunnelStats {
                    state: TunnelState::Handshake,
                    client: None,
                    sni: None,
                    service: None,
                    backend: None,
                    tls_version: None,
                    cipher: None,
                    age_seconds: 0.5,
                    bytes_up: 0,
                    bytes_down: 0,
                    ..tunnel(3, 1842)
                },
            ],
            matching: 1842,
            open: 2000,
            silent_shards: vec![],
        };
        let expected = "\
id      state            age      up    down  client           name              service  backend         tls
0-12    relay      2 h 1 min  1000 B  20 MiB  192.0.2.7:50123  shop.example.org  app      10.0.0.11:8080  TLSv1.3 TLS_AES_128_GCM_SHA256
3-1842  handshake        0 s     0 B     0 B  unix             –                 –        –               –
2 of 1,842 are shown; --limit N shows more
";
        assert_eq!(render(&list, TunnelOrder::Age), expected);
        list.tunnels.truncate(1);
        list.tunnels[0].bytes_per_second = Some(3 << 20);
        list.matching = 1;
        let expected = "\
id    state        age      up    down    per s  client           name              service  backend         tls
0-12  relay  2 h 1 min  1000 B  20 MiB  3.0 MiB  192.0.2.7:50123  shop.example.org  app      10.0.0.11:8080  TLSv1.3 TLS_AES_128_GCM_SHA256
";
        assert_eq!(render(&list, TunnelOrder::Rate), expected);
        assert_eq!(
            describe(&list.tunnels[0]),
            "192.0.2.7:50123 → 10.0.0.11:8080, open for 2 h 1 min, 1000 B up, 20 MiB down"
        );
    }
}
