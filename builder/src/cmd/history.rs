//! `cooper history`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::HistoryFlags;
use crate::open::Session;
use crate::stdout;
use crate::ui::{amount, escape, table};
use cooper_engine::EngineError;
use cooper_image::{Descriptor, DiffId, History, ImageConfig};
use cooper_store::Store;
use serde::Serialize;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Longest command in the table, in characters; as docker's.
const COMMAND: usize = 45;

/// One step.
#[derive(Debug, Serialize)]
struct Row {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
    /// The layer that it made.
    diff_id: Option<DiffId>,
    /// That layer's size.
    #[serde(flatten)]
    size: Option<Size>,
}

/// How large a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Size {
    /// In bytes.
    size: u64,
    /// What was measured.
    form: Form,
}

/// What a layer is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// Compressed, as registries have it.
    Compressed,
    /// Not compressed yet.
    Unpacked,
}

/// Shows an image's history.
pub fn run(place: &Place, flags: &HistoryFlags) -> Result<Exit, Failure> {
    let session = Session::look(place, &place.root()?)?;
    let image = session.engine.inspect(&flags.name, flags.platform.as_ref())?;
    let claimed = image.manifest.map(|m| m.layers).unwrap_or_default();
    let mut rows = rows(&image.config);
    for row in &mut rows {
        let Some(diff) = &row.diff_id else { continue };
        let place = image.config.rootfs.diff_ids.iter().position(|d| d == diff);
        row.size = size(session.engine.store(), diff, place.and_then(|n| claimed.get(n)))?;
    }
    if flags.json {
        stdout::json(&rows)?;
    } else {
        stdout::line(&text(&rows, if flags.no_trunc { usize::MAX } else { COMMAND }))?;
    }
    Ok(Exit::Done)
}

/// The steps, the last one first. Layers that no step tells of come last in the image, and have nothing but their size;
/// a step that should have made a layer and has none keeps its words.
fn rows(config: &ImageConfig) -> Vec<Row> {
    let mut layers = config.rootfs.diff_ids.iter();
    let row = |step: &History, diff_id: Option<&DiffId>| Row {
        created: step.created.clone(),
        created_by: step.created_by.clone(),
        comment: step.comment.clone(),
        empty_layer: step.empty_layer,
        diff_id: diff_id.cloned(),
        size: None,
    };
    let told = config.history.iter().map(|h| row(h, if h.empty_layer { None } else { layers.next() }));
    let mut rows: Vec<Row> = told.collect();
    rows.extend(layers.map(|diff| row(&History::default(), Some(diff))));
    rows.reverse();
    rows
}

/// Of a layer: as a blob, else as what there is of it; `None` when there is nothing, or it cannot be read by this user.
fn size(store: &Store, diff: &DiffId, claimed: Option<&Descriptor>) -> Result<Option<Size>, Failure> {
    let forms = store.layer(diff).map_err(EngineError::from)?;
    let blob = claimed.or(forms.blobs.first()).map(|b| Size { size: b.size, form: Form::Compressed });
    let unpacked = |size| Size { size, form: Form::Unpacked };
    let tree = || forms.tree.as_deref().and_then(|tree| bytes_below(tree).ok()).map(unpacked);
    Ok(blob.or_else(tree).or(forms.tar.map(unpacked)))
}

/// Bytes of all files below a directory, each counted once however many names it has.
fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let (mut total, mut seen, mut left) = (0_u64, HashSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // Of the entry itself: a link is not followed out of the layer.
            let found = entry.metadata()?;
            if found.is_dir() {
                left.push(entry.path());
            } else if found.nlink() == 1 || seen.insert((found.dev(), found.ino())) {
                total = total.saturating_add(found.len());
            }
        }
    }
    Ok(total)
}

fn text(rows: &[Row], longest: usize) -> String {
    let cell = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |t| escape::line(&t.replace('\t', " ")));
    let lines = rows.iter().map(|row| {
        let size = match row.size {
            Some(Size { size, form: Form::Compressed }) => amount::bytes(size),
            Some(Size { size, form: Form::Unpacked }) => format!("{} unpacked", amount::bytes(size)),
            None if row.diff_id.is_some() => "unknown".to_owned(),
            None => "-".to_owned(),
        };
        let comment = row.comment.as_ref().filter(|c| !c.is_empty());
        [cell(row.created.as_ref()), clip(&cell(row.created_by.as_ref()), longest), size, cell(comment)]
    });
    let head = std::iter::once(["CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned));
    table::columns(&head.chain(lines).collect::<Vec<_>>())
}

/// The beginning of a text, with a mark where it was cut.
fn clip(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept = text.chars().take(longest.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{Digest, Platform};

    fn step(by: &str, empty_layer: bool) -> History {
        History { created_by: Some(by.to_owned()), empty_layer, ..History::default() }
    }

    fn layer(n: u8) -> DiffId {
        DiffId(Digest::sha256([n]))
    }

    #[test]
    fn steps_and_layers_are_put_together() {
        let mut config = ImageConfig::scratch(&Platform::host());
        config.history = vec![step("ADD", false), step("ENV", true), step("RUN", false)];
        let of = |layers: &[u8]| {
            let mut config = config.clone();
            config.rootfs.diff_ids = layers.iter().map(|n| layer(*n)).collect();
            let rows = rows(&config);
            rows.into_iter().map(|r| (r.created_by.unwrap_or_default(), r.diff_id)).collect::<Vec<_>>()
        };
        let row = |by: &str, n: Option<u8>| (by.to_owned(), n.map(layer));
        assert_eq!(of(&[1, 2]), [row("RUN", Some(2)), row("ENV", None), row("ADD", Some(1))]);
        assert_eq!(of(&[1]), [row("RUN", None), row("ENV", None), row("ADD", Some(1))]);
        let more = [row("", Some(3)), row("RUN", Some(2)), row("ENV", None), row("ADD", Some(1))];
        assert_eq!(of(&[1, 2, 3]), more);
    }

    #[test]
    fn a_table() {
        let mut rows = rows(&ImageConfig {
            history: vec![step("RUN\tmake \u{1b}[2J", false), step(&"x".repeat(60), true)],
            ..ImageConfig::scratch(&Platform::host())
        });
        rows[1].diff_id = Some(layer(1));
        rows[1].size = Some(Size { size: 1_500_000, form: Form::Unpacked });
        let table = text(&rows, COMMAND);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], format!("-        {}…  -                -", "x".repeat(COMMAND - 1)));
        assert!(lines[2].starts_with("-        RUN make \\x1b[2J "), "{table}");
        assert!(lines[2].ends_with("1.5 MB unpacked  -"), "{table}");
        assert!(text(&rows, usize::MAX).contains(&"x".repeat(60)));
    }

    #[test]
    fn a_tree_is_measured_without_leaving_it() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::fs::write(dir.path().join("outside"), vec![0; 5_000]).unwrap();
        std::fs::write(tree.join("sub/a"), vec![0; 100]).unwrap();
        std::fs::hard_link(tree.join("sub/a"), tree.join("b")).unwrap();
        std::os::unix::fs::symlink("../outside", tree.join("link")).unwrap();
        std::os::unix::fs::symlink("..", tree.join("up")).unwrap();
        let links = "../outside".len() + "..".len();
        assert_eq!(bytes_below(&tree).unwrap(), 100 + links as u64);
        assert!(bytes_below(&tree.join("absent")).is_err());
    }
}
