//! The scalars of services, routes and access.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use serde::Deserialize;

use super::super::error::clip;
use super::super::{Network, ProxyVersion, Source};
use super::{Scalar, whole};
use crate::limits;

scalar! {
    /// A network of addresses.
    NetworkText(Network) = |scalar: Scalar| scalar.text("a network in quotes, such as \"192.0.2.0/24\"")?.parse()
}

scalar! {
    /// A name that clients ask for, or `*.` and the rest of one.
    SniPattern(String) = |scalar: Scalar| {
        let text = scalar.text("a name in quotes, such as \"www.example.org\" or \"*.example.org\"")?;
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let sound = !name.is_empty()
            && name.len() <= 253
            && name.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            });
        match sound {
            true => Ok(text.to_ascii_lowercase()),
            false => Err(format!(
                "\"{}\" is no name that a client could ask for; write one such as \"www.example.org\", or \"*.example.org\" for any first label",
                clip(&text)
            )),
        }
    }
}

scalar! {
    /// A backend's weight.
    Weight(u32) = |scalar| number(&scalar, 1, limits::WEIGHT_MAX)
}

scalar! {
    /// A number that is not zero.
    Count(NonZeroU32) = |scalar| {
        let count = number(&scalar, 1, u32::MAX)?;
        NonZeroU32::new(count).ok_or_else(|| "write a number from 1".into())
    }
}

impl Count {
    /// The number, as many of something as there may be in memory.
    pub(in super::super) fn get(self) -> NonZeroUsize {
        // A usize has 64 bits on every machine that io_uring runs on, and more
        // than there can be of anything on one with 32.
        NonZeroUsize::try_from(self.0).unwrap_or(NonZeroUsize::MAX)
    }
}

scalar! {
    /// A number that may be zero.
    Amount(u32) = |scalar| number(&scalar, 0, u32::MAX)
}

scalar! {
    /// Bits of an IPv4 address.
    BitsV4(u8) = |scalar| bits(&scalar, 32)
}

scalar! {
    /// Bits of an IPv6 address.
    BitsV6(u8) = |scalar| bits(&scalar, 128)
}

scalar! {
    /// A version of the PROXY protocol.
    ProxyVersionNumber(ProxyVersion) = |scalar| match number(&scalar, 1, 2)? {
        1 => Ok(ProxyVersion::One),
        _ => Ok(ProxyVersion::Two),
    }
}

scalar! {
    /// HTTP statuses, from and to.
    Statuses((u16, u16)) = statuses
}

scalar! {
    /// Where connections to backends come from.
    SourceAddress(Source) = |scalar: Scalar| match scalar {
        Scalar::Word(word) if word == "Transparent" => Ok(Source::Transparent),
        Scalar::Text(text) => match text.parse::<IpAddr>() {
            Ok(address) => Ok(Source::Fixed(address)),
            Err(_) => Err(format!(
                "\"{}\" is no address; write one such as \"192.0.2.1\", without a port, or Transparent",
                clip(&text)
            )),
        },
        other => Err(other.refused("an address in quotes, such as \"192.0.2.1\", or Transparent")),
    }
}

scalar! {
    /// The path of a page.
    PagePath(String) = |scalar: Scalar| {
        let path = scalar.text("a path in quotes, such as \"/healthz\"")?;
        match path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(path),
            false => Err(format!(
                "\"{}\" is no path of a page; write one that begins with /, such as \"/healthz\"",
                clip(&path)
            )),
        }
    }
}

fn number(scalar: &Scalar, min: u32, max: u32) -> Result<u32, String> {
    let number = whole(scalar, min as usize, max as usize, "a whole number")?;
    // The bound is a u32.
    Ok(number as u32)
}

fn bits(scalar: &Scalar, max: u8) -> Result<u8, String> {
    // The bound is a u8.
    number(scalar, 0, max.into()).map(|bits| bits as u8)
}

fn statuses(scalar: Scalar) -> Result<(u16, u16), String> {
    let wrong = |text: &str| {
        format!(
            "\"{}\" are no HTTP statuses; write one such as 200, or a range such as \"200-399\"",
            clip(text)
        )
    };
    let status = |text: &str| {
        let status = text.trim().parse().ok();
        status.filter(|status: &u16| (100..=599).contains(status))
    };
    match scalar {
        Scalar::Number(_) => {
            let one = number(&scalar, 100, 599)? as u16;
            Ok((one, one))
        }
        Scalar::Text(text) => {
            let (from, to) = text.split_once('-').unwrap_or((&text, &text));
            match (status(from), status(to)) {
                (Some(from), Some(to)) if from <= to => Ok((from, to)),
                _ => Err(wrong(&text)),
            }
        }
        other => Err(other.refused("a status such as 200, or a range such as \"200-399\"")),
    }
}
