//! What people see while work goes on. Everything here goes to standard error.
//!
//! Takes the engine's events, gives lines (`plain`), moving bars (`live`), JSON (`raw`) or nothing. Text that
//! comes from elsewhere passes `escape` before it is shown.

pub mod amount;
pub mod ask;
mod blobs;
pub mod escape;
mod lines;
mod live;
pub mod log;
mod plain;
pub mod raw;
pub mod reasons;
pub mod summary;
pub mod table;

use crate::failure::Failure;
use clap::ValueEnum;
use cooper_engine::event::{Event, Sink};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Progress {
    /// Moving bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Moving bars; fails when standard error is no terminal.
    Tty,
    /// One line for each thing that happens, every line of every step's output.
    Plain,
    /// Nothing; results go to standard output.
    Quiet,
    /// JSON, a line for each thing that happens, as BuildKit's.
    #[value(name = "rawjson")]
    RawJson,
}

/// How much is said of why a step is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// One line.
    #[default]
    Brief,
    /// A line for each difference and each file.
    Full,
}

/// The view that was chosen.
pub enum Ui {
    /// Moving bars.
    Live(Arc<live::Live>),
    /// Lines.
    Plain(Arc<plain::Plain>),
    /// JSON.
    Raw(Arc<raw::Raw>),
    /// Nothing.
    Quiet,
}

impl Ui {
    /// Opens the view. `term` is `$TERM`.
    ///
    /// # Errors
    /// When bars were asked for where there is no terminal.
    pub fn open(progress: Progress, term: Option<&str>, detail: Detail) -> Result<Self, Failure> {
        let terminal = std::io::stderr().is_terminal();
        let view = match progress {
            Progress::Quiet => Self::Quiet,
            Progress::RawJson => Self::Raw(Arc::default()),
            Progress::Tty if !terminal => {
                return Err(Failure::usage(
                    "--progress=tty needs a terminal on standard error",
                    "--progress=plain writes lines, --progress=auto chooses",
                ));
            }
            Progress::Auto if !terminal || matches!(term, None | Some("dumb")) => {
                Self::Plain(Arc::new(plain::Plain::new(detail)))
            }
            Progress::Plain => Self::Plain(Arc::new(plain::Plain::new(detail))),
            Progress::Auto | Progress::Tty => Self::Live(Arc::new(live::Live::new(detail))),
        };
        log::look(Some(view.sink()));
        Ok(view)
    }

    /// Where the engine's events go.
    pub fn sink(&self) -> Arc<dyn Sink> {
        match self {
            Self::Live(live) => Arc::clone(live) as Arc<dyn Sink>,
            Self::Plain(plain) => Arc::clone(plain) as Arc<dyn Sink>,
            Self::Raw(raw) => Arc::clone(raw) as Arc<dyn Sink>,
            Self::Quiet => Arc::new(Silence),
        }
    }

    /// Ends the view of what has failed, if there is a reason.
    pub fn end(&self, failed: Option<String>) {
        log::look(None);
        match self {
            Self::Raw(raw) => raw.close(failed.as_deref()),
            _ => self.close(None),
        }
    }

    /// Tells an error beside that by which the command ends. The view has ended.
    pub fn tell(&self, error: &str) {
        match self {
            Self::Raw(raw) => raw.event(Event::Warning { text: error.to_owned() }),
            _ => say(&format!("error: {error}")),
        }
    }

    /// Ends the view, with a last line if there is something to say.
    pub fn close(&self, last: Option<&str>) {
        log::look(None);
        match self {
            Self::Live(live) => live.clear(),
            Self::Plain(plain) if last.is_none() => plain.part(),
            Self::Raw(raw) => raw.close(None),
            Self::Plain(_) | Self::Quiet => {}
        }
        if let Some(text) = last.filter(|_| !matches!(self, Self::Quiet | Self::Raw(_))) {
            say(text);
        }
    }
}

/// Says one thing on standard error. That nobody listens is no failure.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `--progress=quiet`.
struct Silence;
impl Sink for Silence {
    fn event(&self, _: Event) {}
}
