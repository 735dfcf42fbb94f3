//! Events as JSON, a line each, in the form of BuildKit's `SolveStatus` (`client/graph.go`), for programs that read
//! `--progress=rawjson` of `docker buildx build`.
//!
//! A vertex is a step, and one for each way that blobs go. Its digest names it within one build. [`Lines`] is the whole
//! renderer and knows neither clock nor stream; [`Raw`] joins it to both. Text is not escaped: JSON does that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cooper_engine::event::{Direction, Event, Sink, StepNo};
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
    /// Ends what has not ended.
    pub fn close(&self) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&lines.end(now()));
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
            Event::Transfer { direction, digest, done, total } => self.transfer(direction, &digest, [done, total], &at),
            Event::Tagged { reference } => vec![done(&format!("naming to {}", reference.familiar()), &at)],
            Event::Pushed { reference, digest } => {
                vec![done(&format!("pushing {}@{digest}", reference.familiar()), &at)]
            }
            Event::Exported { dest } => vec![done(&format!("writing {dest}"), &at)],
        }
    }

    /// The lines that end what has not ended.
    pub fn end(&mut self, now: Duration) -> Vec<Value> {
        let at = stamp(now);
        self.ways.drain(..).map(|(_, vertex)| vertex.status(json!({"completed": at}))).collect()
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
        json!({"logs": [{"vertex": vertex, "stream": 1, "data": STANDARD.encode(bytes), "timestamp": at}]})
    }

    fn transfer(&mut self, direction: Direction, digest: &Digest, [done, total]: [u64; 2], at: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        let known = self.ways.iter().find(|(way, _)| *way == direction).map(|(_, vertex)| vertex.digest.clone());
        let vertex = known.unwrap_or_else(|| {
            let name = match direction {
                Direction::Pull => "[internal] pulling blobs",
                Direction::Push => "[internal] pushing blobs",
            };
            let vertex = Vertex { digest: Digest::sha256(name), name: name.to_owned(), started: at.to_owned() };
            lines.push(vertex.status(json!({})));
            self.ways.push((direction, vertex.clone()));
            vertex.digest
        });
        let mut status = json!({
            "id": digest, "vertex": vertex, "current": done, "total": total, "timestamp": at, "started": at,
        });
        if done >= total {
            status["completed"] = at.into();
        }
        lines.push(json!({"statuses": [status]}));
        lines
    }
}

impl Vertex {
    /// It, with more fields.
    fn status(&self, more: Value) -> Value {
        let mut vertex = json!({"digest": self.digest, "name": self.name, "started": self.started});
        if let (Value::Object(vertex), Value::Object(more)) = (&mut vertex, more) {
            vertex.extend(more);
        }
        json!({"vertexes": [vertex]})
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
        all.extend(lines.end(Duration::from_secs(100)));
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
        let moved = |done| Event::Transfer { direction: Direction::Push, digest: Digest::sha256("x"), done, total: 10 };
        let all = lines(vec![moved(4), moved(10)]);
        assert_eq!(all.len(), 4);
        let vertex = &all[0]["vertexes"][0]["digest"];
        assert_eq!((&all[1]["statuses"][0]["vertex"], &all[1]["statuses"][0]["current"]), (vertex, &json!(4)));
        assert!(all[1]["statuses"][0].get("completed").is_none());
        assert!(all[2]["statuses"][0]["completed"].is_string());
        assert_eq!((&all[3]["vertexes"][0]["digest"], all[3]["vertexes"][0]["completed"].is_string()), (vertex, true));
    }
}
