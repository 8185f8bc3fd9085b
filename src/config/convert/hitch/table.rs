//! Keys of hitch.conf that become no setting, and why.

/// Keys that adit cannot be told, for one reason.
pub(super) struct Unsettable {
    pub(super) keys: &'static [&'static str],
    /// Values with which adit does the same anyway. "off" stands for every
    /// way to write it.
    same: &'static [&'static str],
    /// Why there is no equivalent, and what to do.
    pub(super) why: &'static str,
}

impl Unsettable {
    /// Whether adit does what that value asks for anyway.
    pub(super) fn is_same(&self, value: &str) -> bool {
        self.same.iter().any(|same| match *same {
            "off" => is_off(value),
            "on" => is_on(value),
            same => same == value,
        })
    }
}

/// The ways of hitch to write a yes.
pub(super) fn is_on(value: &str) -> bool {
    ["yes", "y", "on", "true", "t"].contains(&value.to_ascii_lowercase().as_str())
}

/// The ways of hitch to write a no.
pub(super) fn is_off(value: &str) -> bool {
    ["no", "n", "off", "false", "f"].contains(&value.to_ascii_lowercase().as_str())
}

const OCSP: &str = "adit fetches no OCSP responses: it staples one from a file beside the certificate, site.ocsp for site.pem, which another program keeps fresh";

pub(super) const UNSETTABLE: &[Unsettable] = &[
    Unsettable {
        keys: &["prefer-server-ciphers"],
        same: &["off"],
        why: "adit follows the client's order, having no weak cipher that would have to come last, unless the configuration lists ciphers",
    },
    Unsettable {
        keys: &["ssl", "tls"],
        same: &[],
        why: "it stands for versions that are broken; adit speaks TLS 1.2 and 1.3, and tls-protos chooses",
    },
    Unsettable {
        keys: &["ssl-engine"],
        same: &[""],
        why: "adit's cryptography is AWS-LC, which uses the CPU's own instructions and takes no engines",
    },
    Unsettable {
        keys: &["write-ip"],
        same: &["off"],
        why: "adit says the client's address in a header of the PROXY protocol alone: proxy_protocol in the service",
    },
    Unsettable {
        keys: &["pem-dir-glob"],
        same: &[""],
        why: "of a directory adit reads the files whose names end in .pem, .crt or .cer",
    },
    Unsettable {
        keys: &["ocsp-dir", "ocsp-resp-file"],
        same: &[""],
        why: OCSP,
    },
    Unsettable {
        keys: &[
            "ocsp-verify-staple",
            "ocsp-resp-tmo",
            "ocsp-connect-tmo",
            "ocsp-refresh-interval",
        ],
        same: &["off"],
        why: OCSP,
    },
    Unsettable {
        keys: &[
            "session-cache",
            "shared-cache",
            "shared-cache-listen",
            "shared-cache-peer",
            "shared-cache-if",
        ],
        same: &["0", "", "off"],
        why: "adit resumes sessions by tickets whose keys all shards share, and keeps no cache",
    },
    Unsettable {
        keys: &["keepalive"],
        same: &["60"],
        why: "adit's keepalive probes begin after 60 s; it cannot be configured yet",
    },
    Unsettable {
        keys: &["recv-bufsize", "send-bufsize"],
        same: &["-1"],
        why: "the kernel sizes each socket's buffers by itself (net.ipv4.tcp_rmem, tcp_wmem)",
    },
    Unsettable {
        keys: &["ring-slots", "ring-data-len"],
        same: &["0"],
        why: "adit's buffers are another design; see buffer_size",
    },
    Unsettable {
        keys: &["daemon"],
        same: &["off"],
        why: "adit stays in the foreground; let a service manager start it",
    },
    Unsettable {
        keys: &["pidfile"],
        same: &[""],
        why: "adit writes no pidfile; a service manager knows the process",
    },
    Unsettable {
        keys: &["dbg-listen"],
        same: &[""],
        why: "adit shows its state by `adit stats`",
    },
];
