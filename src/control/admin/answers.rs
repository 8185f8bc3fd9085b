//! What can be asked of a process, and who may.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::{Request, Response};
use crate::metrics::{Stats, TunnelId, TunnelList, TunnelQuery, TunnelStats};
use crate::notice;

/// What the endpoint has done by a server. Each is called on one of the
/// endpoint's own threads, and may take its time.
pub trait Orders: Send + Sync + 'static {
    /// The figures of this moment: `GET /stats`; parts of them are
    /// `GET /shards` and `GET /backends`.
    ///
    /// # Errors
    ///
    /// The server is not running.
    fn stats(&self) -> Result<Stats, Error>;

    /// The open tunnels that fit a query: `GET /tunnels`.
    ///
    /// # Errors
    ///
    /// The server is not running.
    fn tunnels(&self, query: TunnelQuery) -> Result<TunnelList, Error>;

    /// End a tunnel: `POST /close?id=3-1842`. `None`: there is none.
    ///
    /// # Errors
    ///
    /// Its shard does not answer, or the server is not running.
    fn close(&self, id: TunnelId) -> Result<Option<TunnelStats>, Error>;

    /// Stop, and let open tunnels end within the drain time: `POST /drain`.
    ///
    /// # Errors
    ///
    /// The server is not running.
    fn drain(&self) -> Result<Draining, Error>;

    /// How the server ended, waited for: `GET /drain`. `None`: it was not told to
    /// stop.
    ///
    /// # Errors
    ///
    /// It ended otherwise.
    fn drained(&self) -> Result<Option<Drained>, Error>;

    /// Give a backend tunnels, or no more:
    /// `POST /backends/disable?service=web&backend=10.0.0.11:8080`. Gives the
    /// shards that have not said yet that it is so.
    ///
    /// # Errors
    ///
    /// There is no such backend, or the server is not running.
    fn enable_backend(
        &self,
        service: &str,
        backend: &str,
        enabled: bool,
    ) -> Result<Vec<usize>, Error>;

    /// Take the configuration up anew: `POST /reload`.
    ///
    /// # Errors
    ///
    /// Why not, for the operator, in full.
    fn reload(&self) -> Result<(), String>;

    /// Leave the work to a new process, and say which: `POST /upgrade`.
    ///
    /// # Errors
    ///
    /// Why not, for the operator, in full.
    fn upgrade(&self) -> Result<String, String>;
}

/// The answer to the order to drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draining {
    /// Tunnels that were open.
    pub tunnels_open: u64,
    /// How long they may go on, in seconds, counted from the first such order,
    /// or from the end of the grace if there is one.
    pub drain_timeout_seconds: f64,
    /// For how long connections are still accepted, in seconds.
    pub ready_grace_seconds: f64,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Tunnels that were cut when the drain time had run out.
    pub tunnels_cut: u64,
}

/// The answer to the order to disable a backend, or to enable it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switched {
    /// The service.
    pub service: String,
    /// The backend's address.
    pub backend: String,
    /// Whether it gets tunnels from now on, as far as operators are concerned.
    pub enabled: bool,
    /// The shards that have not said yet that it is so.
    pub silent_shards: Vec<usize>,
}

/// Answers a request, if it comes from somebody who may ask. What changes
/// anything is logged, with who wanted it.
pub(super) fn answer(request: &Request, orders: &impl Orders) -> Response {
    let Some(peer) = request.peer.filter(|peer| peer.is_trusted()) else {
        log::warn!(
            "admin: {} asked for {} {}, and may not: only root and the user of this process may",
            who(request),
            request.method.as_str(),
            request.path.escape_debug(),
        );
        return Response::text(
            403,
            "only root and the user that adit runs as may ask this\n",
        );
    };
    let (path, reads) = (request.path.as_str(), request.is_read());
    match path {
        "/stats" | "/tunnels" | "/shards" | "/backends" if !reads => {
            Response::method_not_allowed("GET, HEAD")
        }
        "/close" | "/reload" | "/upgrade" | "/backends/disable" | "/backends/enable" if reads => {
            Response::method_not_allowed("POST")
        }
        "/stats" => shown(orders.stats()),
        "/shards" => shown(orders.stats().map(|stats| stats.shards)),
        "/backends" => shown(orders.stats().map(|stats| stats.services)),
        "/drain" if reads => match orders.drained() {
            Ok(Some(drained)) => Response::json(&drained),
            Ok(None) => Response::text(409, "the server was not told to stop\n"),
            Err(error) => Response::text(500, format!("{error}\n")),
        },
        "/tunnels" => match TunnelQuery::from_request(request) {
            Ok(query) => shown(orders.tunnels(query)),
            Err(why) => Response::text(400, format!("{why}\n")),
        },
        _ => {
            let Some(done) = change(request, orders) else {
                return Response::not_found();
            };
            let (pid, uid) = (peer.pid, peer.uid);
            match &done {
                Ok((what, _)) => notice!("admin: {what}, by process {pid} of user {uid}"),
                Err((_, why)) => log::warn!(
                    "admin: {path} refused to process {pid} of user {uid}: {}",
                    why.trim_end().lines().next().unwrap_or("")
                ),
            }
            match done {
                Ok((_, response)) => response,
                Err((status, why)) => Response::text(status, format!("{}\n", why.trim_end())),
            }
        }
    }
}

/// What was done, in the words of the log, with the answer; or why it was not,
/// with the status.
type Done = Result<(String, Response), (u16, String)>;

/// Does what changes something. `None`: there is nothing at that path.
fn change(request: &Request, orders: &impl Orders) -> Option<Done> {
    Some(match request.path.as_str() {
        "/close" => close(request, orders),
        "/drain" => orders.drain().map_err(failed).map(|draining| {
            let response = Response::json(&draining);
            ("told to drain".into(), response)
        }),
        "/reload" => orders.reload().map_err(|why| (409, why)).map(|()| {
            let response = Response::text(200, "the new configuration is in use\n");
            ("reloaded".into(), response)
        }),
        "/upgrade" => orders.upgrade().map_err(|why| (409, why)).map(|text| {
            let response = Response::text(200, format!("{text}\n"));
            ("upgraded".into(), response)
        }),
        "/backends/disable" => switch(request, orders, false),
        "/backends/enable" => switch(request, orders, true),
        _ => return None,
    })
}

fn close(request: &Request, orders: &impl Orders) -> Done {
    let id = value(request, "id")?;
    let id: TunnelId = id.parse().map_err(|why| (400, why))?;
    match orders.close(id).map_err(failed)? {
        Some(tunnel) => Ok((format!("tunnel {id} closed"), Response::json(&tunnel))),
        None => Err((404, format!("there is no tunnel {id}, or no longer"))),
    }
}

fn switch(request: &Request, orders: &impl Orders, enabled: bool) -> Done {
    let (service, backend) = (value(request, "service")?, value(request, "backend")?);
    let silent_shards = orders
        .enable_backend(&service, &backend, enabled)
        .map_err(failed)?;
    let word = if enabled { "enabled" } else { "disabled" };
    let what = format!("backend {backend} of {service} {word}");
    let switched = Switched {
        service,
        backend,
        enabled,
        silent_shards,
    };
    Ok((what, Response::json(&switched)))
}

fn value(request: &Request, key: &str) -> Result<String, (u16, String)> {
    let value = request.query_texts(key).next();
    value.ok_or_else(|| (400, format!("give {key}= in the query")))
}

fn shown<T: Serialize>(asked: Result<T, Error>) -> Response {
    match asked {
        Ok(answer) => Response::json(&answer),
        Err(error) => {
            let (status, why) = failed(error);
            Response::text(status, format!("{why}\n"))
        }
    }
}

fn failed(error: Error) -> (u16, String) {
    let status = match error {
        Error::Unknown(_) => 404,
        _ => 503,
    };
    (status, error.to_string())
}

fn who(request: &Request) -> String {
    match request.peer {
        Some(peer) => format!("process {} of user {}", peer.pid, peer.uid),
        None => "somebody".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::Parsed;
    use crate::sys::account::effective_uid;
    use crate::sys::peer::Peer;

    /// Whoever is let in to it is.
    struct Panics;

    impl Orders for Panics {
        fn stats(&self) -> Result<Stats, Error> {
            panic!("asked for");
        }
        fn tunnels(&self, _: TunnelQuery) -> Result<TunnelList, Error> {
            panic!("asked for");
        }
        fn close(&self, _: TunnelId) -> Result<Option<TunnelStats>, Error> {
            panic!("asked for");
        }
        fn drain(&self) -> Result<Draining, Error> {
            panic!("asked for");
        }
        fn drained(&self) -> Result<Option<Drained>, Error> {
            panic!("asked for");
        }
        fn enable_backend(&self, _: &str, _: &str, _: bool) -> Result<Vec<usize>, Error> {
            panic!("asked for");
        }
        fn reload(&self) -> Result<(), String> {
            panic!("asked for");
        }
        fn upgrade(&self) -> Result<String, String> {
            panic!("asked for");
        }
    }

    #[test]
    fn nobody_else_is_answered() {
        let stranger = Peer {
            pid: 1,
            uid: effective_uid() + 1,
            gid: 0,
        };
        for peer in [None, Some(stranger)] {
            for target in [
                "GET /stats",
                "GET /tunnels",
                "POST /drain",
                "POST /close?id=1-2",
                "GET /nothing",
            ] {
                let head = format!("{target} HTTP/1.1\r\nHost: a\r\n\r\n");
                let Ok(Parsed::Whole(mut request, _)) = Request::parse(head.as_bytes()) else {
                    panic!("{head}");
                };
                request.peer = peer;
                assert_eq!(answer(&request, &Panics).status(), 403, "{target}");
            }
        }
    }
}
