//! Events as moving bars on a terminal: one for each running step with its last line, one for
//! each blob under way; what is finished scrolls by above them.

use super::lines::LineBuffer;
use super::{Detail, amount, blobs, escape, reasons};
use cooper_engine::event::{Direction, Event, How, Sink, StepNo};
use cooper_image::Digest;
use cooper_plan::difference::Difference;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bars at once; more running steps wait for a free one.
const BARS: usize = 12;
/// Characters of a step's label that its bar shows, so that its output has room.
const LABEL: usize = 60;
/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(120);
/// What a running step looks like.
const STEP_BAR: &str = "{spinner} {elapsed:>4} {wide_msg}";
/// What a blob under way looks like.
const BLOB_BAR: &str = "{spinner} {elapsed:>4} {prefix} {decimal_bytes} of {decimal_total_bytes}{msg}";

/// Draws on standard error.
pub struct Live {
    bars: MultiProgress,
    state: Mutex<State>,
    detail: Detail,
}

#[derive(Default)]
struct State {
    running: BTreeMap<StepNo, Running>,
    transfers: HashMap<Digest, Transfer>,
    reasons: HashMap<StepNo, Vec<Difference>>,
}

/// A blob under way.
struct Transfer {
    bar: Option<ProgressBar>,
    begun: Instant,
    /// Bytes that it had when it was first heard of.
    had: u64,
}

struct Running {
    /// The whole label, escaped.
    label: String,
    /// Its last line, escaped.
    line: String,
    buffer: LineBuffer,
    bar: Option<ProgressBar>,
}

impl Live {
    /// An empty screen part.
    pub fn new(detail: Detail) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { bars, state: Mutex::new(State::default()), detail }
    }

    /// Takes all bars away.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bars = std::mem::take(&mut *state);
        let blobs = bars.transfers.into_values().filter_map(|t| t.bar);
        for bar in bars.running.into_values().filter_map(|r| r.bar).chain(blobs) {
            bar.finish_and_clear();
        }
        // A terminal that is gone needs no clearing.
        let _ = self.bars.clear();
    }

    fn print(&self, line: &str) {
        // That the terminal is gone does not end a build.
        let _ = self.bars.println(line);
    }

    /// A bar, if there is room for one.
    fn bar(&self, state: &State, bar: impl FnOnce() -> ProgressBar) -> Option<ProgressBar> {
        let steps = state.running.values().filter(|r| r.bar.is_some()).count();
        let blobs = state.transfers.values().filter(|t| t.bar.is_some()).count();
        (steps + blobs < BARS).then(|| {
            let bar = self.bars.add(bar());
            bar.enable_steady_tick(TICK);
            bar
        })
    }

    fn started(&self, state: &mut State, step: StepNo, label: &str) {
        let label = escape::line(label);
        let why = state.reasons.remove(&step).unwrap_or_default();
        let mut head = format!("run     {label}: ");
        for line in reasons::lines(&why, self.detail) {
            self.print(&format!("{head}{line}"));
            head = "          ".to_owned();
        }
        let mut running = Running { label, line: String::new(), buffer: LineBuffer::default(), bar: None };
        running.bar = self.bar(state, || step_bar(&running));
        state.running.insert(step, running);
    }

    fn output(state: &mut State, step: StepNo, bytes: &[u8]) {
        let Some(running) = state.running.get_mut(&step) else { return };
        let Some(last) = running.buffer.push(bytes).into_iter().rfind(|l| !l.is_empty()) else { return };
        running.line = escape::output(&last);
        if let Some(bar) = &running.bar {
            bar.set_message(message(running));
        }
    }

    fn ended(&self, state: &mut State, step: StepNo, how: &str, remark: &str) {
        let running = state.running.remove(&step);
        let label = running.as_ref().map_or_else(|| format!("step {}", step.0), |r| r.label.clone());
        if let Some(bar) = running.and_then(|r| r.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.print(&format!("{how:<7} {label} {remark}"));
        let waiting = state.running.iter().find(|(_, r)| r.bar.is_none()).map(|(no, r)| (*no, step_bar(r)));
        if let Some((no, bar)) = waiting {
            let bar = self.bar(state, || bar);
            if let Some(running) = state.running.get_mut(&no) {
                running.bar = bar;
            }
        }
    }

    fn transfer(&self, state: &mut State, direction: Direction, digest: &Digest, [done, total]: [u64; 2]) {
        if !state.transfers.contains_key(digest) {
            let doing = blobs::doing(direction);
            let bar = self.bar(state, || blob_bar(format!("{doing} {}", digest.short()), total));
            let transfer = Transfer { bar, begun: Instant::now(), had: done };
            state.transfers.insert(digest.clone(), transfer);
        }
        if let Some(Transfer { bar: Some(bar), begun, had }) = state.transfers.get(digest) {
            bar.set_position(done);
            // What an earlier process fetched does not count.
            let rate = blobs::rate(done.saturating_sub(*had), begun.elapsed());
            bar.set_message(rate.map(|rate| format!(", {rate}")).unwrap_or_default());
        }
    }

    fn arrived(&self, state: &mut State, direction: Direction, digest: &Digest, (size, how): (u64, &How)) {
        let transfer = state.transfers.remove(digest);
        let moved = transfer.as_ref().map(|t| (size.saturating_sub(t.had), t.begun.elapsed()));
        if let Some(bar) = transfer.and_then(|t| t.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let what = blobs::amount(size, how, moved);
        self.print(&format!("{:<7} {} {what}", blobs::did(direction, how), digest.short()));
    }
}

impl Sink for Live {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { .. } | Event::Followed { .. } | Event::Checked { .. } => {}
            Event::Warning { text } => self.print(&format!("warning {}", escape::line(&text))),
            Event::Missed { step, reasons, .. } => {
                state.reasons.insert(step, reasons);
            }
            Event::Started { step, label } => self.started(&mut state, step, &label),
            Event::Output { step, bytes } => Self::output(&mut state, step, &bytes),
            Event::Asked { text, .. } => self.print(&format!("        {}", escape::line(&text))),
            Event::Noted { label, .. } => self.print(&format!("        {}", escape::line(&label))),
            Event::Cached { label, .. } => self.print(&format!("cached  {}", escape::line(&label))),
            Event::Finished { step, took } => self.ended(&mut state, step, "done", &amount::took(took)),
            Event::Failed { step, message, .. } => self.ended(&mut state, step, "failed", &escape::line(&message)),
            Event::Transfer { direction, digest, done, total } => {
                self.transfer(&mut state, direction, &digest, [done, total]);
            }
            Event::Arrived { direction, digest, size, how } => {
                self.arrived(&mut state, direction, &digest, (size, &how));
            }
            Event::Tagged { reference } => self.print(&format!("named   {}", escape::line(&reference.familiar()))),
            Event::Pushed { reference, digest } => {
                self.print(&format!("pushed  {} {digest}", escape::line(&reference.familiar())));
            }
            Event::Exported { dest } => self.print(&format!("wrote   {}", escape::line(&dest))),
        }
    }
}

fn step_bar(running: &Running) -> ProgressBar {
    styled(ProgressBar::new_spinner(), STEP_BAR).with_message(message(running))
}

fn blob_bar(prefix: String, total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), BLOB_BAR).with_prefix(prefix)
}

/// A template that is malformed would show as indicatif's own style; the test sees that none is.
fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The label, clipped, and the last line that the step wrote.
fn message(running: &Running) -> String {
    let mut text: String = running.label.chars().take(LABEL).collect();
    if text.len() < running.label.len() {
        text.push('…');
    }
    if !running.line.is_empty() {
        text.push_str(" | ");
        text.push_str(&running.line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_bounded_and_handed_on() {
        let live = Live::new(Detail::Brief);
        let bars = |live: &Live| live.state.lock().unwrap().running.values().filter(|r| r.bar.is_some()).count();
        for n in 0..BARS + 3 {
            live.event(Event::Started { step: StepNo(n), label: format!("[s {n}] RUN x") });
        }
        assert_eq!(bars(&live), BARS);
        live.event(Event::Finished { step: StepNo(0), took: Duration::from_secs(1) });
        assert_eq!(bars(&live), BARS);
        for n in 1..BARS + 3 {
            live.event(Event::Failed { step: StepNo(n), label: String::new(), message: "gone".to_owned() });
        }
        assert_eq!(bars(&live), 0);
        live.clear();
    }

    #[test]
    fn a_bar_shows_the_last_line_only() {
        let live = Live::new(Detail::Brief);
        live.event(Event::Started { step: StepNo(1), label: "R".repeat(LABEL + 1) });
        live.event(Event::Output { step: StepNo(1), bytes: b"one\n\x1b[2Jtwo\n\npart".to_vec() });
        let state = live.state.lock().unwrap();
        assert_eq!(message(&state.running[&StepNo(1)]), format!("{}… | two", "R".repeat(LABEL)));
    }

    #[test]
    fn templates_are_well_formed() {
        for template in [STEP_BAR, BLOB_BAR] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
