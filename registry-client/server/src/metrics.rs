//! Counts of what the registry does, in Prometheus' text form, and the record of each request.
//!
//! Labels are words of this program, never text of clients: the number of series is bounded.

use crate::access_log::{AccessLog, Entry, clipped};
use cooper_image::time::rfc3339;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Upper ends of the classes of duration, in seconds.
const CLASSES: [f64; 9] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    endpoint: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Default, Clone)]
struct Durations {
    classes: [u64; CLASSES.len()],
    count: u64,
    seconds: f64,
}

/// All counts.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Kind, u64>>,
    durations: Mutex<BTreeMap<&'static str, Durations>>,
    /// By what was asked for and what became of it.
    mirrored: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    received: AtomicU64,
    sent: AtomicU64,
    connections: AtomicU64,
    connections_now: AtomicU64,
    requests_now: AtomicU64,
    login_failures: AtomicU64,
    lost_lines: Arc<AtomicU64>,
    log: Mutex<Option<AccessLog>>,
}

impl Metrics {
    pub fn new(log: Option<AccessLog>) -> Self {
        let lost_lines = log.as_ref().map(AccessLog::lost).unwrap_or_default();
        Self { log: Mutex::new(log), lost_lines, ..Self::default() }
    }

    pub fn login_failed(&self) {
        self.login_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the access log, once its lines are written.
    pub fn close_log(&self) {
        let log = lock(&self.log).take();
        drop(log);
    }

    /// Something was asked of a mirror.
    pub fn mirrored(&self, kind: &'static str, result: &'static str) {
        *lock(&self.mirrored).entry((kind, result)).or_default() += 1;
    }

    /// A connection, until what is given is dropped.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_now.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Everything, with the number of uploads under way.
    pub fn text(&self, uploads: usize) -> String {
        let mut out = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a string does not fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let prefix = "cooper_registry";
        one(&format!("{prefix}_connections"), "gauge", "Connections that are open.", of(&self.connections_now));
        one(&format!("{prefix}_connections_total"), "counter", "Connections so far.", of(&self.connections));
        one(&format!("{prefix}_requests_in_flight"), "gauge", "Requests under way.", of(&self.requests_now));
        one(&format!("{prefix}_uploads"), "gauge", "Uploads under way.", uploads as u64);
        one(&format!("{prefix}_received_bytes_total"), "counter", "Bytes of bodies that came.", of(&self.received));
        one(&format!("{prefix}_sent_bytes_total"), "counter", "Bytes of bodies that went.", of(&self.sent));
        one(&format!("{prefix}_login_failures_total"), "counter", "Wrong credentials.", of(&self.login_failures));
        let lost = "Lines of the access log that found no place or could not be written.";
        one(&format!("{prefix}_log_lines_lost_total"), "counter", lost, of(&self.lost_lines));
        let mirrored = lock(&self.mirrored);
        if !mirrored.is_empty() {
            let name = "cooper_registry_mirror_total";
            let _ = write!(out, "# HELP {name} What was asked of the mirror.\n# TYPE {name} counter\n");
            for ((kind, result), count) in &*mirrored {
                let _ = writeln!(out, "{name}{{kind=\"{kind}\",result=\"{result}\"}} {count}");
            }
        }
        drop(mirrored);
        self.requests_text(&mut out);
        self.durations_text(&mut out);
        out
    }

    fn requests_text(&self, out: &mut String) {
        let name = "cooper_registry_requests_total";
        let _ = write!(out, "# HELP {name} Requests that ended.\n# TYPE {name} counter\n");
        for (Kind { endpoint, method, status }, count) in &*lock(&self.requests) {
            let labels = format!("endpoint=\"{endpoint}\",method=\"{method}\",status=\"{status}\"");
            let _ = writeln!(out, "{name}{{{labels}}} {count}");
        }
    }

    fn durations_text(&self, out: &mut String) {
        let name = "cooper_registry_request_seconds";
        let help = "Time from the head of a request to the last byte of its answer.";
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (endpoint, durations) in &*lock(&self.durations) {
            let mut so_far = 0;
            for (end, count) in CLASSES.iter().zip(durations.classes) {
                so_far += count;
                let _ = writeln!(out, "{name}_bucket{{endpoint=\"{endpoint}\",le=\"{end}\"}} {so_far}");
            }
            let Durations { count, seconds, .. } = durations;
            let _ = writeln!(out, "{name}_bucket{{endpoint=\"{endpoint}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{endpoint=\"{endpoint}\"}} {seconds}");
            let _ = writeln!(out, "{name}_count{{endpoint=\"{endpoint}\"}} {count}");
        }
    }

    fn count(&self, kind: Kind, took: Duration) {
        let seconds = took.as_secs_f64();
        {
            let mut all = lock(&self.durations);
            let durations = all.entry(kind.endpoint).or_default();
            durations.count += 1;
            durations.seconds += seconds;
            if let Some(class) = CLASSES.iter().position(|end| seconds <= *end) {
                durations.classes[class] += 1;
            }
        }
        *lock(&self.requests).entry(kind).or_default() += 1;
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is open.
pub struct Connected(Arc<Metrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections_now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request from its head to the last byte of its answer, also when that byte never goes. Counted when it is dropped.
pub struct Record {
    metrics: Arc<Metrics>,
    began: Instant,
    peer: SocketAddr,
    method: &'static str,
    path: String,
    agent: String,
    /// What is learnt on the way.
    pub user: String,
    pub endpoint: &'static str,
    pub status: u16,
    pub received: Arc<AtomicU64>,
    pub sent: Arc<AtomicU64>,
}

impl Record {
    pub fn begin(metrics: &Arc<Metrics>, peer: SocketAddr, method: &str, path: &str, agent: Option<&str>) -> Self {
        metrics.requests_now.fetch_add(1, Ordering::Relaxed);
        Self {
            metrics: Arc::clone(metrics),
            began: Instant::now(),
            peer,
            method: known_method(method),
            path: clipped(path),
            agent: agent.map(clipped).unwrap_or_default(),
            user: "anonymous".to_owned(),
            endpoint: "none",
            status: 0,
            received: Arc::default(),
            sent: Arc::default(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        let (received, sent) = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        metrics.requests_now.fetch_sub(1, Ordering::Relaxed);
        metrics.received.fetch_add(received, Ordering::Relaxed);
        metrics.sent.fetch_add(sent, Ordering::Relaxed);
        let took = self.began.elapsed();
        metrics.count(Kind { endpoint: self.endpoint, method: self.method, status: self.status }, took);
        let log = lock(&metrics.log);
        let Some(log) = &*log else { return };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let entry = Entry {
            time: rfc3339(now.cast_signed()),
            client: self.peer.to_string(),
            user: &self.user,
            method: self.method,
            path: std::mem::take(&mut self.path),
            status: self.status,
            received,
            sent,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            agent: std::mem::take(&mut self.agent),
        };
        log.add(&entry);
    }
}

/// Methods are text of clients: those that mean nothing here are counted as one.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("other")
}
