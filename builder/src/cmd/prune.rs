//! `cooper prune`, and collecting after a build.

use super::Place;
use crate::env;
use crate::failure::{Exit, Failure};
use crate::flags::steps::Bytes;
use crate::flags::store::{Filter, PruneFlags, Span};
use crate::ui::{amount, escape, say, table};
use crate::{open, stdout};
use cooper_engine::EngineError;
use cooper_store::{Automatic, Doing, Fate, Keeps, Outcome, Policy, Store, Verdict};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

/// What was used within this time stays unless something else is asked for.
const KEEP: Duration = Duration::from_secs(48 * 60 * 60);
/// Most things that are named when they are in the way.
const NAMED: usize = 5;

/// The store, as whoever may delete what steps left: files of a rootless store may belong to subordinate ids.
pub fn open(place: &Place) -> Result<Store, Failure> {
    let root = place.root()?;
    if cooper_sandbox::probe().tier.is_ok() {
        cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?;
    }
    open::store(place, &root)
}

/// Deletes what nobody needs.
pub fn run(place: &Place, flags: &PruneFlags) -> Result<Exit, Failure> {
    let policy = policy(flags);
    let store = open(place)?;
    let asks = !flags.force && !flags.json && !flags.dry_run && std::io::stdin().is_terminal();
    if asks && !confirmed(&store, &policy)? {
        return Ok(Exit::Done);
    }
    let outcome = store.collect(&policy, env::now()).map_err(EngineError::from)?;
    if flags.json {
        stdout::json(&outcome)?;
    } else if flags.dry_run {
        stdout::line(&list(&outcome, env::now()))?;
    }
    if !flags.json {
        let verb = if flags.dry_run { "would free" } else { "freed" };
        let (freed, after) =
            (amount::bytes(outcome.before.saturating_sub(outcome.after)), amount::bytes(outcome.after));
        let gone = outcome.verdicts.iter().filter(|v| v.fate.goes()).count();
        say(&format!("{verb} {freed} ({gone} things); {after} stay"));
    }
    for (item, why) in outcome.verdicts.iter().filter_map(refused) {
        say(&format!("WARNING: {}: {}", escape::line(item), escape::line(why)));
    }
    ended(&outcome, policy.max_bytes)
}

/// How it ends: badly when the store is still too large, or when something that had to go is still there.
fn ended(outcome: &Outcome, max: Option<u64>) -> Result<Exit, Failure> {
    match max {
        Some(max) if outcome.after > max => Err(too_much(outcome, max)),
        _ if outcome.verdicts.iter().any(|v| refused(v).is_some()) => Ok(Exit::Storage),
        _ => Ok(Exit::Done),
    }
}

/// After a build that was told already: deletes what was not used for longest when the store is larger than the cap.
pub fn after_build(place: &Place, store: &Store, flag: Option<Bytes>) -> Result<(), Failure> {
    let Some(Bytes(max)) = flag.map_or_else(|| place.env.gc_max_size(), |b| Ok(Some(b)))? else { return Ok(()) };
    let collected = store.collect_when_full(max, env::now()).map_err(EngineError::from)?;
    if let Automatic::Collected(outcome) = collected {
        let (freed, after) = (amount::bytes(outcome.freed()), amount::bytes(outcome.after));
        place.note(|| format!("the store was larger than {}: freed {freed}, {after} stay", amount::bytes(max)));
        if outcome.after > max {
            say(&format!(
                "WARNING: the store holds {after}, more than the {} of its cap: {}",
                amount::bytes(max),
                in_the_way(&outcome)
            ));
        }
    }
    Ok(())
}

fn policy(flags: &PruneFlags) -> Policy {
    let until = flags.filter.iter().filter_map(|f| match f {
        Filter::Until(time) => Some(*time),
        _ => None,
    });
    let given = flags.keep_duration.map(|Span(time)| time).into_iter().chain(until).max();
    let keep = given.or((!flags.all && flags.max_size.is_none()).then_some(KEEP));
    let mut policy = Policy {
        keep,
        max_bytes: flags.max_size.map(|Bytes(n)| n),
        kinds: Vec::new(),
        names: Vec::new(),
        doing: if flags.dry_run { Doing::Say } else { Doing::Delete },
    };
    for filter in &flags.filter {
        match filter {
            Filter::Until(_) => {}
            Filter::Type(kind) => policy.kinds.push(*kind),
            Filter::Id(prefix) => policy.names.push(prefix.clone()),
        }
    }
    policy
}

fn confirmed(store: &Store, policy: &Policy) -> Result<bool, Failure> {
    let said = Policy { doing: Doing::Say, ..policy.clone() };
    let outcome = store.collect(&said, env::now()).map_err(EngineError::from)?;
    say(&format!("this frees about {}. Go on? [y/N]", amount::bytes(outcome.freed())));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|e| Failure::file("reading the answer", Exit::Usage, e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn list(outcome: &Outcome, now: i64) -> String {
    let mut rows = vec![["", "KIND", "SIZE", "LAST USED", "NAME", "WHY"].map(str::to_owned)];
    rows.extend(outcome.verdicts.iter().filter(|v| v.fate != Fate::Kept(Keeps::Store)).map(|v| {
        [
            if v.fate.goes() { "goes" } else { "stays" }.to_owned(),
            v.item.kind.to_string(),
            amount::bytes(v.item.bytes),
            amount::ago(now.saturating_sub(v.item.last_used)),
            escape::line(&v.item.name),
            escape::line(&v.fate.to_string()),
        ]
    }));
    table::columns(&rows)
}

fn refused(verdict: &Verdict) -> Option<(&str, &str)> {
    match &verdict.fate {
        Fate::Refused(why) => Some((&verdict.item.name, why)),
        _ => None,
    }
}

fn too_much(outcome: &Outcome, max: u64) -> Failure {
    let what = format!("the store holds {}, more than {}", amount::bytes(outcome.after), amount::bytes(max));
    Failure::Full { what, in_the_way: in_the_way(outcome) }
}

/// Why what is left is left: the largest reasons first.
fn in_the_way(outcome: &Outcome) -> String {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for v in outcome.verdicts.iter().filter(|v| !v.fate.goes()) {
        let why = match &v.fate {
            Fate::Kept(Keeps::Name(name)) => format!("the image {name}"),
            Fate::Kept(Keeps::Repository(name)) => format!("the registry's repository {name}"),
            Fate::Kept(Keeps::Process) => "what living processes use".to_owned(),
            Fate::Kept(Keeps::Store) => "names and directories".to_owned(),
            Fate::Recent => "what was used recently".to_owned(),
            Fate::NotChosen => "what was not chosen".to_owned(),
            Fate::Refused(_) => "what could not be deleted".to_owned(),
            Fate::Fits | Fate::Goes => continue,
        };
        *reasons.entry(why).or_default() += v.item.bytes;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let named = reasons.iter().take(NAMED).map(|(why, bytes)| format!("{why} ({})", amount::bytes(*bytes)));
    let named = escape::line(&named.collect::<Vec<_>>().join(", "));
    match reasons.len().saturating_sub(NAMED) {
        0 => format!("in the way: {named}"),
        more => format!("in the way: {named}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Cli, Command};
    use clap::Parser as _;
    use cooper_store::{Item, Kind};

    fn of(line: &str) -> Policy {
        let Command::Prune(flags) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!() };
        policy(&flags)
    }

    #[test]
    fn what_could_not_go_is_a_failure_of_the_storage() {
        let item = Item {
            kind: Kind::Tree,
            name: "t".to_owned(),
            path: "t".into(),
            bytes: 1,
            shared: false,
            last_used: 0,
            kept: None,
        };
        let of = |fate| Outcome { verdicts: vec![Verdict { item: item.clone(), fate }], before: 9, after: 5 };
        let exit = |outcome: &Outcome, max| ended(outcome, max).unwrap_or_else(|failure| failure.exit());
        for (fate, max, expected) in [
            (Fate::Goes, None, Exit::Done),
            (Fate::Recent, Some(5), Exit::Done),
            (Fate::Refused("busy".to_owned()), None, Exit::Storage),
            (Fate::Refused("busy".to_owned()), Some(5), Exit::Storage),
            (Fate::Recent, Some(4), Exit::Storage),
        ] {
            assert_eq!(exit(&of(fate.clone()), max), expected, "{fate:?}");
        }
    }

    #[test]
    fn flags_make_a_policy() {
        let hours = |n: u64| Some(Duration::from_secs(n * 60 * 60));
        assert_eq!(of("cooper prune").keep, hours(48));
        assert_eq!(of("cooper prune -a").keep, None);
        assert_eq!(of("cooper prune --max-size 1g").keep, None);
        assert_eq!(of("cooper prune --max-size 1g --keep-duration 3h").keep, hours(3));
        let chosen = of("cooper prune --filter until=1h --filter type=tree --filter id=ab --dry-run");
        assert_eq!((chosen.keep, chosen.kinds, chosen.names), (hours(1), vec![Kind::Tree], vec!["ab".to_owned()]));
        assert_eq!(chosen.doing, Doing::Say);
        assert!(Cli::try_parse_from(["cooper", "prune", "--filter", "inuse=true"]).is_err());
        assert!(Cli::try_parse_from(["cooper", "prune", "-a", "--keep-duration", "1h"]).is_err());
    }
}
