//! Which of the open tunnels are wanted, and in which order.
//!
//! A query is a few words, the same on the command line, in `adit top` and in
//! the query of `GET /tunnels`. Every shard answers it by itself, and what they
//! answer is joined by the same rules.

mod filter;
mod order;

pub use filter::TunnelFilter;
pub(crate) use order::Rank;
pub use order::TunnelOrder;

use std::cmp::Ordering;

use super::tunnel::{TunnelStats, TunnelView};
use crate::http;
use crate::limits;

/// Which of the open tunnels are wanted: those that fit every filter, the first
/// so many of them in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelQuery {
    filters: Vec<TunnelFilter>,
    /// What they are ordered by.
    pub order: TunnelOrder,
    /// The other way round.
    pub reverse: bool,
    limit: usize,
    rates: bool,
}

impl Default for TunnelQuery {
    /// Every tunnel, the oldest first, [`limits::TUNNELS_LISTED_DEFAULT`] at
    /// most.
    fn default() -> Self {
        Self {
            filters: Vec::new(),
            order: TunnelOrder::default(),
            reverse: false,
            limit: limits::TUNNELS_LISTED_DEFAULT,
            rates: false,
        }
    }
}

impl TunnelQuery {
    /// One more condition.
    pub fn filter(mut self, filter: TunnelFilter) -> Self {
        self.filters.push(filter);
        self
    }

    /// In that order.
    pub fn order(mut self, order: TunnelOrder) -> Self {
        self.order = order;
        self
    }

    /// In the opposite order, if so.
    pub fn reversed(mut self, reverse: bool) -> Self {
        self.reverse = reverse;
        self
    }

    /// No more than so many, and [`limits::TUNNELS_LISTED_MAX`] at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.min(limits::TUNNELS_LISTED_MAX);
        self
    }

    /// How many at most.
    pub fn most(&self) -> usize {
        self.limit
    }

    /// With the rates of the moment, whether or not order or filters need them.
    pub fn with_rates(mut self) -> Self {
        self.rates = true;
        self
    }

    /// Whether the rates of the moment are to be found out.
    pub fn wants_rates(&self) -> bool {
        self.rates
            || self.order == TunnelOrder::Rate
            || self.filters.iter().any(TunnelFilter::asks_for_rates)
    }

    /// As the query of `GET /tunnels`.
    pub fn to_url(&self) -> String {
        let mut query = format!("limit={}&sort={}", self.limit, self.order);
        if self.reverse {
            query += "&reverse=true";
        }
        if self.rates {
            query += "&rates=true";
        }
        for filter in &self.filters {
            query += "&filter=";
            query += &http::encode(&filter.to_string());
        }
        query
    }

    /// From the query of such a request. What is left out is as by default.
    ///
    /// # Errors
    ///
    /// What was not understood, and what to write instead.
    pub fn from_request(request: &http::Request) -> Result<Self, String> {
        let mut query = Self::default();
        for limit in request.query_texts("limit") {
            let limit = limit.parse();
            query = query.limit(limit.map_err(|_| "limit: write a number, such as 100")?);
        }
        for order in request.query_texts("sort") {
            query.order = order.parse()?;
        }
        for reverse in request.query_texts("reverse") {
            query.reverse = yes_or_no("reverse", &reverse)?;
        }
        for rates in request.query_texts("rates") {
            query.rates = yes_or_no("rates", &rates)?;
        }
        for filter in request.query_texts("filter") {
            query.filters.push(filter.parse()?);
        }
        Ok(query)
    }

    pub(crate) fn fits(&self, tunnel: &TunnelView<'_>) -> bool {
        self.filters.iter().all(|filter| filter.fits(tunnel))
    }

    pub(crate) fn rank(&self, tunnel: &TunnelView<'_>) -> Rank {
        self.order.rank(tunnel)
    }

    pub(crate) fn compare(&self, a: &Rank, b: &Rank) -> Ordering {
        if self.reverse { b.cmp(a) } else { a.cmp(b) }
    }

    /// Joins what a shard has answered with what others have: the first so many
    /// of all of them.
    pub(crate) fn join(&self, tunnels: &mut Vec<TunnelStats>, more: Vec<TunnelStats>) {
        tunnels.extend(more);
        let mut ranked: Vec<(Rank, TunnelStats)> = tunnels
            .drain(..)
            .map(|tunnel| (self.rank(&tunnel.view()), tunnel))
            .collect();
        ranked.sort_unstable_by(|(a, _), (b, _)| self.compare(a, b));
        ranked.truncate(self.limit);
        tunnels.extend(ranked.into_iter().map(|(_, tunnel)| tunnel));
    }
}

fn yes_or_no(key: &str, text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{key}: write true or false"))
}

#[cfg(test)]
mod tests;
