//! Answers for people.

use super::{Checked, REQUESTS, excerpt};
use crate::ui::escape;
use cooper_dockerfile::lint::Finding;
use cooper_plan::call::{Outline, Source, Targets};
use std::fmt::Write as _;

/// What the checks found.
pub fn checked(checked: &Checked<'_>) -> String {
    let mut out = match checked.findings.len() {
        0 if checked.error.is_some() => return String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        n => format!("Check complete, {n} warnings have been found!\n"),
    };
    for Finding { rule, span, detail, .. } in checked.findings {
        // Writing to a string cannot fail.
        let _ = write!(out, "\nWARNING: {} - {}\n{}\n", rule.id, rule.page(), escape::line(detail));
        out.push_str(&excerpt::render(checked.name, checked.text, *span));
    }
    out
}

/// What a build says of its checks when it is over; nothing when they found nothing.
pub fn after_build(findings: &[Finding]) -> Option<String> {
    let head = match findings.len() {
        0 => return None,
        1 => "1 warning found (cooper check shows where):".to_owned(),
        n => format!("{n} warnings found (cooper check shows where):"),
    };
    let line = |f: &Finding| format!(" - {}: {} (line {})", f.rule.id, escape::line(&f.detail), f.span.start);
    Some(std::iter::once(head).chain(findings.iter().map(line)).collect::<Vec<_>>().join("\n"))
}

/// Columns, each as wide as its widest cell, with `gap` blanks between them.
fn table(rows: &[Vec<String>], gap: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |at: usize| rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}{}", " ".repeat(gap)));
        out.push_str(cells.collect::<String>().trim_end());
        out.push('\n');
    }
    out
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|c| escape::line(c)).collect()
}

/// What a target takes.
pub fn outline(outline: &Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() || outline.description.is_some() {
        let mut rows = vec![row(["TARGET:", outline.name.as_deref().unwrap_or("(default)")])];
        rows.extend(outline.description.as_deref().map(|d| row(["DESCRIPTION:", d])));
        parts.push(table(&rows, 1));
    }
    if !outline.args.is_empty() {
        let rows = outline.args.iter().map(|a| row([&a.name, &a.value, a.description.as_deref().unwrap_or_default()]));
        parts.push(table(
            &std::iter::once(row(["BUILD ARG", "VALUE", "DESCRIPTION"])).chain(rows).collect::<Vec<_>>(),
            3,
        ));
    }
    for (name, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        let rows = list.iter().map(|s: &Source| row([&s.name, if s.required { "true" } else { "" }]));
        if !list.is_empty() {
            parts.push(table(&std::iter::once(row([name, "REQUIRED"])).chain(rows).collect::<Vec<_>>(), 3));
        }
    }
    if !outline.cache.is_empty() {
        let rows = outline.cache.iter().map(|c| row([&c.id]));
        parts.push(table(&std::iter::once(row(["CACHE"])).chain(rows).collect::<Vec<_>>(), 3));
    }
    parts.join("\n")
}

/// The stages.
pub fn targets(targets: &Targets) -> String {
    let mut rows = vec![row(["TARGET", "DESCRIPTION"])];
    for target in &targets.targets {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            // What has no name cannot be asked for by it.
            (None, false) => continue,
        };
        rows.push(row([&name, target.description.as_deref().unwrap_or_default()]));
    }
    table(&rows, 3)
}

/// What can be asked.
pub fn requests() -> String {
    let rows = REQUESTS.iter().map(|(name, says)| row([name, "1.0.0", says]));
    table(&std::iter::once(row(["NAME", "VERSION", "DESCRIPTION"])).chain(rows).collect::<Vec<_>>(), 1)
}
