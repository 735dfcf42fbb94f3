//! What the rooms trace at the levels of errors and warnings, on standard error: each time in the log of a server, once
//! each as a warning of any other command.
//!
//! Takes what is traced. Gives a line for each, with the fields, and with an error's causes; while a view is open, by way
//! of that. Must never: let text of strangers steer the terminal.

use super::{escape, say};
use cooper_engine::event::{Event as Told, Sink};
use std::collections::HashSet;
use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What our own rooms trace begins with this.
const OURS: &str = "cooper";
/// More warnings than anybody reads.
const MOST: usize = 1000;

/// Where warnings go while people look at something that moves.
static VIEW: Mutex<Option<Arc<dyn Sink>>> = Mutex::new(None);

/// Says everything from now on, of all threads.
pub fn open() {
    // Only the second call would fail: the log is open then.
    let _ = tracing::subscriber::set_global_default(Log { warned: None });
}

/// Warns of everything from now on, of all threads, once each.
pub fn warn() {
    let _ = tracing::subscriber::set_global_default(Log { warned: Some(Mutex::default()) });
}

/// Warnings go by way of a view from now on, or directly.
pub fn look(view: Option<Arc<dyn Sink>>) {
    *VIEW.lock().unwrap_or_else(PoisonError::into_inner) = view;
}

struct Log {
    /// What a command has warned of; `None` for a server.
    warned: Option<Mutex<HashSet<String>>>,
}

impl Log {
    /// Is it the first time? After very many nothing is.
    fn is_new(warned: &Mutex<HashSet<String>>, text: &str) -> bool {
        let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MOST && warned.insert(text.to_owned())
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = self.warned.is_none() || metadata.target().starts_with(OURS);
        wanted && metadata.is_event() && *metadata.level() <= Level::WARN
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields);
        let Some(warned) = &self.warned else {
            let word = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
            return say(&escape::line(&format!("{word}: {text}")));
        };
        if !Self::is_new(warned, &text) {
            return;
        }
        let view = VIEW.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match view {
            Some(view) => view.event(Told::Warning { text }),
            None => say(&format!("WARNING: {}", escape::line(&text))),
        }
    }
    // There are no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "; {name}: {value:?}"),
        };
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_warns_once_of_each_thing_by_way_of_the_view() {
        #[derive(Default)]
        struct Seen(Mutex<Vec<String>>);
        impl Sink for Seen {
            fn event(&self, event: Told) {
                let Told::Warning { text } = event else { unreachable!("only warnings are sent") };
                self.0.lock().unwrap().push(text);
            }
        }
        let seen = Arc::new(Seen::default());
        look(Some(Arc::clone(&seen) as Arc<dyn Sink>));
        tracing::subscriber::with_default(Log { warned: Some(Mutex::default()) }, || {
            for n in [1, 2, 1, 2] {
                tracing::warn!(n, "something is damaged");
            }
            tracing::info!("not of interest");
            tracing::warn!(target: "another", "not ours");
        });
        look(None);
        assert_eq!(*seen.0.lock().unwrap(), ["something is damaged; n: 1", "something is damaged; n: 2"]);
    }

    #[test]
    fn a_line_has_the_fields_and_an_error_its_causes() {
        struct Look;
        impl Subscriber for Look {
            fn enabled(&self, metadata: &Metadata<'_>) -> bool {
                Log { warned: None }.enabled(metadata)
            }
            fn event(&self, event: &Event<'_>) {
                let mut line = Line::default();
                event.record(&mut line);
                assert_eq!(line.message, "a request failed");
                assert_eq!(line.fields, "; error: reading the file: its cause; count: 3; name: n");
            }
            fn new_span(&self, _: &Attributes<'_>) -> Id {
                unreachable!("spans are not enabled")
            }
            fn record(&self, _: &Id, _: &Record<'_>) {}
            fn record_follows_from(&self, _: &Id, _: &Id) {}
            fn enter(&self, _: &Id) {}
            fn exit(&self, _: &Id) {}
        }
        #[derive(Debug, thiserror::Error)]
        #[error("reading the file")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("its cause"));
        tracing::subscriber::with_default(Look, || {
            let name = "n";
            tracing::error!(error = &error as &dyn Error, count = 3, name, "a request failed");
            tracing::info!("not of interest");
        });
    }
}
