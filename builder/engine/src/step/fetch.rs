//! ADD of what has to be fetched: ask, look up, fetch, pack.
//!
//! Servers are asked in every build which file or commit it is, unless a checksum or a commit's id says it; repositories
//! are fetched only when the step has to be done.

use super::Place;
use super::copy::{NAMED_FILES, Origin, unpacking};
use crate::EngineError;
use crate::event::Event;
use crate::fetch::{Answered, Checkout, Fetcher, GitCommit, HttpFile, Wanted};
use crate::solve::{Build, StageState};
use cooper_dockerfile::remote::{GitSource, HttpSource};
use cooper_image::Digest;
use cooper_layerfs::copy::CopyPart;
use cooper_layerfs::select::Selection;
use cooper_layerfs::view::View;
use cooper_plan::key::{self, Found, Parts};
use cooper_plan::op::{self, AddSource, Fetch, Step};
use cooper_store::Ingest;
use std::time::Instant;

/// A source of which is known what it is.
enum Known<'a> {
    Files(View, Selection),
    Http { source: &'a HttpSource, checksum: Option<&'a Digest>, file: Option<HttpFile> },
    Git { source: &'a GitSource, git_dir: bool, commit: GitCommit },
}

/// A source whose files are here.
struct Here {
    view: View,
    selection: Selection,
    /// Unpack archives?
    unpack: bool,
    /// Where the files are, until they are packed.
    _place: Hold,
}

/// Keeps directories in flight alive.
enum Hold {
    Nothing,
    File { _place: Ingest },
    Repository { _files: Checkout },
}

impl Build<'_> {
    pub fn fetch(
        &self,
        state: &mut StageState,
        place: &Place<'_>,
        fetch: &Fetch,
        step: &Step,
    ) -> Result<(), EngineError> {
        let _permit = self.permits.take().ok_or(EngineError::Dependency)?;
        let mut known = Vec::with_capacity(fetch.sources.len());
        let mut found = Vec::with_capacity(fetch.sources.len());
        for source in &fetch.sources {
            let (what, is) = self.ask(place, fetch, source)?;
            known.push(what);
            found.push(is);
        }
        let parent = Self::parent(state);
        let mut record = self.dated(key::fetch_key(parent.as_ref(), fetch, &found, &place.stage.platform));
        record.files = files(&known);
        let Some(miss) = self.look_up(state, place, record, &step.history)? else { return Ok(()) };
        let start = Instant::now();
        self.sink.event(Event::Started { step: place.no, label: place.label.clone() });
        let here = known.into_iter().map(|k| self.bring(place, fetch, k)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<CopyPart<'_>> = here
            .iter()
            .map(|h| CopyPart { view: &h.view, selection: &h.selection, unpack: unpacking(h.unpack) })
            .collect();
        let diff = self.pack(state, place, &fetch.copy, &parts)?;
        self.commit(state, miss, diff, &step.history)?;
        self.sink.event(Event::Finished { step: place.no, took: start.elapsed() });
        Ok(())
    }

    fn fetcher(&self) -> Fetcher<'_> {
        Fetcher { engine: self.engine, cancel: self.cancel, secrets: &self.request.run }
    }

    /// Learns what a source is.
    fn ask<'f>(
        &self,
        place: &Place<'_>,
        fetch: &Fetch,
        source: &'f AddSource,
    ) -> Result<(Known<'f>, Found), EngineError> {
        let tell = |text: String| self.sink.event(Event::Asked { step: place.no, text });
        match source {
            AddSource::Local(pattern) => {
                let view = self.main.view()?;
                let copy = op::Copy { sources: vec![pattern.clone()], ..fetch.copy.clone() };
                let selection = self.select(&copy, &view, Origin::Context)?;
                let digest = selection.digest.clone();
                Ok((Known::Files(view, selection), Found::Files(digest)))
            }
            AddSource::Http { source, checksum: Some(checksum) } => {
                tell(format!("{}: its checksum says what it is", source.shown()));
                let found = Found::Http { digest: checksum.clone(), modified: None };
                Ok((Known::Http { source, checksum: Some(checksum), file: None }, found))
            }
            AddSource::Http { source, checksum: None } => {
                let file = self.fetcher().http(source, None)?;
                tell(format!("{}: {}", source.shown(), learnt(file.answered)));
                let found = Found::Http { digest: file.digest.clone(), modified: file.last_modified.clone() };
                Ok((Known::Http { source, checksum: None, file: Some(file) }, found))
            }
            AddSource::Git { source, git_dir } => {
                let commit = self.fetcher().git_commit(source)?;
                tell(match source.commit() {
                    Some(_) => format!("{}: its commit is given", source.shown()),
                    None => {
                        let name = commit.name.as_deref().unwrap_or("HEAD");
                        format!("{}: {name} is commit {}", source.shown(), commit.id)
                    }
                });
                let name = commit.name.clone().filter(|_| *git_dir);
                let found = Found::Git { commit: commit.id.clone(), name };
                Ok((Known::Git { source, git_dir: *git_dir, commit }, found))
            }
        }
    }

    /// Brings a source's files here.
    fn bring(&self, place: &Place<'_>, fetch: &Fetch, known: Known<'_>) -> Result<Here, EngineError> {
        match known {
            Known::Files(view, selection) => {
                Ok(Here { view, selection, unpack: fetch.copy.unpack, _place: Hold::Nothing })
            }
            Known::Http { source, checksum, file } => {
                let file = match file {
                    Some(file) => file,
                    None => {
                        let file = self.fetcher().http(source, checksum)?;
                        let text = format!("{}: {}", source.shown(), learnt(file.answered));
                        self.sink.event(Event::Asked { step: place.no, text });
                        file
                    }
                };
                let ingest = self.engine.store.ingest()?;
                let (view, selection) = self.fetcher().select_http(source, &file, &ingest)?;
                Ok(Here { view, selection, unpack: fetch.unpack, _place: Hold::File { _place: ingest } })
            }
            Known::Git { source, git_dir, commit } => {
                let wanted = Wanted { git_dir, now: self.request.created };
                let files = self.fetcher().git_files(source, &commit, wanted)?;
                let view = View::dir(files.root.clone());
                let copy = op::Copy { sources: vec![".".to_owned()], ..fetch.copy.clone() };
                let selection = self.select(&copy, &view, Origin::Repository)?;
                Ok(Here { view, selection, unpack: false, _place: Hold::Repository { _files: files } })
            }
        }
    }
}

/// The files of the context among the sources, when they are few.
fn files(known: &[Known<'_>]) -> Parts {
    let mut files = Parts::new();
    for selection in known.iter().filter_map(|k| if let Known::Files(_, s) = k { Some(s) } else { None }) {
        match selection.files(NAMED_FILES.saturating_sub(files.len())) {
            Some(more) => files.extend(more),
            None => return Parts::new(),
        }
    }
    files
}

fn learnt(answered: Answered) -> &'static str {
    match answered {
        Answered::Fetched => "fetched",
        Answered::Unchanged => "unchanged since it was fetched",
        Answered::Pinned => "in the store already",
    }
}
