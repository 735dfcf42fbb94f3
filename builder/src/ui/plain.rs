//! Events as lines, for logs: `#N …` for each step, its output with the seconds since its start.
//!
//! [`Text`] is the whole renderer and knows neither clock nor stream; [`Plain`] joins it to both.

use super::lines::LineBuffer;
use super::{Detail, amount, blobs, escape, reasons};
use cooper_engine::event::{Direction, Event, Sink, StepNo};
use cooper_image::Digest;
use cooper_plan::difference::Difference;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A blob that takes longer than this gets a line in between, and again after as long.
const TRANSFER_EVERY: Duration = Duration::from_secs(5);

/// Writes lines to standard error.
pub struct Plain {
    text: Mutex<Text>,
    start: Instant,
}

impl Plain {
    /// Begins now.
    pub fn new(detail: Detail) -> Self {
        Self { text: Mutex::new(Text { detail, ..Text::default() }), start: Instant::now() }
    }

    /// An empty line between the steps and what is said after them, if there were any.
    pub fn part(&self) {
        if self.text.lock().unwrap_or_else(PoisonError::into_inner).last.is_some() {
            super::say("");
        }
    }
}

impl Sink for Plain {
    fn event(&self, event: Event) {
        // The lock is held while the lines are written: lines of two steps never mix.
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = text.render(event, self.start.elapsed());
        // That nobody reads the log does not end a build.
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    }
}

/// A step that is running.
#[derive(Debug, Default)]
struct Step {
    begun: Duration,
    started: bool,
    buffer: LineBuffer,
    reasons: Vec<Difference>,
}

/// A blob under way: when something was last said of it and how much had come, and the same of its beginning.
#[derive(Debug, Clone, Copy)]
struct Moving {
    begun: (Duration, u64),
    mentioned: (Duration, u64),
}

/// The state between two events.
#[derive(Debug, Default)]
pub struct Text {
    steps: HashMap<StepNo, Step>,
    /// Blobs under way.
    moving: HashMap<Digest, Moving>,
    /// The step that the last line belongs to.
    last: Option<StepNo>,
    detail: Detail,
}

impl Text {
    /// The lines that an event gives, `now` after the start.
    pub fn render(&mut self, event: Event, now: Duration) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(&mut out, event, now);
        out
    }

    fn write(&mut self, out: &mut String, event: Event, now: Duration) -> std::fmt::Result {
        match event {
            Event::Planned { .. } | Event::Followed { .. } | Event::Checked { .. } => Ok(()),
            Event::Warning { text } => writeln!(out, "WARNING: {}", escape::line(&text)),
            Event::Missed { step, reasons, .. } => {
                self.steps.entry(step).or_default().reasons = reasons;
                Ok(())
            }
            Event::Started { step, label } => self.started(out, step, &label, now),
            Event::Output { step, bytes } => self.output(out, step, &bytes, now),
            Event::Asked { step, text } => {
                self.turn_to(out, step);
                writeln!(out, "#{} {}", step.0, escape::line(&text))
            }
            Event::Noted { step, label } => {
                self.turn_to(out, step);
                writeln!(out, "#{} {}", step.0, escape::line(&label))
            }
            Event::Cached { step, label, .. } => {
                self.turn_to(out, step);
                writeln!(out, "#{} {}\n#{0} CACHED", step.0, escape::line(&label))
            }
            Event::Finished { step, took } => {
                self.rest(out, step, now)?;
                writeln!(out, "#{} DONE {}", step.0, amount::took(took))
            }
            Event::Failed { step, label, message } => {
                if !self.steps.get(&step).is_some_and(|s| s.started) {
                    self.started(out, step, &label, now)?;
                }
                self.rest(out, step, now)?;
                writeln!(out, "#{} ERROR: {}", step.0, escape::line(&message))
            }
            Event::Transfer { direction, digest, done, total } => {
                self.transfer(out, direction, &digest, [done, total], now)
            }
            Event::Arrived { direction, digest, size, how } => {
                let begun = self.moving.remove(&digest).map(|moving| moving.begun);
                let moved = begun.map(|(at, had)| (size.saturating_sub(had), now.saturating_sub(at)));
                let what = blobs::amount(size, &how, moved);
                writeln!(out, "{} {} {what}", blobs::did(direction, &how), digest.short())
            }
            Event::Tagged { reference } => writeln!(out, "named {}", escape::line(&reference.familiar())),
            Event::Pushed { reference, digest } => {
                writeln!(out, "pushed {} {digest}", escape::line(&reference.familiar()))
            }
            Event::Exported { dest } => writeln!(out, "wrote {}", escape::line(&dest)),
        }
    }

    fn started(&mut self, out: &mut String, step: StepNo, label: &str, now: Duration) -> std::fmt::Result {
        self.turn_to(out, step);
        let state = self.steps.entry(step).or_default();
        (state.begun, state.started) = (now, true);
        writeln!(out, "#{} {}", step.0, escape::line(label))?;
        let mut head = "not cached: ";
        for line in reasons::lines(&state.reasons, self.detail) {
            writeln!(out, "#{} {head}{line}", step.0)?;
            head = "            ";
        }
        Ok(())
    }

    fn output(&mut self, out: &mut String, step: StepNo, bytes: &[u8], now: Duration) -> std::fmt::Result {
        let state = self.steps.entry(step).or_default();
        let (lines, since) = (state.buffer.push(bytes), now.saturating_sub(state.begun));
        if !lines.is_empty() {
            self.turn_to(out, step);
        }
        lines.iter().try_for_each(|line| said(out, step, since, line))
    }

    /// The end of a step: what it wrote without a line end comes first.
    fn rest(&mut self, out: &mut String, step: StepNo, now: Duration) -> std::fmt::Result {
        self.turn_to(out, step);
        let Some(mut state) = self.steps.remove(&step) else { return Ok(()) };
        match state.buffer.finish() {
            Some(line) => said(out, step, now.saturating_sub(state.begun), &line),
            None => Ok(()),
        }
    }

    /// An empty line where another step's lines begin.
    fn turn_to(&mut self, out: &mut String, step: StepNo) {
        if self.last.replace(step).is_some_and(|last| last != step) {
            out.push('\n');
        }
    }

    fn transfer(
        &mut self,
        out: &mut String,
        direction: Direction,
        digest: &Digest,
        [done, total]: [u64; 2],
        now: Duration,
    ) -> std::fmt::Result {
        let first = Moving { begun: (now, done), mentioned: (now, done) };
        let moving = self.moving.entry(digest.clone()).or_insert(first);
        let (at, had) = moving.mentioned;
        let since = now.saturating_sub(at);
        if since < TRANSFER_EVERY {
            return Ok(());
        }
        moving.mentioned = (now, done);
        // What is sent anew after a break has less than before.
        let rate = blobs::rate(done.saturating_sub(had), since).unwrap_or_default();
        let (doing, short) = (blobs::doing(direction), digest.short());
        writeln!(out, "{doing} {short} {} of {}, {rate}", amount::bytes(done), amount::bytes(total))
    }
}

fn said(out: &mut String, step: StepNo, since: Duration, line: &[u8]) -> std::fmt::Result {
    writeln!(out, "#{} {:.3} {}", step.0, since.as_secs_f64(), escape::output(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_engine::event::How;

    fn text(events: Vec<(u64, Event)>) -> String {
        let mut text = Text::default();
        events.into_iter().map(|(ms, e)| text.render(e, Duration::from_millis(ms))).collect()
    }

    fn out(step: usize, bytes: &[u8]) -> Event {
        Event::Output { step: StepNo(step), bytes: bytes.to_vec() }
    }

    #[test]
    fn a_build_with_two_steps_at_once() {
        let (two, three) = (StepNo(2), StepNo(3));
        let label = |s: &str| s.to_owned();
        let reasons = vec![Difference::note("the command changed"), Difference::note("ENV x")];
        let log = text(vec![
            (0, Event::Planned { steps: Vec::new(), stages: 1 }),
            (0, Event::Warning { text: label("Dockerfile:1: \u{1b}[31mred") }),
            (0, Event::Asked { step: StepNo(1), text: label("https://h/f: fetched\n") }),
            (0, Event::Cached { step: StepNo(1), label: label("[a 1/2] FROM debian"), key: Digest::sha256("k") }),
            (1000, Event::Missed { step: two, key: Digest::sha256("k"), reasons }),
            (1000, Event::Started { step: two, label: label("[a 2/2] RUN make\n") }),
            (1020, out(2, b"com")),
            (1100, out(2, b"piling\nlinking \x1b[1mx\x1b[0m")),
            (1100, Event::Started { step: three, label: label("[b 1/2] RUN test") }),
            (1234, out(3, b"\x1b]0;evil\x07ok\r\n")),
            (1300, Event::Finished { step: two, took: Duration::from_millis(300) }),
            (1400, Event::Failed { step: three, label: label("x"), message: label("exited with code 1") }),
        ]);
        let expected = "\
WARNING: Dockerfile:1: \\x1b[31mred
#1 https://h/f: fetched\\x0a
#1 [a 1/2] FROM debian
#1 CACHED

#2 [a 2/2] RUN make\\x0a
#2 not cached: the command changed; ENV x
#2 0.100 compiling

#3 [b 1/2] RUN test
#3 0.134 ok

#2 0.300 linking x
#2 DONE 0.3s

#3 ERROR: exited with code 1
";
        assert_eq!(log, expected);
    }

    #[test]
    fn transfers_are_mentioned_now_and_then() {
        let digest = Digest::sha256(b"x");
        let moved =
            |done| Event::Transfer { direction: Direction::Pull, digest: digest.clone(), done, total: 10_000_000 };
        let arrived =
            |how| Event::Arrived { direction: Direction::Pull, digest: digest.clone(), size: 10_000_000, how };
        let log = text(vec![
            (0, moved(1_000_000)),
            (4_999, moved(2_000_000)),
            (5_000, moved(3_000_000)),
            (9_000, moved(4_000_000)),
            (10_000, arrived(How::Moved)),
            (10_000, arrived(How::Existed)),
            (10_000, moved(2_000_000)),
            (15_000, moved(1_000_000)),
        ]);
        let short = digest.short();
        let expected = format!(
            "pulling {short} 3.0 MB of 10.0 MB, 400.0 kB/s\npulled {short} 10.0 MB, 900.0 kB/s\n\
             there already {short} 10.0 MB\npulling {short} 1.0 MB of 10.0 MB, 0 B/s\n"
        );
        assert_eq!(log, expected);
    }
}
