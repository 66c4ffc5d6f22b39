//! PostgreSQL away: stopped, started anew, cut off.

use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::cluster::Cluster;
use crate::first::POLICY;
use crate::proxy::Proxy;
use crate::three::{Three, admin, droplets};

/// How PostgreSQL is lost, and comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    /// It is stopped, as for an update, and started again.
    Stopped,
    /// It dies.
    Crashed,
    /// Packets to it and from it are swallowed.
    CutOff,
}

/// How long it is away: longer than what is known may be gone by.
const AWAY: Duration = Duration::from_secs(30);
/// `stale_for`, and what a look may take beyond it.
const STALE: Duration = Duration::from_secs(1);
/// How long the first request may wait that needs the store; those after it are refused at once.
const FIRST: Duration = Duration::from_millis(2_500);
/// How soon all must be well again: each makes its connections anew, which takes a debug build on a busy machine a second or two.
const BACK: Duration = Duration::from_secs(10);

fn lose(cluster: &mut Cluster, proxy: &Proxy, loss: Loss) {
    match loss {
        Loss::Stopped => cluster.stop("INT"),
        Loss::Crashed => cluster.stop("QUIT"),
        Loss::CutOff => proxy.swallow(true),
    }
}

async fn bring_back(cluster: &mut Cluster, proxy: &Proxy, loss: Loss) {
    match loss {
        Loss::Stopped | Loss::Crashed => cluster.start_again().await,
        Loss::CutOff => proxy.swallow(false),
    }
}

#[expect(clippy::too_many_lines, reason = "one loss from its begin to its end")]
async fn lost_and_back(loss: Loss) {
    let cluster = Cluster::start().await;
    let proxy = Proxy::before(cluster.port()).await;
    let mut three = Three::over(cluster, POLICY, Some(proxy.port()), "1s").await;
    let plain = three.gates[0].issue(&["plain", "--role", "reader"]).await;
    let revoked = three.gates[0].issue(&["revoked", "--role", "reader"]).await;
    let counted = three.gates[0]
        .issue(&["counted", "--role", "reader", "--max-uses", "100"])
        .await;
    let rated = three.gates[0]
        .issue(&["rated", "--role", "reader", "--rate", "100/s"])
        .await;
    for token in [&plain, &revoked, &counted, &rated] {
        three
            .soon_say("/v2/droplets", token, StatusCode::OK, None)
            .await;
    }
    let went = three.api.heard_count();
    lose(&mut three.cluster, &proxy, loss);
    let since = Instant::now();
    let unavailable = Some("state_unavailable");
    for gate in &three.gates {
        for token in [&counted, &rated] {
            let asked = Instant::now();
            let answer = droplets(gate, token).await;
            assert_eq!(
                (answer.status.as_u16(), answer.reason()),
                (503, unavailable),
                "{loss:?}"
            );
            assert!(
                asked.elapsed() < FIRST,
                "{loss:?}: refused after {:?}",
                asked.elapsed()
            );
        }
        let asked = Instant::now();
        assert_eq!(droplets(gate, &counted).await.reason(), unavailable);
        let at_once = Duration::from_millis(200);
        assert!(
            asked.elapsed() < at_once,
            "{loss:?}: refused after {:?}",
            asked.elapsed()
        );
    }
    assert_eq!(
        three.api.heard_count(),
        went,
        "{loss:?}: nothing that counts went"
    );
    // The rest goes on by what is known, for as long as that may be gone by.
    loop {
        let asked = since.elapsed();
        let answer = droplets(&three.gates[0], &plain).await;
        if answer.reason() == unavailable {
            break;
        }
        assert_eq!(answer.status, StatusCode::OK, "{loss:?}");
        assert!(
            asked <= STALE,
            "{loss:?}: let through {asked:?} after it was lost"
        );
    }
    let ready = admin(&three.gates[1], "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{loss:?}: {ready}");
    let metrics = admin(&three.gates[1], "/metrics").await;
    assert!(metrics.contains("\ntidegate_store_up 0\n"), "{loss:?}");
    if loss == Loss::CutOff {
        let three = &three;
        // Whoever still reaches the store revokes there; nothing is let through meanwhile.
        let by = three.cluster.gate(&three.api, POLICY).start().await;
        assert!(
            by.cli(&["token", "revoke", "revoked"])
                .await
                .status
                .success()
        );
        by.finish(&three.api).await;
    }
    let used = if loss == Loss::CutOff {
        three.cluster.number(USED).await
    } else {
        3
    };
    tokio::time::sleep((STALE * 2).saturating_sub(since.elapsed())).await; // by then the last of them has looked
    while since.elapsed() < AWAY {
        for token in [&plain, &revoked, &counted] {
            let answer = droplets(&three.gates[2], token).await;
            assert_eq!(answer.reason(), unavailable, "{loss:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bring_back(&mut three.cluster, &proxy, loss).await;
    let back = Instant::now();
    for gate in &three.gates {
        for token in [&plain, &counted, &rated] {
            while droplets(gate, token).await.status != StatusCode::OK {
                assert!(
                    back.elapsed() < BACK,
                    "{loss:?}: not well {:?} after it was back",
                    back.elapsed()
                );
            }
        }
        let answer = droplets(gate, &revoked).await;
        let expected = if loss == Loss::CutOff {
            Some("revoked")
        } else {
            None
        };
        assert_eq!(answer.reason(), expected, "{loss:?}");
        assert!(
            admin(gate, "/readyz").await.starts_with("HTTP/1.1 200"),
            "{loss:?}"
        );
    }
    let now = three.cluster.number(USED).await;
    assert!(
        now >= used + 3,
        "{loss:?}: uses are not given back: {used}, then {now}"
    );
    three.finish().await;
}

const USED: &str = "SELECT coalesce(max(used), 0) FROM tidegate.usage";

#[tokio::test]
async fn while_postgresql_is_stopped_nothing_goes_that_it_would_have_to_allow() {
    lost_and_back(Loss::Stopped).await;
}

#[tokio::test]
async fn while_postgresql_has_crashed_nothing_goes_that_it_would_have_to_allow() {
    lost_and_back(Loss::Crashed).await;
}

#[tokio::test]
async fn while_packets_to_postgresql_are_swallowed_nothing_goes_that_it_would_have_to_allow() {
    lost_and_back(Loss::CutOff).await;
}
