//! What a profile-guided build learns from: each case asked of tidegate for a moment. `config/profiled` starts it with a daemon that
//! was built to count what it does.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use super::cases::CASES;
use super::lanes;
use super::others;
use super::ours::{Ours, TOKENS};
use crate::support::gate::Signal;

/// How long each case is asked.
const EACH: Duration = Duration::from_secs(1);

/// Asks, and leaves what the daemons counted in `directory`.
pub async fn train(directory: &Path) {
    let (_upstream, upstream) = others::part(&["upstream"], &[]);
    let counting = format!(
        "export TOKIO_WORKER_THREADS=1 LLVM_PROFILE_FILE={}/%p.profraw",
        directory.display()
    );
    let ours = Ours::open_as(upstream, TOKENS, "secrets_only", &counting).await;
    let enforcing = Ours::open_as(upstream, TOKENS, "enforce", &counting).await;
    let bench = Bench::of(&ours, &enforcing, vec![ours.proxy()]).await;
    for case in &CASES {
        for (_, load) in bench.asked(case) {
            lanes::run(&load, EACH).await;
        }
    }
    for mut daemon in [ours.gate, enforcing.gate] {
        daemon.signal(Signal::Term); // it writes what it counted as it ends
        assert!(daemon.wait_exit().await.success());
    }
}
