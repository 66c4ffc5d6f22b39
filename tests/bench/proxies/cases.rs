//! What is measured, and what must come of it.

/// What is asked, and how.
#[derive(Clone, Copy)]
pub struct Case {
    pub what: &'static str,
    pub ask: Ask,
    pub lanes: usize,
    pub wire: Wire,
    pub who: Who,
    /// What is promised of the processor time of tidegate for a request.
    pub promise: Promise,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Ask {
    /// One Droplet: 2.5 KB with its head.
    Small,
    /// 200 Droplets: 400 KB, with links to other pages.
    List,
    /// The same, of which some may be seen.
    Filtered,
    /// What no role allows.
    Refused,
    /// A tag is made.
    Write,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Wire {
    Kept,
    KeptTls,
    New,
    NewTls,
}

/// Whose tokens ask.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Who {
    /// A thousand in turns; all proxies.
    All,
    /// One of these roles or limits; tidegate alone.
    Counted,
    Named,
    Tagged,
    Whole,
    /// With `field_scopes: enforce`.
    Enforced,
    /// The same without two scopes.
    Cut,
}

#[derive(Clone, Copy)]
pub enum Promise {
    None,
    /// At most so many times what nginx takes.
    Nginx(f64),
    /// At most so many times what nginx takes for another case.
    OfNginx(&'static str, f64),
    /// At most so many times what tidegate takes for another case.
    Own(&'static str, f64),
    /// At most so many milliseconds more than tidegate takes for another case.
    More(&'static str, f64),
}

pub const READ: &str = "a read, 16 connections";
pub const LIST: &str = "a list of 400 KB";
const ENFORCED: &str = "the list with `field_scopes: enforce`, all scopes there";

/// The cases, in the order in which they are told.
pub const CASES: [Case; 17] = [
    case("a read, 1 connection", Ask::Small, 1, Promise::Nginx(1.15)),
    case(READ, Ask::Small, 16, Promise::Nginx(1.15)),
    case(
        "a read, 64 connections",
        Ask::Small,
        64,
        Promise::Nginx(1.2),
    ),
    over("the same over TLS", Wire::KeptTls, Promise::Nginx(0.95)),
    over("a new connection for each", Wire::New, Promise::Nginx(1.15)),
    over(
        "a TLS handshake for each",
        Wire::NewTls,
        Promise::Nginx(0.6),
    ),
    case("a refusal", Ask::Refused, 16, Promise::Own(READ, 0.4)),
    case("a write", Ask::Write, 16, Promise::None),
    own(
        "a read of a counted token",
        Ask::Small,
        Who::Counted,
        Promise::None,
    ),
    own(
        "a read of a token narrowed by tag",
        Ask::Small,
        Who::Tagged,
        Promise::OfNginx(READ, 1.35),
    ),
    case(LIST, Ask::List, 16, Promise::Nginx(1.15)),
    own(
        "the list where nothing can be cut",
        Ask::List,
        Who::Whole,
        Promise::None,
    ),
    own(
        "the list filtered by name",
        Ask::Filtered,
        Who::Named,
        Promise::More(LIST, 0.5),
    ),
    own(
        "the list filtered by tag",
        Ask::Filtered,
        Who::Tagged,
        Promise::More(LIST, 0.5),
    ),
    own(ENFORCED, Ask::List, Who::Enforced, Promise::None),
    own(
        "the same, two fields cut out",
        Ask::List,
        Who::Cut,
        Promise::More(ENFORCED, 0.5),
    ),
    case(
        "a read, 16 connections, again",
        Ask::Small,
        16,
        Promise::None,
    ),
];

const fn case(what: &'static str, ask: Ask, lanes: usize, promise: Promise) -> Case {
    Case {
        what,
        ask,
        lanes,
        wire: Wire::Kept,
        who: Who::All,
        promise,
    }
}

const fn over(what: &'static str, wire: Wire, promise: Promise) -> Case {
    Case {
        wire,
        ..case(what, Ask::Small, 16, promise)
    }
}

const fn own(what: &'static str, ask: Ask, who: Who, promise: Promise) -> Case {
    Case {
        who,
        ..case(what, ask, 16, promise)
    }
}
