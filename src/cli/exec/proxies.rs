//! The proxies of whoever runs `exec`: nothing that is meant for the gate goes to them.

use std::ffi::{OsStr, OsString};

/// Variables that clients take proxies from; each is read in capitals too.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];
/// The gate's own host, by all the names that it is called by.
const OWN: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// The variables by which clients go past the caller's proxies to the gate, where there are proxies: curl and Python would
/// otherwise carry the sub-token there.
pub(super) fn past(own: &[(OsString, OsString)]) -> Vec<(String, OsString)> {
    let is = |name: &OsStr, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let has_proxy = own
        .iter()
        .any(|(name, value)| !value.is_empty() && PROXIES.iter().any(|proxy| is(name, proxy)));
    if !has_proxy {
        return Vec::new();
    }
    ["no_proxy", "NO_PROXY"]
        .into_iter()
        .map(|name| {
            let exact = own.iter().find(|(own, _)| own == name);
            let found = exact.or_else(|| own.iter().find(|(own, _)| is(own, name)));
            let before = found.map(|(_, value)| value.clone()).unwrap_or_default();
            (name.to_owned(), with_own(before))
        })
        .collect()
}

fn with_own(mut list: OsString) -> OsString {
    for host in OWN {
        if !list.is_empty() {
            list.push(",");
        }
        list.push(host);
    }
    list
}
