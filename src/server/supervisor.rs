use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;
use tracing::warn;

/// What systemd is told of the daemon's life, as `Type=notify-reload` asks for. Where nobody listens it is told to nobody.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, however it went, as there is no word for one that failed.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]), // systemd then waits for the time limit of a reload
    }
}

/// Requests under way may end.
pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping; requests under way may end"),
    ]);
}

/// Tells it. That it can't be told is said once, and is no reason to stop serving.
pub(super) fn tell(what: &[NotifyState<'_>]) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if let Err(error) = sd_notify::notify(what)
        && !SAID.swap(true, Ordering::Relaxed)
    {
        warn!(%error, "systemd can't be told how the daemon does");
    }
}
