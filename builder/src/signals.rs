//! Ctrl-C and SIGTERM, and SIGHUP for those who want it.

use crate::failure::{Exit, Failure};
use crate::ui;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a build has to stop in good order.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What the first signal does. The second one always ends the process at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Asks the build to stop: steps are ended, half-made files removed.
    Ask,
    /// Ends the process. What is under way leaves nothing but files that the store clears away.
    End,
}

/// What was received so far.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    cancel: Arc<AtomicBool>,
    exit: Arc<AtomicU8>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system has no place for the handlers.
    pub fn listen(runtime: &Handle, manner: Manner) -> Result<Self, Failure> {
        let (mut interrupt, mut terminate) = handlers(runtime)?;
        let this = Self::default();
        let shared = this.clone();
        runtime.spawn(async move {
            loop {
                let exit = next(&mut interrupt, &mut terminate).await;
                if manner == Manner::End || shared.cancel.swap(true, Ordering::SeqCst) {
                    std::process::exit(i32::from(exit as u8));
                }
                shared.exit.store(exit as u8, Ordering::SeqCst);
                ui::say("stopping; a second signal stops at once");
                // What does not look at the flag, as a download, must not keep a person waiting; steps die with
                // this process, and what is half made is swept by the next one.
                std::thread::spawn(move || {
                    std::thread::sleep(PATIENCE);
                    std::process::exit(i32::from(exit as u8));
                });
            }
        });
        Ok(this)
    }

    /// Set once somebody asked to stop.
    pub fn cancel(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// The exit code of the signal that was received, if one was.
    pub fn received(&self) -> Option<Exit> {
        match self.exit.load(Ordering::SeqCst) {
            0 => None,
            n if n == Exit::Terminated as u8 => Some(Exit::Terminated),
            _ => Some(Exit::Interrupted),
        }
    }
}

/// Ends when the first signal arrives.
///
/// # Errors
/// As [`Signals::listen`].
pub fn first(runtime: &Handle) -> Result<impl Future<Output = ()> + Send + use<>, Failure> {
    let (mut interrupt, mut terminate) = handlers(runtime)?;
    Ok(async move {
        next(&mut interrupt, &mut terminate).await;
    })
}

/// Each SIGHUP, from now on.
///
/// # Errors
/// As [`Signals::listen`].
pub fn hangups(runtime: &Handle) -> Result<Signal, Failure> {
    handler(runtime, SignalKind::hangup())
}

fn handlers(runtime: &Handle) -> Result<(Signal, Signal), Failure> {
    Ok((handler(runtime, SignalKind::interrupt())?, handler(runtime, SignalKind::terminate())?))
}

fn handler(runtime: &Handle, kind: SignalKind) -> Result<Signal, Failure> {
    let _inside = runtime.enter();
    signal(kind).map_err(|e| Failure::file("listening for signals", Exit::Storage, e))
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> Exit {
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}
