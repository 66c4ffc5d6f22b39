//! What any store must do, by the same assertions over each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tempfile::TempDir;
use tidegate::policy::Vars;
use tidegate::state::{
    About, Count, Database, Exchanged, Happened, Issued, Maker, Memory, Parent, Postgres,
    StateError, StatePlace, Store, TakenIdentity, UrlSource, copy, open,
};
use tidegate::token::{Limits, SubToken, TokenId};
use tokio::runtime::Runtime;

use crate::cluster::Cluster;

/// A store that can be opened again and again, as daemons and commands do.
struct Kind {
    name: &'static str,
    place: StatePlace,
    shared: bool,
}

impl Kind {
    fn open(&self) -> Box<dyn Store> {
        open(&self.place, Duration::from_secs(5)).unwrap()
    }
}

/// Empty stores of either kind, and what they stand on.
fn stores() -> (Vec<Kind>, (TempDir, Cluster, Runtime)) {
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("url"), cluster.socket_url()).unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(directory.path().join("url"), own).unwrap();
    let database = Database::at(UrlSource::File(directory.path().join("url")));
    assert!(Postgres::migrate(&database).unwrap());
    assert!(
        !Postgres::migrate(&database).unwrap(),
        "again there is nothing to do"
    );
    let file = Kind {
        name: "SQLite",
        place: StatePlace::File(directory.path().join("state.db")),
        shared: false,
    };
    let postgres = Kind {
        name: "PostgreSQL",
        place: StatePlace::Postgres(database),
        shared: true,
    };
    (vec![file, postgres], (directory, cluster, runtime))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn token(name: &str, ends: i64) -> Issued {
    let fresh = SubToken::generate().unwrap();
    Issued {
        id: fresh.id.clone(),
        name: name.to_owned(),
        hash: fresh.hash(),
        old: None,
        roles: ["reader".to_owned()].into(),
        vars: Vars::new(),
        limits: Arc::new(Limits {
            expires_at: Some(at(ends)),
            max_uses: Some(3),
            ..Limits::default()
        }),
        created_at: at(1),
        ceiling: None,
        about: Some(Box::new(About {
            owner: Some("ops".to_owned()),
            description: Some("it's \"quoted\"".to_owned()),
        })),
        maker: None,
    }
}

fn names(listed: &[(Issued, tidegate::token::Usage, Option<Timestamp>)]) -> Vec<&str> {
    listed
        .iter()
        .map(|(token, ..)| token.name.as_str())
        .collect()
}

#[test]
fn every_store_keeps_tokens_and_ends_them() {
    let (kinds, _under) = stores();
    for kind in &kinds {
        let (mut store, other, of) = (kind.open(), kind.open(), kind.name);
        assert_eq!(store.is_shared(), kind.shared, "{of}");
        let begun = other.changes_since(0).unwrap().sequence;
        let (first, second) = (token("ci", 900), token("other", 900));
        store
            .issue_all(&[first.clone(), second.clone()], at(1))
            .unwrap();
        let taken = store
            .issue(&token("ci", 900), at(2))
            .unwrap_err()
            .to_string();
        assert_eq!(
            taken,
            "a living token has the name `ci` already; choose another, or revoke that one first",
            "{of}"
        );
        let none = store.issue_all(&[token("new", 900), token("other", 900)], at(2));
        assert!(
            none.is_err() && store.named("new").unwrap().is_empty(),
            "{of}: all or none"
        );
        let changes = other.changes_since(begun).unwrap();
        assert_eq!(changes.issued.len(), 2, "{of}");
        let kept = other.find(first.id.as_str()).unwrap().unwrap();
        assert!(
            kept.hash.matches(&first.hash) && kept.limits == first.limits,
            "{of}"
        );
        assert_eq!(
            kept.about.as_deref().unwrap().owner.as_deref(),
            Some("ops"),
            "{of}"
        );
        let mut owned = other.owned_by("ops").unwrap();
        owned.sort_by_key(ToString::to_string);
        let mut both = vec![first.id.clone(), second.id.clone()];
        both.sort_by_key(ToString::to_string);
        assert_eq!(owned, both, "{of}");
        assert_eq!(names(&other.list().unwrap()), ["ci", "other"], "{of}");

        let fresh = SubToken::generate().unwrap().hash();
        store.rotate(&first.id, &fresh, Some(at(500))).unwrap();
        let rotated = other.changes_since(changes.sequence).unwrap();
        assert_eq!(
            (rotated.issued.len(), rotated.revoked.len()),
            (1, 0),
            "{of}"
        );
        let (old, until) = rotated.issued[0].old.unwrap();
        assert!(old.matches(&first.hash) && until == at(500), "{of}");
        store.revoke(&first.id, at(7)).unwrap();
        store.revoke(&first.id, at(9)).unwrap();
        assert_eq!(
            other.revoked_at(&first.id).unwrap(),
            Some(at(7)),
            "{of}: the first time stays"
        );
        let revoked = other.changes_since(rotated.sequence).unwrap();
        assert_eq!(revoked.revoked, [(first.id.clone(), at(7))], "{of}");
        assert!(
            other
                .find(first.id.as_str())
                .unwrap()
                .unwrap()
                .old
                .is_none(),
            "{of}: revocation ends both secrets"
        );
        store.issue(&token("ci", 900), at(10)).unwrap();
        assert_eq!(
            other.named("ci").unwrap().len(),
            2,
            "{of}: the name is free again"
        );
        assert_eq!(other.find("000000000000").unwrap().map(drop), None, "{of}");
    }
}

#[test]
fn every_store_counts_exactly() {
    let (kinds, _under) = stores();
    for kind in &kinds {
        let (mut store, mut other, of) = (kind.open(), kind.open(), kind.name);
        let token = token("ci", 900);
        store.issue(&token, at(1)).unwrap();
        let take = || Count::Take {
            id: token.id.clone(),
            most: 3,
        };
        let give = Count::GiveBack {
            id: token.id.clone(),
        };
        let touch = |second| Count::Touch {
            id: token.id.clone(),
            at: at(second),
        };
        let said = store.count(&[take(), touch(40), take()]).unwrap();
        assert_eq!(said, [Some(1), None, Some(2)], "{of}");
        assert_eq!(
            other.count(&[take(), take(), touch(30)]).unwrap(),
            [Some(3), None, None],
            "{of}"
        );
        assert_eq!(
            store.count(&[give, take(), take()]).unwrap(),
            [Some(2), Some(3), None],
            "{of}"
        );
        let usage = other.usage(&token.id).unwrap();
        assert_eq!(
            (usage.used, usage.last_used_at),
            (3, Some(at(40))),
            "{of}: the latest use stays"
        );
        let mut all = Vec::new();
        other
            .each_usage(&mut |id, usage| all.push((id, usage.used)))
            .unwrap();
        assert_eq!(all, [(token.id.clone(), 3)], "{of}");
        if kind.shared {
            let rate = "2/h".parse().or_else(|_| "2/min".parse()).unwrap();
            let take = |owed| Count::TakeRate {
                id: token.id.clone(),
                rate,
                owed,
            };
            assert_eq!(store.count(&[take(0)]).unwrap(), [Some(0)], "{of}");
            assert_eq!(other.count(&[take(0)]).unwrap(), [Some(0)], "{of}");
            let wait = store.count(&[take(0)]).unwrap()[0].unwrap();
            assert!(wait > 0, "{of}: two are two over all");
            let mut heard = Vec::new();
            let on = other
                .each_use_since(0, &mut |id, _| heard.push(id))
                .unwrap();
            assert!(heard == [token.id.clone()] && on > 0, "{of}");
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one state from its begin to its end")]
fn every_store_takes_an_identity_once_and_counts_living_children() {
    let (kinds, _under) = stores();
    for kind in &kinds {
        let (mut store, mut other, of) = (kind.open(), kind.open(), kind.name);
        let exchanged = Exchanged {
            rule: "ci".into(),
            issuer: "i".into(),
        };
        let made = |ends| Issued {
            maker: Some(Arc::new(Maker::Trust(exchanged.clone()))),
            ..token("ci/7", ends)
        };
        let once = |identity, again| TakenIdentity {
            identity: [identity; 32],
            rule: "ci".to_owned(),
            again,
            until: at(300),
        };
        let name = |issued: Option<Issued>| issued.map(|issued| issued.name);
        assert_eq!(
            name(store.exchange(made(900), &once(1, false), at(1)).unwrap()).as_deref(),
            Some("ci/7"),
            "{of}"
        );
        assert_eq!(
            name(other.exchange(made(900), &once(1, false), at(1)).unwrap()),
            None,
            "{of}: anywhere"
        );
        let first = other
            .exchange(made(900), &once(2, true), at(2))
            .unwrap()
            .unwrap();
        let second = store
            .exchange(made(90_000), &once(2, true), at(3))
            .unwrap()
            .unwrap();
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("ci/7-2", "ci/7-3"),
            "{of}"
        );
        assert_eq!(
            other.revoked_at(&first.id).unwrap(),
            Some(at(3)),
            "{of}: the one before ends"
        );
        assert_eq!(other.revoked_at(&second.id).unwrap(), None, "{of}");

        let several = vec![
            (made(900), once(3, false)),
            (made(900), once(3, false)),
            (made(900), once(1, false)),
            (made(900), once(4, false)),
        ];
        let kept = other.exchange_all(several, at(3)).unwrap();
        let kept: Vec<_> = kept.into_iter().map(name).collect();
        let names = [Some("ci/7-4"), None, None, Some("ci/7-5")];
        assert_eq!(kept, names.map(|name| name.map(str::to_owned)), "{of}");

        let parent = token("parent", 9_000);
        store.issue(&parent, at(1)).unwrap();
        let child = |hash| {
            let parent = Parent {
                id: parent.id.clone(),
                name: "parent".into(),
                hash,
                narrowing: Some("{}".into()),
            };
            Issued {
                maker: Some(Arc::new(Maker::Parent(parent))),
                ..token("parent/child", 9_000)
            }
        };
        let children = [child(parent.hash), child(parent.hash), child(parent.hash)];
        assert!(store.delegate(&children[0], 2, at(1)).unwrap(), "{of}");
        assert!(other.delegate(&children[1], 2, at(1)).unwrap(), "{of}");
        assert!(
            !store.delegate(&children[2], 2, at(1)).unwrap(),
            "{of}: two live"
        );
        let of_another = child(SubToken::generate().unwrap().hash());
        assert!(
            store.delegate(&of_another, 2, at(1)).unwrap(),
            "{of}: a secret's own are counted"
        );
        other.revoke(&children[0].id, at(4)).unwrap();
        assert!(
            store.delegate(&children[2], 2, at(5)).unwrap(),
            "{of}: the living"
        );
        assert_eq!(other.children(&parent.id).unwrap().len(), 4, "{of}");

        store.sweep(at(901), at(301)).unwrap();
        let left: Vec<String> = other
            .list()
            .unwrap()
            .into_iter()
            .map(|(token, ..)| token.name)
            .collect();
        assert_eq!(
            left,
            [
                "ci/7-3",
                "parent",
                "parent/child",
                "parent/child",
                "parent/child"
            ],
            "{of}: what ended is gone"
        );
        assert!(
            other
                .exchange(made(900), &once(1, false), at(400))
                .unwrap()
                .is_some(),
            "{of}: so is the identity"
        );
    }
}

#[test]
fn every_store_tells_its_time() {
    let (kinds, _under) = stores();
    for kind in &kinds {
        let (mut store, other, of) = (kind.open(), kind.open(), kind.name);
        assert_eq!(other.latest().unwrap(), None, "{of}");
        store.used_at(at(50)).unwrap();
        store.used_at(at(40)).unwrap();
        assert_eq!(
            other.latest().unwrap(),
            Some(at(50)),
            "{of}: time does not go back"
        );
        store.is_older_than(at(70)).unwrap();
        assert_eq!(other.older_than().unwrap(), Some(at(70)), "{of}");
        store.accept(at(45)).unwrap();
        assert_eq!(
            (other.older_than().unwrap(), other.latest().unwrap()),
            (None, Some(at(45))),
            "{of}"
        );
        assert!(other.is_in_place().is_ok(), "{of}");
    }
}

/// Nothing that ended in either of two stores lives after a copy, either way, and a copy that is made again changes nothing.
#[test]
fn a_copy_merges_to_the_stricter_both_ways() {
    for turn in [false, true] {
        let (mut kinds, _under) = stores();
        if turn {
            kinds.reverse();
        }
        let (mut from, mut to) = (kinds[0].open(), kinds[1].open());
        let way = format!("from {} to {}", kinds[0].name, kinds[1].name);
        let tokens: Vec<Issued> = ["a", "b", "c", "d", "e", "f"]
            .map(|name| token(name, 90_000))
            .into();
        let id = |index: usize| tokens[index].id.clone();
        from.issue_all(&tokens, at(1)).unwrap();
        to.issue_all(&tokens[1..], at(1)).unwrap();
        let take = |id: TokenId| Count::Take { id, most: 9 };
        from.revoke(&id(1), at(8)).unwrap();
        to.revoke(&id(2), at(5)).unwrap();
        from.count(&[take(id(2)), take(id(3)), take(id(3))])
            .unwrap();
        to.count(&[take(id(2)), take(id(2)), take(id(3))]).unwrap();
        let fresh = || SubToken::generate().unwrap().hash();
        let later = fresh();
        from.rotate(&id(3), &later, Some(at(900))).unwrap(); // here since
        let there = fresh();
        to.rotate(&id(4), &there, Some(at(900))).unwrap(); // there since
        to.rotate(&id(5), &fresh(), None).unwrap(); // there, and nobody can tell from what
        let exchanged = Exchanged {
            rule: "ci".into(),
            issuer: "i".into(),
        };
        let made = || Issued {
            maker: Some(Arc::new(Maker::Trust(exchanged.clone()))),
            ..token("ci/7", 90_000)
        };
        let once = TakenIdentity {
            identity: [7; 32],
            rule: "ci".to_owned(),
            again: false,
            until: at(80_000),
        };
        from.exchange(made(), &once, at(1)).unwrap().unwrap();
        from.used_at(at(77)).unwrap();

        let copied = copy(&*from, &mut *to).unwrap();
        assert_eq!(
            (copied.tokens, copied.there, copied.revocations),
            (2, 5, 1),
            "{way}: {copied:?}"
        );
        assert_eq!(
            (copied.counters, copied.identities),
            (2, 1),
            "{way}: {copied:?}"
        );
        assert_eq!(copied.undecided, [id(5)], "{way}");
        let revoked = |store: &dyn Store, index| store.revoked_at(&id(index)).unwrap();
        assert_eq!(
            (revoked(&*to, 1), revoked(&*to, 2)),
            (Some(at(8)), Some(at(5))),
            "{way}"
        );
        assert!(
            revoked(&*to, 5).is_some() && revoked(&*to, 3).is_none(),
            "{way}"
        );
        assert_eq!(
            [2, 3].map(|index| to.usage(&id(index)).unwrap().used),
            [2, 2],
            "{way}: what is more"
        );
        let secret =
            |store: &dyn Store, index| store.find(id(index).as_str()).unwrap().unwrap().hash;
        assert!(
            secret(&*to, 3).matches(&later) && secret(&*to, 4).matches(&there),
            "{way}: the later one"
        );
        assert!(
            to.exchange(made(), &once, at(2)).unwrap().is_none(),
            "{way}: taken is taken"
        );
        assert_eq!(to.latest().unwrap(), Some(at(77)), "{way}");

        let again = copy(&*from, &mut *to).unwrap();
        assert_eq!((again.tokens, again.there), (0, 7), "{way}: {again:?}");
        let back = copy(&*to, &mut *from).unwrap();
        assert_eq!(back.tokens, 0, "{way}: {back:?}");
        assert_eq!(
            (revoked(&*from, 2), revoked(&*from, 1)),
            (Some(at(5)), Some(at(8))),
            "{way}"
        );
        assert!(secret(&*from, 4).matches(&there), "{way}");
    }
}

/// What a daemon remembers is told to those it is shared with, in its order and while it is of use; and whoever has a store alone keeps
/// nothing of it there.
#[test]
fn what_is_remembered_is_for_others_alone() {
    let (kinds, _under) = stores();
    for kind in &kinds {
        let (mut store, other, of) = (kind.open(), kind.open(), kind.name);
        let begun = other.changes_since(0).unwrap().sequence;
        let memory = |what, seconds| Memory {
            account: "default".to_owned(),
            what,
            lasts: Duration::from_secs(seconds),
        };
        let assigned = |project: &str| Happened::Assigned {
            grantee: "000000000001".to_owned(),
            urn: "do:droplet:12".to_owned(),
            project: vec![project.to_owned()],
        };
        let action = Happened::Action {
            action: "9".to_owned(),
            kind: "volume".to_owned(),
            id: "7".to_owned(),
        };
        let all = [
            memory(assigned("one"), 600),
            memory(action.clone(), 600),
            memory(Happened::Made, 0),
            memory(Happened::Replaced, 600),
            memory(assigned("two"), 600),
        ];
        store.remember("a", &all).unwrap();
        store
            .remember("b", &[memory(Happened::Replaced, 600)])
            .unwrap();
        let heard = other.changes_since(begun).unwrap();
        let said: Vec<_> = heard
            .remembered
            .iter()
            .map(|(by, memory)| (by.as_str(), memory.what.clone()))
            .collect();
        let expected = [
            ("a", action),
            ("a", Happened::Replaced),
            ("a", assigned("two")),
            ("b", Happened::Replaced),
        ];
        assert_eq!(said, if kind.shared { &expected[..] } else { &[] }, "{of}");
        let of_use = heard.remembered.iter().all(|(_, memory)| {
            (Duration::from_secs(500)..=Duration::from_secs(600)).contains(&memory.lasts)
        });
        assert!(of_use, "{of}: {heard:?}");
        let again = other.changes_since(heard.sequence).unwrap();
        assert!(again.remembered.is_empty(), "{of}: once");
        store.sweep(at(1), Timestamp::now()).unwrap();
        let left = other.changes_since(0).unwrap().remembered.len();
        assert_eq!(left, said.len(), "{of}: it is of use still");
        store.sweep(at(1), at(9_000_000_000)).unwrap();
        let left = other.changes_since(0).unwrap().remembered.len();
        assert_eq!(left, 0, "{of}");
    }
}

#[test]
fn who_shares_a_store_is_told_of_changes_as_they_are_made() {
    let (kinds, _under) = stores();
    for kind in kinds.iter().filter(|kind| kind.shared) {
        let (mut store, other) = (kind.open(), kind.open());
        let (told, woken) = std::sync::mpsc::channel();
        other.wake(Box::new(move || told.send(()).unwrap()));
        // It takes a moment until somebody listens.
        let begun = Instant::now();
        while woken.recv_timeout(Duration::from_millis(100)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody was told");
            store.revoke(&token("ci", 900).id, at(1)).unwrap();
        }
    }
}

#[test]
fn tables_of_an_earlier_version_are_brought_up_to_date() {
    let (kinds, (directory, cluster, runtime)) = stores();
    let before = "DROP TABLE tidegate.memories; UPDATE tidegate.version SET version = 1";
    runtime.block_on(async {
        let client = cluster.ask().await.unwrap();
        client.batch_execute(before).await.unwrap();
    });
    let database = Database::at(UrlSource::File(directory.path().join("url")));
    let missing = Postgres::open(&database, Duration::from_secs(5)).map(drop);
    let missing = missing.unwrap_err().to_string();
    assert!(
        missing.contains("run `tidegate state migrate`"),
        "{missing}"
    );
    assert!(Postgres::migrate(&database).unwrap());
    assert!(!Postgres::migrate(&database).unwrap(), "once");
    let store = kinds[1].open();
    assert!(store.changes_since(0).unwrap().remembered.is_empty());
}

#[test]
fn tables_of_a_later_version_are_refused_and_missing_ones_told() {
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let url = tidegate::secret::Secret::new(cluster.url());
    let database = Database::at(UrlSource::Written(Arc::new(url)));
    let said = |opened: Result<Postgres, StateError>| opened.map(drop).unwrap_err().to_string();
    let patience = Duration::from_secs(5);
    let missing = said(Postgres::open(&database, patience));
    assert!(
        missing.contains("run `tidegate state migrate`"),
        "{missing}"
    );
    assert!(Postgres::migrate(&database).unwrap());
    let opened = Postgres::open(&database, patience).unwrap();
    let raise = "UPDATE tidegate.version SET version = version + 1";
    runtime.block_on(async {
        cluster
            .ask()
            .await
            .unwrap()
            .batch_execute(raise)
            .await
            .unwrap();
    });
    let newer = said(Postgres::open(&database, patience));
    assert!(
        newer.contains("which a later tidegate made; use that one"),
        "{newer}"
    );
    // Who has it open goes on over a new connection too: later tables take nothing away.
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tidegate'";
    assert_eq!(runtime.block_on(cluster.number(ended)), 1);
    let begun = Instant::now();
    while let Err(error) = opened.latest() {
        assert!(begun.elapsed() < patience, "{error}");
    }
    let newer = Postgres::migrate(&database).unwrap_err().to_string();
    assert!(
        newer.contains("which a later tidegate made; use that one"),
        "no way down: {newer}"
    );
}
