//! The word that was probably meant.

/// Words of other programs' configurations, and ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("bind", "address"),
    ("listen", "address"),
    ("host", "address"),
    ("port", "address"),
    ("certificate", "cert"),
    ("certificate_file", "cert"),
    ("cert_file", "cert"),
    ("pem", "cert"),
    ("pem_file", "cert"),
    ("private_key", "key"),
    ("key_file", "key"),
    ("frontends", "listeners"),
    ("upstream", "backend"),
    ("upstreams", "backends"),
    ("servers", "backends"),
    ("destination", "backend"),
    ("threads", "shards"),
    ("workers", "shards"),
    ("logging", "log"),
    ("path", "socket"),
];

/// The most bytes of a word that is compared: the comparison is quadratic.
const WORD_MAX: usize = 64;

/// The candidate nearest to that word, if one is near enough to be meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let word = plain(word);
    let near = candidates
        .clone()
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_MAX)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &plain(candidate)),
                candidate,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .map(|(_, candidate)| candidate);
    near.or_else(|| {
        let (_, meant) = SYNONYMS.iter().find(|(theirs, _)| *theirs == word)?;
        candidates.into_iter().find(|candidate| candidate == meant)
    })
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_and_synonyms_are_found_and_far_ones_are_not() {
        let keys = ["address", "backend", "cert", "key", "half_close"];
        for (word, meant) in [
            ("backned", Some("backend")),
            ("Half-Close", Some("half_close")),
            ("ky", Some("key")),
            ("k", None),
            ("listen", Some("address")),
            ("pem_file", Some("cert")),
            ("workers", None),
            ("zzz", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
