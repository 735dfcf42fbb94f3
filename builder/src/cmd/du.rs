//! `cooper du`.

use super::Place;
use crate::env;
use crate::failure::{Exit, Failure};
use crate::flags::store::DuFlags;
use crate::stdout;
use crate::ui::{amount, escape, table};
use cooper_engine::EngineError;
use cooper_store::{Item, Kind};
use serde::Serialize;

/// One line of the table.
#[derive(Debug, Default, Serialize)]
struct Row {
    count: u64,
    bytes: u64,
    /// Of the bytes, those that several names lead to.
    shared: u64,
    unique: u64,
    /// Of the bytes, those that `cooper prune --all` would free.
    reclaimable: u64,
}

impl Row {
    fn add(&mut self, item: &Item) {
        self.count += 1;
        self.bytes += item.bytes;
        *if item.shared { &mut self.shared } else { &mut self.unique } += item.bytes;
        if item.kept.is_none() {
            self.reclaimable += item.bytes;
        }
    }
}

/// What the store holds, kind by kind.
#[derive(Debug, Serialize)]
struct Usage {
    root: String,
    kinds: Vec<KindRow>,
    total: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
}

#[derive(Debug, Serialize)]
struct KindRow {
    kind: Kind,
    #[serde(flatten)]
    row: Row,
}

/// Measures the store.
pub fn run(place: &Place, flags: &DuFlags) -> Result<Exit, Failure> {
    let store = super::prune::open(place)?;
    let (now, all) = (env::now(), place.global.verbose);
    let mut items = store.inventory(now).map_err(EngineError::from)?;
    items.sort_by_key(|i| i.last_used);
    let usage = usage(store.root().display().to_string(), items);
    if flags.json {
        let Usage { root, kinds, total, items } = usage;
        stdout::json(&Usage { root, kinds, total, items: items.filter(|_| all) })?;
    } else {
        stdout::line(&text(&usage, all, now))?;
    }
    Ok(Exit::Done)
}

fn usage(root: String, items: Vec<Item>) -> Usage {
    let mut total = Row::default();
    items.iter().for_each(|i| total.add(i));
    let row_of = |kind: Kind| {
        let mut row = Row::default();
        items.iter().filter(|i| i.kind == kind).for_each(|i| row.add(i));
        KindRow { kind, row }
    };
    let kinds = Kind::ALL.into_iter().map(row_of).filter(|k| k.row.count > 0).collect();
    Usage { root, kinds, total, items: Some(items) }
}

fn text(usage: &Usage, all: bool, now: i64) -> String {
    let cells = |name: &str, meaning: &str, row: &Row| {
        let bytes = [row.bytes, row.shared, row.unique, row.reclaimable].map(amount::bytes);
        let [size, shared, unique, reclaimable] = bytes;
        [name.to_owned(), meaning.to_owned(), row.count.to_string(), size, shared, unique, reclaimable]
    };
    let mut rows = vec![["KIND", "WHAT", "COUNT", "SIZE", "SHARED", "UNIQUE", "RECLAIMABLE"].map(str::to_owned)];
    rows.extend(usage.kinds.iter().map(|k| cells(k.kind.name(), k.kind.meaning(), &k.row)));
    rows.push(cells("total", "", &usage.total));
    let mut text = table::columns(&rows);
    if let Some(items) = usage.items.as_ref().filter(|_| all) {
        let mut rows = vec![["KIND", "SIZE", "LAST USED", "NAME", "WHY IT STAYS"].map(str::to_owned)];
        rows.extend(items.iter().map(|i| {
            let why = i.kept.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            [
                i.kind.to_string(),
                amount::bytes(i.bytes),
                amount::ago(now.saturating_sub(i.last_used)),
                escape::line(&i.name),
                escape::line(&why),
            ]
        }));
        text = format!("{text}\n\n{}", table::columns(&rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_store::Keeps;

    #[test]
    fn a_table_of_kinds() {
        let item = |kind, bytes, shared, kept| Item {
            kind,
            name: "sha256:ab".to_owned(),
            path: Default::default(),
            bytes,
            shared,
            last_used: 1_000,
            kept,
        };
        let name = Keeps::Name("app:1".to_owned());
        let items = vec![
            item(Kind::Image, 2_000, true, Some(name)),
            item(Kind::Tree, 4_096, false, None),
            item(Kind::Tree, 4_096, false, Some(Keeps::Process)),
        ];
        let usage = usage("/s".to_owned(), items);
        assert_eq!((usage.total.bytes, usage.total.shared, usage.total.reclaimable), (10_192, 2_000, 4_096));
        let text = text(&usage, true, 4_600);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("KIND   WHAT"), "{text}");
        assert!(lines[2].starts_with("tree   unpacked layers") && lines[2].ends_with("4.1 kB"), "{text}");
        assert!(lines[3].starts_with("total") && lines[3].contains("10.2 kB"), "{text}");
        assert!(lines[6].contains("1h ago") && lines[6].ends_with("app:1 needs it"), "{text}");
    }
}
