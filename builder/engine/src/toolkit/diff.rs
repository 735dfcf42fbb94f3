//! In what two images differ: settings, layers, files.
//!
//! Layers that both have, lowest first, are the same: they are read only where a path of the others may be in them, and
//! never where the caller says so.

use super::draft::ImageDraft;
use super::files::{FileState, Files, Found};
use super::origin::Origin;
use crate::EngineError;
use cooper_image::{Descriptor, DiffId, RelPath};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What is read for a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Documents alone.
    Documents,
    /// The layers that are not the same.
    OwnLayers,
    /// Those that are the same too, if need be.
    AllLayers,
}

/// A setting that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Where it is in the configuration, as `config.Env.PATH`.
    pub path: String,
    /// The first image's.
    pub old: Option<Value>,
    /// The second one's.
    pub new: Option<Value>,
}

/// A layer that only one of them has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerOf {
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Digest of it as it is stored.
    pub digest: String,
    /// Its size as it is stored, in bytes.
    pub size: u64,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second image has it.
    Added,
    /// Only the first one has it.
    Removed,
    /// Both have it, and it is not the same.
    Changed,
    /// A layer of the second alone has it; the layers that both have were not read.
    Written,
    /// A layer of the first alone has it, or one of the second deletes it; the others were not read.
    Unwritten,
}

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path, from the root on.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// In what it differs, when both have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<&'static str>,
    /// The first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<FileState>,
    /// The second one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<FileState>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differences {
    /// Settings.
    pub config: Vec<Setting>,
    /// How many layers both have.
    pub common_layers: usize,
    /// Layers of the first image alone.
    pub old_layers: Vec<LayerOf>,
    /// Layers of the second one alone.
    pub new_layers: Vec<LayerOf>,
    /// Files; absent when none were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileChange>>,
}

impl Differences {
    /// Is there no difference?
    pub fn is_none(&self) -> bool {
        let files = self.files.as_ref().is_none_or(Vec::is_empty);
        self.config.is_empty() && self.old_layers.is_empty() && self.new_layers.is_empty() && files
    }
}

/// An image and where it is.
#[derive(Clone, Copy)]
pub struct Side<'o> {
    /// Where.
    pub origin: &'o dyn Origin,
    /// Its manifest.
    pub descriptor: &'o Descriptor,
}

/// Compares two images.
///
/// # Errors
/// What the places say, and layers that are no tar.
pub fn diff(old: Side<'_>, new: Side<'_>, reading: Reading) -> Result<Differences, EngineError> {
    let (a, b) = (Image::read(old)?, Image::read(new)?);
    let common = a.diffs.iter().zip(&b.diffs).take_while(|(a, b)| a == b).count();
    let files = match reading {
        Reading::Documents => None,
        _ if a.diffs == b.diffs => Some(Vec::new()),
        _ => Some(files(old, new, (&a, &b), common, reading)?),
    };
    Ok(Differences {
        config: settings(&a.config, &b.config),
        common_layers: common,
        old_layers: a.layers_from(common),
        new_layers: b.layers_from(common),
        files,
    })
}

struct Image {
    config: Value,
    diffs: Vec<DiffId>,
    layers: Vec<Descriptor>,
}

impl Image {
    fn read(side: Side<'_>) -> Result<Self, EngineError> {
        let invalid = |source| EngineError::Json { what: format!("an image of {}", side.origin.place()), source };
        let image = ImageDraft::read(side.origin, side.descriptor)?;
        let layers = image.layers.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(invalid)?;
        let diffs = image.config.rootfs.diff_ids.clone();
        Ok(Self { config: serde_json::to_value(&image.config).map_err(invalid)?, diffs, layers })
    }

    fn layers_from(&self, first: usize) -> Vec<LayerOf> {
        let both = self.diffs.iter().zip(&self.layers).skip(first);
        let of = |(diff, d): (&DiffId, &Descriptor)| LayerOf {
            diff_id: diff.clone(),
            digest: d.digest.to_string(),
            size: d.size,
        };
        both.map(of).collect()
    }
}

fn files(
    old: Side<'_>,
    new: Side<'_>,
    (a, b): (&Image, &Image),
    common: usize,
    reading: Reading,
) -> Result<Vec<FileChange>, EngineError> {
    let own_a = Files::read(old.origin, a.layers.get(common..).unwrap_or_default())?;
    let own_b = Files::read(new.origin, b.layers.get(common..).unwrap_or_default())?;
    let mut paths: BTreeSet<&[u8]> = own_a.paths().chain(own_b.paths()).collect();
    let is_open = |path: &&&[u8]| match (own_a.find(path), own_b.find(path)) {
        (Found::Implied, Found::Implied) => false,
        (Found::Below | Found::Implied, _) | (_, Found::Below | Found::Implied) => true,
        (Found::Is(a), Found::Is(b)) => a.kind != b.kind,
        _ => false,
    };
    let open = own_a.deletes() || own_b.deletes() || paths.iter().any(|path| is_open(&path));
    let base = match common > 0 && open && reading == Reading::AllLayers {
        true => Some(Files::read(old.origin, a.layers.get(..common).unwrap_or_default())?),
        false => None,
    };
    if let Some(base) = &base {
        let gone = |files: &Files, path: &[u8]| files.find(path) == Found::Gone;
        paths.extend(base.paths().filter(|path| gone(&own_a, path) != gone(&own_b, path)));
    }
    let below = base.is_some() || common == 0;
    let nothing = Files::default();
    let base = base.as_ref().unwrap_or(&nothing);
    Ok(paths.into_iter().filter_map(|path| change(path, (&own_a, &own_b), base, below)).collect())
}

/// What became of a path. `known` says whether everything below is.
fn change(path: &[u8], (a, b): (&Files, &Files), base: &Files, known: bool) -> Option<FileChange> {
    let state = |files: &Files| match files.find(path) {
        Found::Is(state) => Some(state.clone()),
        Found::Gone => None,
        below => match base.find(path) {
            Found::Is(state) if below == Found::Below || state.kind == "directory" => Some(state.clone()),
            Found::Implied => Some(FileState::implied()),
            // Of what is not known nothing is made up.
            _ if below == Found::Implied && known => Some(FileState::implied()),
            _ => None,
        },
    };
    let (old, new) = (state(a), state(b));
    let mut what = Vec::new();
    let depends = |files: &Files| matches!(files.find(path), Found::Below | Found::Implied);
    if a.find(path) == b.find(path) {
        return None;
    }
    let is_open = !known && (depends(a) || depends(b));
    let change = match (&old, &new) {
        (None, None) if is_open => Change::Unwritten,
        (None, None) => return None,
        (None, Some(_)) if is_open => Change::Written,
        (Some(_), None) if is_open => Change::Unwritten,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(old), Some(new)) => {
            what = old.differences(new);
            if what.is_empty() {
                return None;
            }
            Change::Changed
        }
    };
    Some(FileChange { path: format!("/{}", RelPath::clean(path).display()), change, what, old, new })
}

/// The settings that are not the same; layers and history are not settings.
fn settings(a: &Value, b: &Value) -> Vec<Setting> {
    let plain = |config: &Value| {
        let mut config = config.as_object().cloned().unwrap_or_default();
        config.remove("rootfs");
        config.remove("history");
        if let Some(env) = config.get_mut("config").and_then(|c| c.get_mut("Env")) {
            *env = variables(env);
        }
        Value::Object(config)
    };
    let mut found = Vec::new();
    compare("", Some(&plain(a)), Some(&plain(b)), &mut found);
    found
}

/// A list of `NAME=VALUE` by name.
fn variables(list: &Value) -> Value {
    let pairs = list.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), Value::from(value))
    });
    Value::Object(pairs.collect())
}

fn compare(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Setting>) {
    if a == b {
        return;
    }
    let empty = Map::new();
    let object = |v: Option<&Value>| match v {
        None => Some(empty.clone()),
        Some(v) => v.as_object().cloned(),
    };
    // What is not there has no parts: that is said of the whole, unless the other one has parts.
    match (object(a), object(b)) {
        (Some(old), Some(new)) if !(old.is_empty() && new.is_empty()) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let dot = if path.is_empty() { "" } else { "." };
                compare(&format!("{path}{dot}{key}"), old.get(key), new.get(key), found);
            }
        }
        _ => found.push(Setting { path: path.to_owned(), old: a.cloned(), new: b.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::*;
    use cooper_image::{Digest, Platform};
    use serde_json::json;

    /// A layer of these names, each with a mode: a directory, a symbolic link to `x`, or a file.
    fn layer(place: &mut Memory, entries: &[(&str, u32)]) -> (Descriptor, Digest) {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(*mode);
            let kind = match *name {
                name if name.ends_with('/') => tar::EntryType::Directory,
                name if name.ends_with("link") => tar::EntryType::Symlink,
                _ => tar::EntryType::Regular,
            };
            header.set_entry_type(kind);
            if kind.is_symlink() {
                header.set_link_name("x").unwrap();
            }
            tar.append_data(&mut header, name, &b""[..]).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        (place.put("application/vnd.oci.image.layer.v1.tar", &bytes), Digest::sha256(&bytes))
    }

    /// The paths that differ between two images of these layers, with what became of them.
    fn changes(old: &[&[(&str, u32)]], new: &[&[(&str, u32)]], reading: Reading) -> Vec<String> {
        let mut place = Memory::default();
        let mut image = |layers: &[&[(&str, u32)]]| {
            let layers: Vec<_> = layers.iter().map(|entries| layer(&mut place, entries)).collect();
            place.image(Types::Oci, &Platform::linux("amd64"), &layers)
        };
        let (old, new) = (image(old), image(new));
        let side = |descriptor| Side { origin: &place, descriptor };
        let found = diff(side(&old), side(&new), reading).unwrap().files.unwrap_or_default();
        found.iter().map(|f| format!("{:?} {} {}", f.change, f.path, f.what.join(","))).collect()
    }

    #[test]
    fn a_directory_that_a_layer_leaves_out_is_there_all_the_same() {
        let bare: &[_] = &[("new/deep/f", 0o644)];
        let full: &[_] = &[("new/", 0o755), ("new/deep/", 0o755), ("new/deep/f", 0o644)];
        let private: &[_] = &[("new/", 0o700), ("new/deep/", 0o755), ("new/deep/f", 0o644)];
        let dir: &[_] = &[("new/", 0o700)];
        let gone: &[_] = &[(".wh.new", 0)];
        let base: &[_] = &[("base", 0o644)];
        let none: [&str; 0] = [];
        let all = Reading::AllLayers;
        assert_eq!(changes(&[bare], &[full], all), none);
        assert_eq!(changes(&[base, bare], &[base, full], all), none);
        assert_eq!(changes(&[bare], &[private], all), ["Changed /new mode"]);
        // It is as the layers below have it, wherever these are.
        assert_eq!(changes(&[dir, bare], &[private], all), none);
        assert_eq!(changes(&[base, dir, bare], &[base, private], all), none);
        assert_eq!(changes(&[dir, bare], &[dir, private], all), none);
        assert_eq!(changes(&[dir, bare], &[dir, full], all), ["Changed /new mode"]);
        assert_eq!(changes(&[dir, gone, bare], &[full], all), none);
        assert_eq!(
            changes(&[base, bare], &[base], all),
            ["Removed /new ", "Removed /new/deep ", "Removed /new/deep/f "]
        );
        assert_eq!(changes(&[base, bare, gone], &[base], all), none);
        // Where they are not read, nothing is made up of them.
        let own = changes(&[dir, bare], &[dir, private], Reading::OwnLayers);
        assert_eq!(own, ["Written /new ", "Written /new/deep "]);
        let other: &[_] = &[("new/deep/f", 0o644), ("new/g", 0o644)];
        assert_eq!(changes(&[dir, bare], &[dir, other], Reading::OwnLayers), ["Written /new/g "]);
    }

    #[test]
    fn a_link_has_no_mode() {
        assert!(changes(&[&[("link", 0o777)]], &[&[("link", 0o644)]], Reading::AllLayers).is_empty());
        assert_eq!(changes(&[&[("f", 0o777)]], &[&[("f", 0o644)]], Reading::AllLayers), ["Changed /f mode"]);
    }

    #[test]
    fn settings_by_their_names() {
        let a = json!({"os": "linux", "rootfs": {"diff_ids": ["x"]}, "history": [1],
            "config": {"Env": ["A=1", "B=2"], "Cmd": ["a"], "Labels": {"l": "1"}}});
        let b = json!({"os": "linux", "rootfs": {"diff_ids": []},
            "config": {"Env": ["B=3", "A=1"], "Cmd": ["a", "b"], "User": "me"}});
        let found = settings(&a, &b);
        let text = |v: &Option<Value>| v.as_ref().map_or("-".to_owned(), Value::to_string);
        let lines: Vec<String> =
            found.iter().map(|s| format!("{} {} {}", s.path, text(&s.old), text(&s.new))).collect();
        assert_eq!(
            lines,
            [
                r#"config.Cmd ["a"] ["a","b"]"#,
                r#"config.Env.B "2" "3""#,
                r#"config.Labels.l "1" -"#,
                r#"config.User - "me""#,
            ]
        );
        assert!(settings(&a, &a).is_empty());
    }
}
