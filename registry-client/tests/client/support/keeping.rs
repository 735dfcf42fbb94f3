//! A registry that keeps uploads and takes as much of each part as a test says, and a keeper of uploads in memory.

use super::script::{blobs, descriptor};
use super::{Answer, Scripted, Seen, answer};
use cooper_image::Digest;
use cooper_registry::{KeptUpload, Uploads};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What is kept, as a store would.
#[derive(Debug, Default)]
pub struct Memory(pub Arc<Mutex<HashMap<String, String>>>);

impl Uploads for Memory {
    fn take(&self, name: &str) -> Option<Box<dyn KeptUpload>> {
        Some(Box::new(Entry { of: self.0.clone(), name: name.to_owned() }))
    }
}

struct Entry {
    of: Arc<Mutex<HashMap<String, String>>>,
    name: String,
}

impl KeptUpload for Entry {
    fn place(&self) -> Option<String> {
        self.of.lock().unwrap().get(&self.name).cloned()
    }
    fn keep(&mut self, place: &str) {
        self.of.lock().unwrap().insert(self.name.clone(), place.to_owned());
    }
    fn forget(&mut self) {
        self.of.lock().unwrap().remove(&self.name);
    }
}

/// How a registry takes the part of a request's body that came; `None`: it is closed without a word.
pub type Take = dyn Fn(&Seen, usize) -> Option<usize> + Send + Sync;

/// A registry that keeps sessions, and takes as much of each `PATCH` as it is told to; after the first byte count
/// that is not the whole it closes the connection.
pub fn keeping(take: impl Fn(&Seen, usize) -> Option<usize> + Send + Sync + 'static) -> Scripted {
    keeping_with("", Box::new(take))
}

pub fn keeping_with(begin: &'static str, take: Box<Take>) -> Scripted {
    let sessions: Mutex<Vec<Vec<u8>>> = Mutex::default();
    blobs(move |seen, n| {
        let mut sessions = sessions.lock().unwrap();
        let path = seen.target.split('?').next().unwrap();
        let at = path.strip_prefix("/up/").and_then(|id| id.parse::<usize>().ok());
        let empty = |status: &str, headers: String| answer(status, &headers, b"");
        match (seen.method.as_str(), at) {
            ("HEAD", _) => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            ("POST", _) => {
                sessions.push(Vec::new());
                empty("202 Accepted", format!("Location: /up/{}\r\n{begin}", sessions.len() - 1))
            }
            (method, Some(at)) if at < sessions.len() => {
                let has = &mut sessions[at];
                let stand =
                    |has: &Vec<u8>| format!("Location: /up/{at}?n={0}\r\nRange: 0-{0}\r\n", has.len().max(1) - 1);
                match method {
                    "GET" => Answer::Bytes(
                        format!("HTTP/1.1 204 No Content\r\nConnection: close\r\n{}\r\n", stand(has)).into_bytes(),
                    ),
                    "PATCH" => {
                        let range = seen.header("content-range").unwrap();
                        if range.split('-').next().unwrap() != has.len().to_string() {
                            return empty("416 Range Not Satisfiable", stand(has));
                        }
                        match take(seen, n) {
                            Some(bytes) => {
                                has.extend(&seen.body[..bytes.min(seen.body.len())]);
                                if bytes < seen.body.len() {
                                    Answer::Bytes(Vec::new())
                                } else {
                                    empty("202 Accepted", stand(has))
                                }
                            }
                            None => empty("400 Bad Request", String::new()),
                        }
                    }
                    _ => {
                        has.extend(&seen.body);
                        let right = Digest::sha256(&*has) == descriptor().digest;
                        empty(if right { "201 Created" } else { "400 Bad Request" }, String::new())
                    }
                }
            }
            _ => empty("404 Not Found", String::new()),
        }
    })
}
