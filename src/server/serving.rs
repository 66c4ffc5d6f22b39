use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use crate::config::{Problem, Rules, load};
use crate::upstream::Upstream;

/// What requests are served by at a moment: rules, and connections to the upstream that they name.
pub struct Serving {
    /// The rules.
    pub rules: Rules,
    /// The upstream.
    pub upstream: Arc<Upstream>,
}

/// The current one, and how to get the next.
pub struct Current {
    config: PathBuf,
    serving: ArcSwap<Serving>,
}

impl Current {
    /// Reads everything for the first time.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn load(config: &Path) -> Result<Self, Vec<Problem>> {
        let serving = read(config)?;
        Ok(Self {
            config: config.to_owned(),
            serving: ArcSwap::from_pointee(serving),
        })
    }

    /// One reference for one request: a reload never splits it.
    pub fn get(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Reads everything anew, whole; if anything is wrong, what was in force stays.
    pub fn reload(&self) {
        match read(&self.config) {
            Ok(next) => {
                self.tell_what_needs_a_restart(&next.rules);
                let roles = next.rules.policy.roles.len();
                self.serving.store(Arc::new(next));
                info!(roles, "reloaded");
            }
            Err(problems) => {
                for problem in &problems {
                    error!(%problem, "reload failed");
                }
                error!(
                    problems = problems.len(),
                    "reload failed; the old configuration and policy stay in force"
                );
            }
        }
    }

    fn tell_what_needs_a_restart(&self, next: &Rules) {
        let now = self.serving.load();
        let (old, new) = (&now.rules.settings, &next.settings);
        for (what, differs) in [
            ("listen", old.listen != new.listen),
            ("state", old.state != new.state),
            (
                "limits.connections",
                old.limits.connections != new.limits.connections,
            ),
            (
                "limits.header_timeout",
                old.limits.header_timeout != new.limits.header_timeout,
            ),
            (
                "limits.idle_timeout",
                old.limits.idle_timeout != new.limits.idle_timeout,
            ),
        ] {
            if differs {
                warn!(key = what, "this key takes effect at the next start");
            }
        }
    }
}

fn read(config: &Path) -> Result<Serving, Vec<Problem>> {
    let rules = load(config)?;
    let upstream = Upstream::new(&rules.settings.upstream)
        .map_err(|error| vec![Problem(format!("{}:1:1: error: {error}", config.display()))])?;
    Ok(Serving {
        rules,
        upstream: Arc::new(upstream),
    })
}
