//! RUN: a root of the layers, one process, and what it changed as the new layer.

use super::Place;
use super::keep::Failed;
use super::mounts::named;
use crate::event::Event;
use crate::layers::{Layer, io, set_mode};
use crate::rooting::Rooting;
use crate::solve::{Build, StageState};
use crate::{Engine, EngineError};
use cooper_image::DiffId;
use cooper_layerfs::layer::{self, DigestWriter};
use cooper_layerfs::root::Root;
use cooper_layerfs::whiteout;
use cooper_plan::op::{Exec, Step};
use cooper_sandbox::{Files, Outcome, Stack, StepSpec};
use cooper_store::Ingest;
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of a failed step's output that the error repeats.
const TAIL: usize = 4096;

impl Build<'_> {
    pub fn exec(&self, state: &mut StageState, place: &Place<'_>, exec: &Exec, step: &Step) -> Result<(), EngineError> {
        self.allowed(exec)?;
        let places = self.places(exec, place)?;
        // Reading the files of mounts is work; waiting for the stages that they come from is not.
        let reads = places.iter().any(Option::is_some);
        let early = if reads { Some(self.permits.take().ok_or(EngineError::Dependency)?) } else { None };
        let files = self.files(places)?;
        let (parent, given) = (Self::parent(state), self.given(&files));
        let mut record = self.dated(cooper_plan::key::exec_key(parent.as_ref(), exec, &given, &place.stage.platform));
        record.files = named(&files);
        let Some(miss) = self.look_up(state, place, record, &step.history)? else { return Ok(()) };
        let _permit = match early {
            Some(permit) => permit,
            None => self.permits.take().ok_or(EngineError::Dependency)?,
        };
        let start = Instant::now();
        self.sink.event(Event::Started { step: place.no, label: place.label.clone() });
        if !matches!(self.engine.rooting(), Rooting::Chroot) {
            // A stage's first one has its process started while its directories are made.
            place.standby.prepare();
        }
        let ingest = self.engine.store.ingest()?;
        let upper = make(&ingest, "upper")?;
        let ran = match self.engine.rooting() {
            Rooting::Stacked | Rooting::NotTried | Rooting::None(_) => {
                let mut spec = self.spec(exec, Files::Layers(self.stack(state, &ingest, upper.clone())?));
                let _held = self.mount(exec, &files, ingest.path(), &mut spec)?;
                self.run_process(place, &spec, &step.text)
            }
            Rooting::Bound | Rooting::Chroot => self.run_whole(state, place, (exec, &step.text), &ingest, &files),
        };
        if let Err(error) = ran {
            let (text, files, upper) = (step.text.as_str(), files.as_slice(), upper.as_path());
            return Err(self.after_failure(error, &Failed { state, exec, text, files, upper, ingest: &ingest }));
        }
        let root = self.engine.root(&upper)?;
        if self.request.clamp {
            cooper_layerfs::clamp::clamp_times(&root, self.request.created)?;
        }
        let diff = self.keep_upper(place, &root)?;
        self.engine.store.publish_tree(&upper, &diff)?;
        place.root.is_now(&state.layers, &diff, self.request.clamp);
        if let Some(ahead) = place.ahead.filter(|_| !place.last) {
            ahead.hand_in(&Layer { diff: diff.clone(), claimed: None });
        }
        self.commit(state, miss, diff, &step.history)?;
        self.sink.event(Event::Finished { step: place.no, took: start.elapsed() });
        Ok(())
    }

    /// Names what the step left. Compressed layers are made while later steps run; where none comes, at once, in the
    /// same reading.
    fn keep_upper(&self, place: &Place<'_>, root: &Root) -> Result<DiffId, EngineError> {
        if place.ahead.is_some() && place.last {
            return self.keep_layer(place, |mut out| Ok(layer::pack_upper(root, &mut out).map(drop)?));
        }
        let mut hash = DigestWriter::new(std::io::sink());
        layer::pack_upper(root, &mut hash)?;
        Ok(DiffId(hash.finish().digest))
    }

    pub(super) fn run_process(&self, place: &Place<'_>, spec: &StepSpec, command: &str) -> Result<(), EngineError> {
        let mut tail: VecDeque<u8> = VecDeque::with_capacity(TAIL);
        let mut output = |bytes: &[u8]| {
            let keep = &bytes[bytes.len().saturating_sub(TAIL)..];
            let over = (tail.len() + keep.len()).saturating_sub(TAIL);
            tail.drain(..over.min(tail.len()));
            tail.extend(keep);
            self.sink.event(Event::Output { step: place.no, bytes: bytes.to_vec() });
        };
        let next = super::next(&place.stage.steps, place.index);
        let outcome = cooper_sandbox::run_in_turn(spec, (place.standby, next), &mut output, self.cancel)?;
        if self.cancel.load(Ordering::SeqCst) {
            return Err(EngineError::Interrupted);
        }
        let outcome = match outcome {
            Outcome::Exited(0) => return Ok(()),
            Outcome::Exited(code) => format!("exited with code {code}"),
            Outcome::Signaled(signal) => format!("was ended by signal {signal}"),
            Outcome::OutOfMemory => format!("was killed: {}", out_of_memory(spec)),
            Outcome::DoneWithoutMemory => {
                let text =
                    format!("{}: ended with 0, but a process of it was killed: {}", place.label, out_of_memory(spec));
                self.sink.event(Event::Warning { text });
                return Ok(());
            }
        };
        let last_output = String::from_utf8_lossy(tail.make_contiguous()).into_owned();
        Err(EngineError::Step { command: command.to_owned(), outcome, last_output })
    }

    fn stack(&self, state: &StageState, ingest: &Ingest, upper: PathBuf) -> Result<Stack, EngineError> {
        let mut lowers = self.engine.stacked(self.engine.trees(&state.layers)?)?;
        if lowers.is_empty() {
            lowers.push(make(ingest, "lower")?);
        }
        Ok(Stack { lowers, upper, work: make(ingest, "work")?, mountpoint: make(ingest, "root")? })
    }

    pub(super) fn spec(&self, exec: &Exec, files: Files) -> StepSpec {
        StepSpec {
            files,
            argv: exec.argv.clone(),
            env: exec.env.iter().chain(&exec.unkeyed_env).cloned().collect(),
            cwd: exec.cwd.to_string(),
            user: exec.user.clone(),
            script: exec.script.clone(),
            mounts: Vec::new(),
            surroundings: self.surroundings(exec),
        }
    }
}

/// Makes an empty directory of the step.
pub(super) fn make(ingest: &Ingest, name: &str) -> Result<PathBuf, EngineError> {
    let dir = ingest.path().join(name);
    std::fs::create_dir(&dir).map_err(|e| io(format!("creating {}", dir.display()), e))?;
    set_mode(&dir)?;
    Ok(dir)
}

fn out_of_memory(spec: &StepSpec) -> String {
    let limit = spec.surroundings.resources.memory_bytes.unwrap_or_default();
    format!("out of memory, the limit is {}", in_words(limit))
}

/// A number of bytes as `--memory` takes it.
fn in_words(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")];
    let unit = units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} bytes"), |(shift, letter)| format!("{}{letter}", bytes >> shift))
}

impl Engine {
    /// Trees, lowest first, as overlay takes them.
    pub(crate) fn stacked(&self, trees: Vec<PathBuf>) -> Result<Vec<PathBuf>, EngineError> {
        above_opaque(topmost(trees), |tree| self.root(tree))
    }
}

/// A layer may hide everything below it with a mark on its root, which overlay does not look for there.
fn above_opaque(
    mut lowers: Vec<PathBuf>,
    open: impl Fn(&Path) -> Result<Root, EngineError>,
) -> Result<Vec<PathBuf>, EngineError> {
    for (i, tree) in lowers.iter().enumerate().rev() {
        let root = open(tree)?;
        if whiteout::is_opaque(root.as_dir()).map_err(|e| io(format!("reading the marks of {}", tree.display()), e))? {
            lowers.drain(..i);
            break;
        }
    }
    Ok(lowers)
}

/// Overlay refuses a directory that it is given twice. Where one layer occurs again further up, every path of it is
/// decided up there, so that the lower occurrence shows nothing and can go.
fn topmost(mut lowers: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    lowers.reverse();
    lowers.retain(|tree| seen.insert(tree.clone()));
    lowers.reverse();
    lowers
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_layerfs::owners::Owners;
    use cooper_layerfs::whiteout::OverlayXattr;

    #[test]
    fn limits_are_said_as_they_are_given() {
        for (bytes, words) in
            [(512 << 20, "512m"), (1536 << 20, "1536m"), (2 << 30, "2g"), (1025, "1025 bytes"), (0, "0 bytes")]
        {
            assert_eq!(in_words(bytes), words);
        }
    }

    #[test]
    fn equal_layers_are_stacked_once_and_marked_roots_end_the_stack() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        for tree in [&a, &b, &c] {
            std::fs::create_dir(tree).unwrap();
        }
        let open = |tree: &Path| Ok(Root::open_tree(tree, Owners::Kernel, OverlayXattr::User)?);
        let stack = |trees: &[&PathBuf]| above_opaque(topmost(trees.iter().copied().cloned().collect()), open).unwrap();
        assert_eq!(stack(&[&a, &b, &a, &c]), [b.clone(), a.clone(), c.clone()]);
        // The mark that a user namespace writes: everybody may set it.
        rustix::fs::setxattr(&b, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        // That of trees which nothing stacks is an attribute like any other here.
        rustix::fs::setxattr(&c, "user.cooper.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        assert_eq!(stack(&[&a, &b, &c]), [b, c]);
    }
}
