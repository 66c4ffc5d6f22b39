//! File descriptors: each connection takes one, of clients and to the API, and the system gives a process so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

use crate::config::LimitSettings;

/// What is open beside connections: files, the state, listeners, and `admin` with its connections.
const BESIDE: u64 = 192;

/// Raises the limit as far as this process may, and says so if that is not enough for what the configuration lets in.
pub(super) fn make_room(limits: &LimitSettings) {
    let wanted = wanted(limits);
    let given = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: given.maximum,
        maximum: given.maximum,
    };
    let mut now = given.current;
    if is_less(given.current, given.maximum) && setrlimit(Resource::Nofile, raised).is_ok() {
        debug!(
            from = given.current,
            to = given.maximum,
            "the limit of open files is raised"
        );
        now = given.maximum;
    }
    if let Some(limit) = now.filter(|limit| *limit < wanted) {
        warn!(
            limit,
            wanted,
            "the limit of open files is lower than what `limits.connections` and `limits.requests` may take; beyond it clients can't connect; raise it (`LimitNOFILE=` of systemd, `ulimit -n`), or lower these"
        );
    }
}

/// A connection for each client's, one to the API for each request, and the rest.
fn wanted(limits: &LimitSettings) -> u64 {
    [limits.connections, limits.requests]
        .map(|count| u64::try_from(count).unwrap_or(u64::MAX))
        .into_iter()
        .fold(BESIDE, u64::saturating_add)
}

/// Whether a limit is lower than another; none is unlimited.
fn is_less(one: Option<u64>, other: Option<u64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one < other,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_compare_with_none_at_all() {
        let cases = [
            (Some(1024), Some(4096), true),
            (Some(4096), Some(4096), false),
            (Some(1024), None, true),
            (None, None, false),
            (None, Some(1), false),
        ];
        for (one, other, less) in cases {
            assert_eq!(is_less(one, other), less, "{one:?} {other:?}");
        }
    }

    #[test]
    fn every_connection_of_either_side_takes_one() {
        let limits = LimitSettings {
            connections: 100,
            requests: 10,
            ..LimitSettings::default()
        };
        assert_eq!(wanted(&limits), 100 + 10 + BESIDE);
    }
}
