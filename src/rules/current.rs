use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::load::{Rules, load_after};
use super::plans::Plans;
use super::watch::WatchedFiles;
use crate::config::Problem;
use crate::metrics::{Metrics, Reload};
use crate::trust::Issuers;
use crate::upstream::Upstream;

/// What requests are served by at a moment: rules, and connections to the upstream that they name.
pub struct Serving {
    /// The rules.
    pub rules: Rules,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// Who may vouch for whom.
    pub issuers: Issuers,
    /// Since when.
    pub loaded: Timestamp,
    /// What these rules cut from answers, as far as it was asked.
    pub plans: Plans,
}

/// The current one, and how to get the next.
pub struct Current {
    config: PathBuf,
    metrics: Arc<Metrics>,
    serving: ArcSwap<Serving>,
    /// Never held while files are read, and never asked for by a request.
    last: Mutex<FilesRead>,
}

/// How the files were read last.
#[derive(Clone)]
pub struct FilesRead {
    /// The files as they were then.
    pub seen: WatchedFiles,
    /// What was wrong with them; nothing if what they say is in force.
    pub problems: Vec<String>,
    /// When that was.
    pub at: Instant,
}

/// What makes the daemon read its files anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReloadCause {
    /// Somebody asked for it.
    Signal,
    /// They are not what they were.
    Files,
}

impl Current {
    /// Reads everything for the first time.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn load(config: &Path) -> Result<Self, Vec<Problem>> {
        let metrics = Arc::default();
        let (seen, read) = read_at_rest(config, None, &metrics);
        Ok(Self {
            config: config.to_owned(),
            metrics,
            serving: ArcSwap::from_pointee(read?),
            last: Mutex::new(FilesRead {
                seen,
                problems: Vec::new(),
                at: Instant::now(),
            }),
        })
    }

    /// Rules that were made elsewhere, and are never read anew.
    ///
    /// # Errors
    /// What is wrong with the upstream that they name.
    pub fn fixed(rules: Rules) -> Result<Self, Vec<Problem>> {
        let metrics = Arc::default();
        let serving = serve_by(rules, None, &metrics)?;
        Ok(Self {
            config: PathBuf::new(),
            metrics,
            serving: ArcSwap::from_pointee(serving),
            last: Mutex::new(FilesRead {
                seen: WatchedFiles::default(),
                problems: Vec::new(),
                at: Instant::now(),
            }),
        })
    }

    /// One reference for one request: a reload never splits it.
    pub fn get(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What is counted, whichever rules are in force.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How the files were read last.
    pub fn last(&self) -> FilesRead {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads everything anew, whole; if anything is wrong, what was in force stays. What is wrong is told once, however often
    /// it is found, unless somebody asked.
    pub fn reload(&self, why: ReloadCause) {
        let in_force = self.get();
        let (seen, read) = read_at_rest(&self.config, Some(&in_force), &self.metrics);
        let outcome = if read.is_ok() {
            Reload::Done
        } else {
            Reload::Failed
        };
        self.metrics.reloaded(outcome);
        let problems = match read {
            Ok(mut next) => {
                next.rules.keep_what_is_known(&in_force.rules);
                self.tell_what_needs_a_restart(&next.rules);
                let roles = next.rules.policy.roles.len();
                self.serving.store(Arc::new(next));
                info!(roles, "reloaded");
                Vec::new()
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        if !problems.is_empty() && (why == ReloadCause::Signal || problems != self.last().problems)
        {
            tell(&problems);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = FilesRead {
            seen,
            problems,
            at: Instant::now(),
        };
    }

    fn tell_what_needs_a_restart(&self, next: &Rules) {
        let now = self.serving.load();
        let (old, new) = (&now.rules.settings, &next.settings);
        for (what, differs) in [
            ("listen", old.listen != new.listen),
            ("admin", old.admin != new.admin),
            ("admin.console", old.console != new.console),
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

fn tell(problems: &[String]) {
    for problem in problems {
        error!(%problem, "reload failed");
    }
    error!(
        problems = problems.len(),
        "reload failed; the old configuration and policy stay in force"
    );
}

/// Reads everything from files that did not change meanwhile, so that it is no mixture of before and after. Who writes without
/// pause gets what is there, and then the next reading.
fn read_at_rest(
    config: &Path,
    in_force: Option<&Serving>,
    metrics: &Arc<Metrics>,
) -> (WatchedFiles, Result<Serving, Vec<Problem>>) {
    let named = in_force.map(|serving| &serving.rules.settings);
    for _ in 1..TRIES {
        let seen = WatchedFiles::of(config, named);
        let read = read(config, in_force, metrics);
        if seen.again() == seen {
            return (seen, read);
        }
    }
    (
        WatchedFiles::of(config, named),
        read(config, in_force, metrics),
    )
}

const TRIES: usize = 4;

fn read(
    config: &Path,
    in_force: Option<&Serving>,
    metrics: &Arc<Metrics>,
) -> Result<Serving, Vec<Problem>> {
    let before = in_force.map(|serving| &serving.rules);
    serve_by(load_after(config, before)?, in_force, metrics)
}

fn serve_by(
    rules: Rules,
    in_force: Option<&Serving>,
    metrics: &Arc<Metrics>,
) -> Result<Serving, Vec<Problem>> {
    let places = &rules.settings.places;
    let upstream = Upstream::new(&rules.settings.upstream, metrics.clone());
    let upstream =
        upstream.map_err(|error| vec![places.problem("upstream.ca_file", error.to_string())])?;
    let before = in_force.map(|serving| &serving.issuers);
    let issuers = Issuers::new(&rules.settings.issuers, before);
    let issuers = issuers.map_err(|wrong| {
        let problem = |(key, what): (String, String)| places.problem(&key, what);
        wrong.into_iter().map(problem).collect::<Vec<_>>()
    })?;
    Ok(Serving {
        rules,
        upstream: Arc::new(upstream),
        issuers,
        loaded: Timestamp::now(),
        plans: Plans::default(),
    })
}
