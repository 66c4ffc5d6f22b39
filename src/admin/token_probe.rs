use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::rules::{Current, Serving};
use crate::upstream::What;
use crate::upstream::{RealToken, RealTokenStanding};

/// Asks the API about each real token of which it is not known that it is accepted: at the start, after a reload that
/// brought another one, and after a 401. Never ends.
///
/// An account is asked at most once a second, and ever more seldom, down to once a minute, while the answer is no.
pub async fn keep_asking(current: Arc<Current>) {
    let mut asked: HashMap<String, AskedToken> = HashMap::new();
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let serving = current.get();
        asked.retain(|account, _| serving.rules.real_token(account).is_some());
        let mut questions = JoinSet::new();
        for token in serving.rules.real_tokens() {
            let due = asked
                .get(&token.account)
                .is_none_or(|asked| asked.is_due(token));
            if token.standing() != RealTokenStanding::Accepted && due {
                questions.spawn(ask(serving.clone(), token.clone()));
            }
        }
        while let Some(answered) = questions.join_next().await {
            if let Ok(token) = answered {
                let before = asked.remove(&token.account);
                asked.insert(token.account.clone(), AskedToken::now(token, before));
            }
        }
    }
}

/// Has real tokens printed anew by their commands, when their time has come. Never ends.
pub async fn keep_refreshing(current: Arc<Current>) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refreshing = JoinSet::new();
    loop {
        looks.tick().await;
        while refreshing.try_join_next().is_some() {}
        let serving = current.get();
        for token in serving.rules.real_tokens().filter(|token| token.is_stale()) {
            let token = token.clone();
            refreshing.spawn(async move { token.refresh().await });
        }
    }
}

/// When a token was asked about, and how often in vain.
struct AskedToken {
    token: Arc<RealToken>,
    in_vain: u32,
    again: Instant,
}

impl AskedToken {
    fn now(token: Arc<RealToken>, before: Option<Self>) -> Self {
        let before = before.filter(|before| Arc::ptr_eq(&before.token, &token));
        let in_vain = match (token.standing(), before) {
            (RealTokenStanding::Accepted, _) => 0,
            (_, before) => before.map_or(1, |before| before.in_vain.saturating_add(1)),
        };
        let wait = LEAST
            .saturating_mul(1 << in_vain.saturating_sub(1).min(8))
            .min(MOST);
        Self {
            token,
            in_vain,
            again: Instant::now() + wait,
        }
    }

    fn is_due(&self, token: &Arc<RealToken>) -> bool {
        !Arc::ptr_eq(&self.token, token) || self.again <= Instant::now()
    }
}

async fn ask(serving: Arc<Serving>, token: Arc<RealToken>) -> Arc<RealToken> {
    let before = token.standing();
    match timeout(PATIENCE, serving.upstream.show(&token)).await {
        Ok(Ok(status)) => token.not_told(RealTokenStanding::Unclear(status.as_u16())),
        Ok(Err(failure)) => token.not_told(RealTokenStanding::Unreachable(failure.what())),
        Err(_) => token.not_told(RealTokenStanding::Unreachable(What::Timeout)),
    }
    let (account, standing) = (&token.account, token.standing());
    match standing {
        _ if standing == before => {}
        RealTokenStanding::Accepted => info!(account, "the API accepts the real token"),
        RealTokenStanding::Refused
        | RealTokenStanding::Unasked
        | RealTokenStanding::Unclear(_)
        | RealTokenStanding::Unreachable(_) => {
            warn!(account, why = %standing, "not ready");
        }
    }
    token
}

const INTERVAL: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);
