//! Events as JSON, a line each, in the form of BuildKit's `SolveStatus` (`client/graph.go`), for programs that read
//! `--progress=rawjson` of `docker buildx build`.
//!
//! A vertex is a step, and one for each way that blobs go. Its digest names it within one build. [`Lines`] is the whole
//! renderer and knows neither clock nor stream; [`Raw`] joins it to both. Text is not escaped: JSON does that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cooper_engine::event::{Direction, Event, How, Sink, StepNo};
use cooper_image::{Digest, time};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Writes lines to standard error.
#[derive(Default)]
pub struct Raw(Mutex<Lines>);

impl Raw {
    /// Ends what has not ended, because of an error if there is one.
    pub fn close(&self, error: Option<&str>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&lines.end(error, now()));
    }
}

impl Sink for Raw {
    fn event(&self, event: Event) {
        // The lock is held while the lines are written: events stay in order.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&lines.render(event, now()));
    }
}

/// That nobody reads the log does not end a build.
fn write(statuses: &[Value]) {
    let text: String = statuses.iter().map(|status| format!("{status}\n")).collect();
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A vertex that has begun.
#[derive(Debug, Clone)]
struct Vertex {
    digest: Digest,
    name: String,
    started: String,
}

/// The state between two events.
#[derive(Debug, Default)]
pub struct Lines {
    steps: HashMap<StepNo, Vertex>,
    ways: Vec<(Direction, Vertex)>,
    /// When blobs that are under way were first heard of.
    blobs: HashMap<Digest, String>,
}

impl Lines {
    /// The lines that an event gives, at a time since 1970.
    pub fn render(&mut self, event: Event, now: Duration) -> Vec<Value> {
        let at = stamp(now);
        match event {
            Event::Planned { .. } | Event::Followed { .. } | Event::Missed { .. } => Vec::new(),
            Event::Warning { text } => vec![warning(&text, None)],
            Event::Checked { findings } => {
                let text = |f: &cooper_dockerfile::lint::Finding| format!("{}: {}", f.rule.id, f.detail);
                findings.iter().map(|f| warning(&text(f), Some(f.rule.page()))).collect()
            }
            Event::Started { step, label } => vec![self.begin(step, &label, &at).status(json!({}))],
            Event::Output { step, bytes } => vec![self.log(step, &bytes, &at)],
            Event::Asked { step, text } => vec![self.log(step, text.as_bytes(), &at)],
            Event::Noted { step, label } => vec![self.begin(step, &label, &at).status(json!({"completed": at}))],
            Event::Cached { step, label, .. } => {
                vec![self.begin(step, &label, &at).status(json!({"completed": at, "cached": true}))]
            }
            Event::Finished { step, .. } => {
                self.steps.remove(&step).map(|v| v.status(json!({"completed": at}))).into_iter().collect()
            }
            Event::Failed { step, label, message } => {
                let vertex = self.steps.remove(&step).unwrap_or_else(|| self.begin(step, &label, &at));
                vec![vertex.status(json!({"completed": at, "error": message}))]
            }
            Event::Transfer { direction, digest, done, total } => {
                self.blob(direction, &digest, json!({"current": done, "total": total}), &at)
            }
            Event::Arrived { direction, digest, size, how } => self.arrived(direction, &digest, (size, &how), &at),
            Event::Tagged { reference } => vec![done(&format!("naming to {}", reference.familiar()), &at)],
            Event::Pushed { reference, digest } => {
                vec![done(&format!("pushing {}@{digest}", reference.familiar()), &at)]
            }
            Event::Exported { dest } => vec![done(&format!("writing {dest}"), &at)],
        }
    }

    /// The lines that end what has not ended.
    pub fn end(&mut self, error: Option<&str>, now: Duration) -> Vec<Value> {
        let at = stamp(now);
        self.ways.drain(..).map(|(_, vertex)| vertex.ended(error, &at)).collect()
    }

    fn begin(&mut self, step: StepNo, label: &str, at: &str) -> Vertex {
        let digest = Digest::sha256(format!("{} {label}", step.0));
        let vertex = Vertex { digest, name: label.to_owned(), started: at.to_owned() };
        self.steps.insert(step, vertex.clone());
        vertex
    }

    fn log(&self, step: StepNo, bytes: &[u8], at: &str) -> Value {
        let vertex = self.steps.get(&step).map(|vertex| vertex.digest.to_string()).unwrap_or_default();
        // Which of a step's two streams it was is not known: both are one pipe, to keep their order.
        log(&vertex, 1, bytes, at)
    }

    /// A blob is there; what was done with it is said where nothing was sent.
    fn arrived(&mut self, direction: Direction, digest: &Digest, (size, how): (u64, &How), at: &str) -> Vec<Value> {
        let mut status = json!({"current": size, "total": size, "completed": at});
        match how {
            How::Moved => {}
            How::Mounted { from } => status["name"] = format!("mounted from {from}").into(),
            How::Existed => status["name"] = "there already".into(),
        }
        let lines = self.blob(direction, digest, status, at);
        self.blobs.remove(digest);
        lines
    }

    /// Something of a blob, in the vertex of its way.
    fn blob(&mut self, direction: Direction, digest: &Digest, of_it: Value, at: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        let known = self.ways.iter().find(|(way, _)| *way == direction).map(|(_, vertex)| vertex.digest.clone());
        let vertex = known.unwrap_or_else(|| {
            let name = match direction {
                Direction::Pull => "[internal] pulling blobs",
                Direction::Push => "[internal] pushing blobs",
                Direction::Store => "[internal] storing blobs",
            };
            let vertex = Vertex { digest: Digest::sha256(name), name: name.to_owned(), started: at.to_owned() };
            lines.push(vertex.status(json!({})));
            self.ways.push((direction, vertex.clone()));
            vertex.digest
        });
        let started = self.blobs.entry(digest.clone()).or_insert_with(|| at.to_owned());
        let mut status = json!({"id": digest, "vertex": vertex, "timestamp": at, "started": started});
        extend(&mut status, of_it);
        lines.push(json!({"statuses": [status]}));
        lines
    }
}

/// A whole command as a vertex.
pub struct Work(Vertex);

impl Work {
    /// Says that it begins.
    pub fn begin(name: String) -> Self {
        let vertex = Vertex { digest: Digest::sha256(&name), name, started: stamp(now()) };
        write(&[vertex.status(json!({}))]);
        Self(vertex)
    }

    /// Says that it is over. Of a failure, causes are in its error; hints and all else that people are told are in the
    /// vertex's log.
    pub fn end(self, failure: Option<(&str, &str)>) {
        let at = stamp(now());
        let log = failure.map(|(_, report)| self.0.log(2, report.as_bytes(), &at));
        write(&log.into_iter().chain([self.0.ended(failure.map(|(error, _)| error), &at)]).collect::<Vec<_>>());
    }
}

impl Vertex {
    /// It, over.
    fn ended(&self, error: Option<&str>, at: &str) -> Value {
        match error {
            Some(error) => self.status(json!({"completed": at, "error": error})),
            None => self.status(json!({"completed": at})),
        }
    }

    /// Something that it said.
    fn log(&self, stream: u8, bytes: &[u8], at: &str) -> Value {
        log(&self.digest.to_string(), stream, bytes, at)
    }

    /// It, with more fields.
    fn status(&self, more: Value) -> Value {
        let mut vertex = json!({"digest": self.digest, "name": self.name, "started": self.started});
        extend(&mut vertex, more);
        json!({"vertexes": [vertex]})
    }
}

fn log(vertex: &str, stream: u8, bytes: &[u8], at: &str) -> Value {
    json!({"logs": [{"vertex": vertex, "stream": stream, "data": STANDARD.encode(bytes), "timestamp": at}]})
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// Something that is over when it is heard of.
fn done(name: &str, at: &str) -> Value {
    let vertex = Vertex { digest: Digest::sha256(name), name: name.to_owned(), started: at.to_owned() };
    vertex.status(json!({"completed": at}))
}

fn warning(text: &str, url: Option<String>) -> Value {
    let mut warning = json!({"level": 1, "short": STANDARD.encode(text)});
    if let Some(url) = url {
        warning["url"] = url.into();
    }
    json!({"warnings": [warning]})
}

/// RFC 3339, with nanoseconds.
fn stamp(now: Duration) -> String {
    let seconds = time::rfc3339(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    format!("{}.{:09}Z", seconds.trim_end_matches('Z'), now.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: Vec<Event>) -> Vec<Value> {
        let mut lines = Lines::default();
        let mut all: Vec<Value> =
            events.into_iter().zip(1..).flat_map(|(e, n)| lines.render(e, Duration::from_millis(n * 1500))).collect();
        all.extend(lines.end(None, Duration::from_secs(100)));
        all
    }

    #[test]
    fn steps_are_vertexes() {
        let (one, two, label) = (StepNo(1), StepNo(2), "[a 2/2] RUN \u{1b}make".to_owned());
        let all = lines(vec![
            Event::Cached { step: one, label: "[a 1/2] COPY".to_owned(), key: Digest::sha256("k") },
            Event::Started { step: two, label: label.clone() },
            Event::Output { step: two, bytes: vec![0xff, b'\n'] },
            Event::Failed { step: two, label, message: "exited with code 1".to_owned() },
            Event::Warning { text: "beware".to_owned() },
        ]);
        let digest = Digest::sha256("2 [a 2/2] RUN \u{1b}make");
        assert_eq!(all[0]["vertexes"][0]["cached"], true);
        assert_eq!(all[0]["vertexes"][0]["completed"], "1970-01-01T00:00:01.500000000Z");
        let begun =
            json!({"digest": digest, "name": "[a 2/2] RUN \u{1b}make", "started": "1970-01-01T00:00:03.000000000Z"});
        assert_eq!(all[1], json!({"vertexes": [begun]}));
        assert_eq!((&all[2]["logs"][0]["vertex"], &all[2]["logs"][0]["data"]), (&json!(digest), &json!("/wo=")));
        assert_eq!(all[3]["vertexes"][0]["error"], "exited with code 1");
        assert_eq!(all[3]["vertexes"][0]["started"], begun["started"]);
        assert_eq!(all[4], json!({"warnings": [{"level": 1, "short": "YmV3YXJl"}]}));
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|line| !line.to_string().contains('\u{1b}')));
    }

    #[test]
    fn transfers_are_statuses_of_a_vertex_that_ends() {
        let (direction, digest) = (Direction::Push, Digest::sha256("x"));
        let moved = |done| Event::Transfer { direction, digest: digest.clone(), done, total: 10 };
        let arrived = |how| Event::Arrived { direction, digest: digest.clone(), size: 10, how };
        let mounted = How::Mounted { from: "r.example/a".to_owned() };
        let all = lines(vec![moved(4), arrived(How::Moved), arrived(How::Existed), arrived(mounted)]);
        assert_eq!(all.len(), 6);
        let vertex = &all[0]["vertexes"][0]["digest"];
        assert_eq!((&all[1]["statuses"][0]["vertex"], &all[1]["statuses"][0]["current"]), (vertex, &json!(4)));
        assert!(all[1]["statuses"][0].get("completed").is_none());
        let whole = &all[2]["statuses"][0];
        assert_eq!((&whole["current"], &whole["total"], whole.get("name")), (&json!(10), &json!(10), None));
        assert_eq!(
            (&whole["started"], &whole["completed"]),
            (&json!("1970-01-01T00:00:01.500000000Z"), &json!("1970-01-01T00:00:03.000000000Z"))
        );
        assert_eq!(all[3]["statuses"][0]["name"], "there already");
        assert_eq!(all[4]["statuses"][0]["name"], "mounted from r.example/a");
        assert_eq!((&all[5]["vertexes"][0]["digest"], all[5]["vertexes"][0]["completed"].is_string()), (vertex, true));
        assert_eq!(all[5]["vertexes"][0].get("error"), None);
    }

    #[test]
    fn what_fails_ends_with_its_error() {
        let mut lines = Lines::default();
        let (direction, digest) = (Direction::Pull, Digest::sha256("x"));
        lines.render(Event::Transfer { direction, digest, done: 1, total: 10 }, Duration::ZERO);
        let ended = lines.end(Some("the line broke"), Duration::from_secs(1));
        assert_eq!((ended.len(), &ended[0]["vertexes"][0]["error"]), (1, &json!("the line broke")));
        assert!(lines.end(None, Duration::from_secs(2)).is_empty());
    }
}
