//! HTML whose every text is escaped: what strangers pushed is shown and never obeyed.

use crate::answer::Answer;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use std::fmt::Write as _;

/// Longest text of a stranger that is shown, in characters.
const CLIP: usize = 500;
/// Nothing is loaded and nothing runs; the page's own style is the only one.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color:#222;background:#fff}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;\
    border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}td.n,th.n{text-align:right;white-space:nowrap}\
    code{font-size:.85em}a{color:#0645ad}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}\
    th,td{border-color:#444}a{color:#8ab4f8}}";

/// A page in the making.
pub struct Page(String);

impl Page {
    /// Begins with a heading, below the way back.
    pub fn new(title: &str, way: &[(String, String)]) -> Self {
        let mut page = Self(String::new());
        let title = text(title);
        page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        page.raw("<meta name=\"viewport\" content=\"width=device-width\">");
        page.raw(&format!("<title>{title}</title><style>{STYLE}</style></head><body><p>"));
        for (name, place) in way {
            let step = format!("{} / ", link(place, name));
            page.raw(&step);
        }
        page.raw(&format!("</p><h1>{title}</h1>"));
        page
    }

    /// A paragraph of markup.
    pub fn paragraph(&mut self, markup: &str) {
        self.raw(&format!("<p>{markup}</p>"));
    }

    /// A heading and a table; columns whose names begin with `#` hold numbers. Nothing without rows.
    pub fn table(&mut self, heading: &str, columns: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.raw(&format!("<h2>{}</h2><table><tr>", text(heading)));
        let class = |column: &str| if column.starts_with('#') { " class=\"n\"" } else { "" };
        for column in columns {
            self.raw(&format!("<th{}>{}</th>", class(column), text(column.trim_start_matches('#'))));
        }
        for row in rows {
            self.raw("</tr><tr>");
            for (column, cell) in columns.iter().zip(row) {
                self.raw(&format!("<td{}>{cell}</td>", class(column)));
            }
        }
        self.raw("</tr></table>");
    }

    /// The whole page.
    pub fn finish(mut self) -> Answer {
        self.raw("</body></html>\n");
        Answer::ok()
            .body("text/html; charset=utf-8", self.0.into_bytes())
            .header(CONTENT_SECURITY_POLICY, POLICY)
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(X_FRAME_OPTIONS, "DENY")
            .header(REFERRER_POLICY, "no-referrer")
            .header(CACHE_CONTROL, "no-store")
    }

    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }
}

/// A text as markup: escaped, clipped, and without characters that are not seen or turn others around.
pub fn text(plain: &str) -> String {
    let mut out = String::new();
    for (n, c) in plain.chars().enumerate() {
        if n == CLIP {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}') =>
            {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

/// A link to a place of this page.
pub fn link(place: &str, name: &str) -> String {
    format!("<a href=\"{}\">{}</a>", text(place), text(name))
}

/// A text in the letters of programs.
pub fn code(plain: &str) -> String {
    format!("<code>{}</code>", text(plain))
}

/// The query of a place: names and values, escaped for a URL.
pub fn place(pairs: &[(&str, &str)]) -> String {
    let mut out = String::from("/");
    for (n, (name, value)) in pairs.iter().enumerate() {
        let mark = if n == 0 { '?' } else { '&' };
        // Writing to a string does not fail.
        let _ = write!(out, "{mark}{name}=");
        for byte in value.bytes() {
            let _ = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' | b':' => {
                    write!(out, "{}", char::from(byte))
                }
                other => write!(out, "%{other:02X}"),
            };
        }
    }
    out
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = None;
    for next in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = Some(next);
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{value:.1} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_strangers_is_markup() {
        assert_eq!(
            text("<b a='x' c=\"y\">&\u{1b}\u{202e}"),
            "&lt;b a=&#39;x&#39; c=&quot;y&quot;&gt;&amp;\u{fffd}\u{fffd}"
        );
        assert_eq!(text(&"x".repeat(600)).chars().count(), 501);
        assert_eq!(place(&[("repository", "a/b"), ("tag", "\"><x&")]), "/?repository=a/b&tag=%22%3E%3Cx%26");
        assert_eq!(link("/?a=1&b=2", "<"), "<a href=\"/?a=1&amp;b=2\">&lt;</a>");
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (u64::MAX, "18446744.1 TB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
