//! The log of a server: what went wrong, line by line on standard error.
//!
//! Takes what the rooms trace at the levels of errors and warnings. Gives a line for each, with the fields, and with an
//! error's causes. Must never: let text of strangers steer the terminal.

use super::{escape, say};
use std::error::Error;
use std::fmt::{Debug, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Says everything from now on, of all threads.
pub fn open() {
    // Only the second call would fail: the log is open then.
    let _ = tracing::subscriber::set_global_default(Log);
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let word = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        say(&escape::line(&format!("{word}: {}{}", line.message, line.fields)));
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
    fn a_line_has_the_fields_and_an_error_its_causes() {
        struct Look;
        impl Subscriber for Look {
            fn enabled(&self, metadata: &Metadata<'_>) -> bool {
                Log.enabled(metadata)
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
