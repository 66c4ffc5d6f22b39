use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counts::Metrics;
use super::times::Times;

/// What is shown beside what was counted: as it stands when it is asked for.
#[derive(Debug)]
pub struct Gauges {
    /// What must be well so that requests can be served, and whether it is.
    pub ready: Vec<(&'static str, bool)>,
    /// When the certificates of each listener end.
    pub certificates: Vec<(String, Timestamp)>,
    /// Whether a state elsewhere answers, and how long requests waited for it.
    pub store: Option<(bool, Arc<Times>)>,
    /// How many tokens are in which state.
    pub tokens: Vec<(&'static str, u64)>,
    /// How many active tokens that somebody issued end before long, and within what.
    pub ending: Vec<(&'static str, u64)>,
    /// Whether the last reload succeeded.
    pub reload_success: bool,
    /// How many requests the API takes yet, by account.
    pub rate_limits: Vec<(String, u64)>,
    /// When the daemon started.
    pub started: Timestamp,
}

/// The kind of text that [`expose`] makes.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything in Prometheus' text format, version 0.0.4.
///
/// # Errors
/// None that a text could make.
pub fn expose(metrics: Arc<Metrics>, gauges: Gauges) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { metrics, gauges }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

struct Scrape {
    metrics: Arc<Metrics>,
    gauges: Gauges,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape")
            .field("gauges", &self.gauges)
            .finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.upstream(&mut encoder)?;
        self.state(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Scrape {
    fn requests(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests of clients, by operation id, decision and code of refusal.";
        let mut family =
            to.encode_descriptor("tidegate_requests", help, None, MetricType::Counter)?;
        for (endpoint, outcome, count) in self.metrics.requests() {
            let (decision, reason) = (outcome.decision(), outcome.reason());
            let labels = [
                ("endpoint", endpoint.as_str()),
                ("decision", decision),
                ("reason", reason),
            ];
            counter(&mut family, &labels, count)?;
        }
        let would_refuse = self.metrics.would_be_refused();
        if !would_refuse.is_empty() {
            let help = "Requests that a ceiling let through, by operation id and the code with which the roles alone would have refused them.";
            let mut family =
                to.encode_descriptor("tidegate_would_refuse", help, None, MetricType::Counter)?;
            for (endpoint, outcome, count) in would_refuse {
                let labels = [
                    ("endpoint", endpoint.as_str()),
                    ("reason", outcome.reason()),
                ];
                counter(&mut family, &labels, count)?;
            }
        }
        let help =
            "What clients sent that could not be read as a request, by the status of the answer.";
        let mut family =
            to.encode_descriptor("tidegate_unreadable", help, None, MetricType::Counter)?;
        for (status, count) in self.metrics.all_unreadable() {
            counter(&mut family, &[("status", status)], count)?;
        }
        let help = "TLS handshakes of clients that came to nothing.";
        let name = "tidegate_handshake_failures";
        let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (cause, count) in self.metrics.failed_handshakes() {
            counter(&mut family, &[("cause", cause)], count)?;
        }
        let help = "From the head of a request to the head of its answer, less what the API took.";
        let times = to.encode_descriptor(
            "tidegate_request_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        self.metrics.added.encode(times)
    }

    fn upstream(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From the sending of a request to the API to the head of its answer.";
        let times = to.encode_descriptor(
            "tidegate_upstream_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        self.metrics.upstream.encode(times)?;
        let help = "Requests sent to the API.";
        let mut family =
            to.encode_descriptor("tidegate_upstream_calls", help, None, MetricType::Counter)?;
        for (purpose, count) in self.metrics.calls() {
            counter(&mut family, &[("purpose", purpose)], count)?;
        }
        let help =
            "Requests to the API that came to nothing, and answers that refused the real token.";
        let mut family = to.encode_descriptor(
            "tidegate_upstream_failures",
            help,
            None,
            MetricType::Counter,
        )?;
        for (cause, count) in self.metrics.complaints() {
            counter(&mut family, &[("cause", cause)], count)?;
        }
        let help = "Looks into what is kept for a few seconds.";
        let mut family = to.encode_descriptor("tidegate_cache", help, None, MetricType::Counter)?;
        for ([cache, result], count) in self.metrics.caches() {
            counter(&mut family, &[("cache", cache), ("result", result)], count)?;
        }
        if self.gauges.rate_limits.is_empty() {
            return Ok(()); // the API has said nothing yet
        }
        let help = "Requests that the API takes yet, as it said last.";
        let mut family = to.encode_descriptor(
            "tidegate_upstream_ratelimit_remaining",
            help,
            None,
            MetricType::Gauge,
        )?;
        for (account, remaining) in &self.gauges.rate_limits {
            family
                .encode_family(&[("account", account.as_str())])?
                .encode_gauge(remaining)?;
        }
        Ok(())
    }

    fn state(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What must be well so that requests can be served, as /readyz tells: 1, or 0 where it is not.";
        let mut family = to.encode_descriptor("tidegate_ready", help, None, MetricType::Gauge)?;
        for (part, well) in &self.gauges.ready {
            family
                .encode_family(&[("part", *part)])?
                .encode_gauge(&u64::from(*well))?;
        }
        if !self.gauges.certificates.is_empty() {
            let help = "When the first certificate of a listener ends, in seconds since 1970.";
            let name = "tidegate_certificate_end_seconds";
            let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (of, ends) in &self.gauges.certificates {
                family
                    .encode_family(&[("of", of.as_str())])?
                    .encode_gauge(&ends.as_second())?;
            }
        }
        if let Some((up, waited)) = &self.gauges.store {
            let help =
                "Whether the store that several daemons share answered when it was asked last.";
            to.encode_descriptor("tidegate_store_up", help, None, MetricType::Gauge)?
                .encode_gauge(&u64::from(*up))?;
            let help = "How long requests waited for the store to take a use or a rate.";
            let name = "tidegate_store_seconds";
            waited.encode(to.encode_descriptor(name, help, None, MetricType::Histogram)?)?;
        }
        let help = "Sub-tokens, those of the policy file included.";
        let mut family = to.encode_descriptor("tidegate_tokens", help, None, MetricType::Gauge)?;
        for (state, count) in &self.gauges.tokens {
            family
                .encode_family(&[("state", *state)])?
                .encode_gauge(count)?;
        }
        let help = "Active sub-tokens that somebody issued, or that stand in the policy file, and that end within this time.";
        let name = "tidegate_tokens_ending";
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (within, count) in &self.gauges.ending {
            family
                .encode_family(&[("within", *within)])?
                .encode_gauge(count)?;
        }
        let help = "Whether the last reload succeeded: 1, or 0 while older files are in force.";
        let success = u64::from(self.gauges.reload_success);
        to.encode_descriptor("tidegate_reload_success", help, None, MetricType::Gauge)?
            .encode_gauge(&success)?;
        let help = "Reloads of configuration and policy.";
        let mut family =
            to.encode_descriptor("tidegate_reloads", help, None, MetricType::Counter)?;
        for (result, count) in self.metrics.reloads() {
            counter(&mut family, &[("result", result)], count)?;
        }
        Ok(())
    }

    fn process(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The tidegate that runs.";
        to.encode_descriptor("tidegate_build", help, None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let help = "When it started, in seconds since 1970.";
        to.encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&self.gauges.started.as_second())
    }
}

fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    count: u64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, f64>(&count, None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Cache, CacheResult, Complaint, Purpose, Reload, RequestOutcome};
    use crate::refusal::Code;

    fn gauges() -> Gauges {
        Gauges {
            ready: vec![("audit", true), ("state", false)],
            certificates: vec![(
                "listen.0.0.0.0:8443".to_owned(),
                Timestamp::from_second(1_800_000_000).unwrap(),
            )],
            store: None,
            tokens: vec![("active", 2), ("expired", 0)],
            ending: vec![("7d", 1)],
            reload_success: true,
            rate_limits: vec![("a \"b\"\\".to_owned(), 4987)],
            started: Timestamp::from_second(1_790_000_000).unwrap(),
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Arc::new(Metrics::default());
        metrics.request(Some("droplets_get"), RequestOutcome::Allowed);
        metrics.request(Some("droplets_get"), RequestOutcome::Allowed);
        metrics.request(Some("droplets_get"), RequestOutcome::Refused(Code::Scope));
        metrics.request(None, RequestOutcome::Refused(Code::NoToken));
        metrics.request(None, RequestOutcome::Abandoned);
        metrics.added(Duration::from_micros(300));
        metrics.upstream_call(Purpose::Forward);
        metrics.upstream_took(Duration::from_secs(61));
        metrics.complain(Complaint::Unreachable, |_| {});
        metrics.looked_up(Cache::Facts, CacheResult::Hit);
        metrics.reloaded(Reload::Failed);
        let text = expose(metrics, gauges()).unwrap();
        let shown: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("_bucket{"))
            .collect();
        let expected = EXPECTED.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(shown.join("\n"), expected.trim());
        let buckets: Vec<_> = text
            .lines()
            .filter(|line| line.contains("_bucket{"))
            .collect();
        assert_eq!(buckets.len(), 2 * 19, "{text}");
        for line in [
            "tidegate_request_seconds_bucket{le=\"0.00025\"} 0",
            "tidegate_request_seconds_bucket{le=\"0.0005\"} 1",
            "tidegate_request_seconds_bucket{le=\"+Inf\"} 1",
            "tidegate_upstream_seconds_bucket{le=\"60\"} 0",
            "tidegate_upstream_seconds_bucket{le=\"+Inf\"} 1",
        ] {
            assert!(buckets.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn an_account_whose_limit_is_not_known_is_not_shown() {
        let gauges = Gauges {
            rate_limits: Vec::new(),
            ..gauges()
        };
        let text = expose(Arc::default(), gauges).unwrap();
        assert!(!text.contains("ratelimit"), "{text}");
    }

    const EXPECTED: &str = r#"
# HELP tidegate_requests_total Requests of clients, by operation id, decision and code of refusal.
# TYPE tidegate_requests_total counter
tidegate_requests_total{endpoint="droplets_get",decision="allow",reason="allowed"} 2
tidegate_requests_total{endpoint="droplets_get",decision="deny",reason="scope"} 1
tidegate_requests_total{endpoint="unknown",decision="none",reason="abandoned"} 1
tidegate_requests_total{endpoint="unknown",decision="deny",reason="no_token"} 1
# HELP tidegate_unreadable_total What clients sent that could not be read as a request, by the status of the answer.
# TYPE tidegate_unreadable_total counter
tidegate_unreadable_total{status="400"} 0
tidegate_unreadable_total{status="414"} 0
tidegate_unreadable_total{status="431"} 0
# HELP tidegate_handshake_failures_total TLS handshakes of clients that came to nothing.
# TYPE tidegate_handshake_failures_total counter
tidegate_handshake_failures_total{cause="client_certificate"} 0
tidegate_handshake_failures_total{cause="timeout"} 0
tidegate_handshake_failures_total{cause="other"} 0
# HELP tidegate_request_seconds From the head of a request to the head of its answer, less what the API took.
# TYPE tidegate_request_seconds histogram
tidegate_request_seconds_sum 0.0003
tidegate_request_seconds_count 1
# HELP tidegate_upstream_seconds From the sending of a request to the API to the head of its answer.
# TYPE tidegate_upstream_seconds histogram
tidegate_upstream_seconds_sum 61.0
tidegate_upstream_seconds_count 1
# HELP tidegate_upstream_calls_total Requests sent to the API.
# TYPE tidegate_upstream_calls_total counter
tidegate_upstream_calls_total{purpose="forward"} 1
tidegate_upstream_calls_total{purpose="facts"} 0
tidegate_upstream_calls_total{purpose="list"} 0
tidegate_upstream_calls_total{purpose="check"} 0
# HELP tidegate_upstream_failures_total Requests to the API that came to nothing, and answers that refused the real token.
# TYPE tidegate_upstream_failures_total counter
tidegate_upstream_failures_total{cause="unreachable"} 1
tidegate_upstream_failures_total{cause="tls"} 0
tidegate_upstream_failures_total{cause="timeout"} 0
tidegate_upstream_failures_total{cause="bad_answer"} 0
tidegate_upstream_failures_total{cause="real_token"} 0
# HELP tidegate_cache_total Looks into what is kept for a few seconds.
# TYPE tidegate_cache_total counter
tidegate_cache_total{cache="facts",result="hit"} 1
tidegate_cache_total{cache="facts",result="miss"} 0
tidegate_cache_total{cache="facts",result="shared"} 0
tidegate_cache_total{cache="lists",result="hit"} 0
tidegate_cache_total{cache="lists",result="miss"} 0
tidegate_cache_total{cache="lists",result="shared"} 0
# HELP tidegate_upstream_ratelimit_remaining Requests that the API takes yet, as it said last.
# TYPE tidegate_upstream_ratelimit_remaining gauge
tidegate_upstream_ratelimit_remaining{account="a \"b\"\\"} 4987
# HELP tidegate_ready What must be well so that requests can be served, as /readyz tells: 1, or 0 where it is not.
# TYPE tidegate_ready gauge
tidegate_ready{part="audit"} 1
tidegate_ready{part="state"} 0
# HELP tidegate_certificate_end_seconds When the first certificate of a listener ends, in seconds since 1970.
# TYPE tidegate_certificate_end_seconds gauge
tidegate_certificate_end_seconds{of="listen.0.0.0.0:8443"} 1800000000
# HELP tidegate_tokens Sub-tokens, those of the policy file included.
# TYPE tidegate_tokens gauge
tidegate_tokens{state="active"} 2
tidegate_tokens{state="expired"} 0
# HELP tidegate_tokens_ending Active sub-tokens that somebody issued, or that stand in the policy file, and that end within this time.
# TYPE tidegate_tokens_ending gauge
tidegate_tokens_ending{within="7d"} 1
# HELP tidegate_reload_success Whether the last reload succeeded: 1, or 0 while older files are in force.
# TYPE tidegate_reload_success gauge
tidegate_reload_success 1
# HELP tidegate_reloads_total Reloads of configuration and policy.
# TYPE tidegate_reloads_total counter
tidegate_reloads_total{result="success"} 0
tidegate_reloads_total{result="failure"} 1
# HELP tidegate_build_info The tidegate that runs.
# TYPE tidegate_build_info gauge
tidegate_build_info{version="VERSION"} 1
# HELP process_start_time_seconds When it started, in seconds since 1970.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1790000000
"#;
}
