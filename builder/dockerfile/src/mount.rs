//! The options of `RUN --mount`.
//!
//! Takes the flag's value and a way to expand variables; gives typed options, or everything that is wrong with them
//! at once. Values that cannot be expanded yet are passed over, so that the rest can be judged before a variable is
//! known. `from` is never expanded. Must never accept an option that its type does not have.

use crate::suggest;
use crate::{csv, words};

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountType {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// A directory in memory.
    Tmpfs,
    /// A secret of the command line.
    Secret,
    /// A socket of an ssh agent.
    Ssh,
}

/// How several steps use one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each that comes while it is in use gets another one.
    Private,
    /// One after the other.
    Locked,
}

/// May the step write?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// Owner and mode of what is mounted, where they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Ownership {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// One `--mount`. What is `None` was not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// `type`.
    pub kind: MountType,
    /// `from`, not looked up.
    pub from: Option<String>,
    /// `source`.
    pub source: Option<String>,
    /// `target`; where it is relative, it is so to the working directory.
    pub target: Option<String>,
    /// `ro` or `rw`.
    pub access: Option<Access>,
    /// `id`.
    pub id: Option<String>,
    /// `sharing`.
    pub sharing: Option<Sharing>,
    /// `required`.
    pub required: bool,
    /// `size`, in bytes.
    pub size: Option<u64>,
    /// `uid`, `gid` and `mode`.
    pub ownership: Ownership,
    /// `env`: the name of a variable.
    pub env: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFault {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The option that it is about, as far as it is known how it was written; else the whole value.
    pub piece: String,
}

/// One `key=value`, or a key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Lower case.
    pub key: String,
    /// Not expanded.
    pub value: Option<String>,
    /// Both as they are written.
    pub text: String,
}

/// Expands a value; `None` when its variables are not known yet.
pub type Expand<'a> = &'a dyn Fn(&str) -> Option<String>;

const TYPES: [(&str, MountType); 5] = [
    ("bind", MountType::Bind),
    ("cache", MountType::Cache),
    ("tmpfs", MountType::Tmpfs),
    ("secret", MountType::Secret),
    ("ssh", MountType::Ssh),
];
const SHARING: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];
/// Every key, and the name that messages and the table of types use for it.
const KEYS: [(&str, &str); 19] = [
    ("type", "type"),
    ("from", "from"),
    ("source", "source"),
    ("src", "source"),
    ("target", "target"),
    ("dst", "target"),
    ("destination", "target"),
    ("readonly", "ro"),
    ("ro", "ro"),
    ("readwrite", "rw"),
    ("rw", "rw"),
    ("id", "id"),
    ("sharing", "sharing"),
    ("required", "required"),
    ("size", "size"),
    ("mode", "mode"),
    ("uid", "uid"),
    ("gid", "gid"),
    ("env", "env"),
];
/// Largest mode.
const MODE: u32 = 0o7777;

impl MountType {
    /// As it is written.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The options that it has, beside `type` and `target`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Bind => &["from", "source", "ro", "rw"],
            Self::Cache => &["from", "source", "ro", "rw", "id", "sharing", "mode", "uid", "gid"],
            Self::Tmpfs => &["size", "ro", "rw"],
            Self::Secret => &["id", "source", "env", "required", "ro", "mode", "uid", "gid"],
            Self::Ssh => &["id", "required", "ro", "mode", "uid", "gid"],
        }
    }
}

/// The fields of the flag's value.
///
/// # Errors
/// When its quotes do not match.
pub fn split(value: &str) -> Result<Vec<Field>, MountFault> {
    let hint = "in a Dockerfile the quotes of a field need a backslash: --mount=\\\"source=a,b\\\",target=/x";
    let wrong =
        |e| MountFault { message: format!("--mount={value}: {e}"), hint: hint.to_owned(), piece: value.to_owned() };
    let fields = csv::fields(value).map_err(wrong)?;
    let field = |text: String| {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (text.to_lowercase(), None),
        };
        Field { key, value, text }
    };
    Ok(fields.into_iter().map(field).collect())
}

/// The `from` of the fields: the last one that is not empty.
pub fn from(fields: &[Field]) -> Option<&str> {
    let last = fields.iter().rev().find(|f| f.key == "from");
    last.and_then(|f| f.value.as_deref()).filter(|v| !v.is_empty())
}

/// The options of the flag's value as far as they can be told; nothing where they are malformed. `lookup` gives the
/// variables that are known.
pub fn known(value: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Option<MountOptions> {
    read(&split(value).ok()?, &expander(escape, lookup)).ok()
}

/// What is wrong with the flag's value, whatever its variables are.
pub fn check(value: &str, escape: char) -> Vec<MountFault> {
    match split(value) {
        Ok(fields) => read(&fields, &expander(escape, &|_| None)).err().unwrap_or_default(),
        Err(fault) => vec![fault],
    }
}

/// Expands what holds no other variables than those that are known.
fn expander<'a>(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> impl Fn(&str) -> Option<String> + 'a {
    move |text| {
        let known = words::names(text, escape).iter().all(|name| lookup(name).is_some());
        known.then(|| words::expand(text, escape, lookup).ok()).flatten()
    }
}

/// Fields to options.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read(fields: &[Field], expand: Expand<'_>) -> Result<MountOptions, Vec<MountFault>> {
    let mut reader =
        Reader { options: MountOptions::default(), given: Vec::new(), unknown_type: false, faults: Vec::new(), at: "" };
    for field in fields {
        reader.at = &field.text;
        reader.field(field, expand);
    }
    reader.combine(fields);
    if reader.faults.is_empty() { Ok(reader.options) } else { Err(reader.faults) }
}

struct Reader<'a> {
    options: MountOptions,
    /// Names of the options that are there, known value or not.
    given: Vec<&'static str>,
    /// Is the type yet to be known?
    unknown_type: bool,
    faults: Vec<MountFault>,
    /// What is looked at.
    at: &'a str,
}

impl<'a> Reader<'a> {
    /// Tells what is wrong with what is looked at.
    fn fault(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(MountFault { message: message.into(), hint: hint.into(), piece: self.at.to_owned() });
    }

    fn field(&mut self, field: &Field, expand: Expand<'_>) {
        let Some((_, name)) = KEYS.iter().find(|(key, _)| *key == field.key) else {
            return self.no_such_key(&field.key);
        };
        let value = match (&field.value, *name) {
            (Some(from), "from") => {
                if from.find('$').is_some_and(|at| at + 1 < from.len()) {
                    let hint =
                        "declare a stage with FROM and the variable, give it a name with AS, and mount from that";
                    let message = format!("from={from} holds a variable, and variables are not expanded there");
                    return self.fault(message, hint);
                }
                Some(from.clone())
            }
            (Some(value), _) => expand(value),
            // A switch.
            (None, "ro" | "rw" | "required") => Some("true".to_owned()),
            (None, _) => {
                let message = format!("--mount has {} without a value", field.key);
                return self.fault(message, format!("write {}=VALUE", field.key));
            }
        };
        self.given.push(name);
        match value {
            Some(value) => self.set(name, &field.key, value),
            None if *name == "type" => self.unknown_type = true,
            None => {}
        }
    }

    fn set(&mut self, name: &str, key: &str, value: String) {
        // An empty value is none, as where a variable has none.
        let text = Some(value.clone()).filter(|v| !v.is_empty());
        match name {
            "type" => self.options.kind = self.one_of(&TYPES, "type", &value).unwrap_or_default(),
            "sharing" => self.options.sharing = self.one_of(&SHARING, "sharing", &value),
            "from" => self.options.from = text,
            "source" => self.options.source = text,
            "target" => self.options.target = text,
            "id" => self.options.id = text,
            "env" => self.options.env = self.variable(value),
            "ro" => self.access(key, &value, [Access::ReadOnly, Access::ReadWrite]),
            "rw" => self.access(key, &value, [Access::ReadWrite, Access::ReadOnly]),
            "required" => self.options.required = self.switch(key, &value).unwrap_or_default(),
            "size" => {
                self.options.size = self.number(bytes(&value), key, &value, "give bytes, or a size as 64m or 1.5g")
            }
            "mode" => {
                let mode = u32::from_str_radix(&value, 8).ok().filter(|m| *m <= MODE);
                self.options.ownership.mode = self.number(mode, key, &value, "give octal digits, as 0755");
            }
            "uid" => self.options.ownership.uid = self.number(id(&value), key, &value, "give a number below 2^31"),
            _ => self.options.ownership.gid = self.number(id(&value), key, &value, "give a number below 2^31"),
        }
    }

    fn access(&mut self, key: &str, value: &str, [yes, no]: [Access; 2]) {
        if let Some(set) = self.switch(key, value) {
            self.options.access = Some(if set { yes } else { no });
        }
    }

    fn switch(&mut self, key: &str, value: &str) -> Option<bool> {
        match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => {
                self.fault(format!("--mount {key}={value} is neither true nor false"), "write true or false");
                None
            }
        }
    }

    fn number<T>(&mut self, number: Option<T>, key: &str, value: &str, hint: &str) -> Option<T> {
        if number.is_none() {
            self.fault(format!("--mount {key}={value} is not a value of {key}"), hint);
        }
        number
    }

    fn variable(&mut self, name: String) -> Option<String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("--mount env={name} is not the name of a variable");
            self.fault(message, "a name is not empty and has no =");
            return None;
        }
        Some(name)
    }

    fn one_of<T: Copy>(&mut self, all: &[(&'static str, T)], what: &str, value: &str) -> Option<T> {
        let lower = value.to_lowercase();
        if let Some((_, found)) = all.iter().find(|(name, _)| *name == lower) {
            return Some(*found);
        }
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let hint = match suggest::nearest(value, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {}", names.join(", ")),
        };
        self.fault(format!("there is no --mount {what}={value}"), hint);
        self.unknown_type |= what == "type";
        None
    }

    fn no_such_key(&mut self, key: &str) {
        let hint = match suggest::nearest(key, KEYS.iter().map(|(key, _)| *key)) {
            Some(near) => format!("did you mean {near}?"),
            None => "the options are type, from, source, target, ro, rw, id, sharing, required, size, mode, uid, gid \
                     and env"
                .to_owned(),
        };
        self.fault(format!("--mount has no option {key:?}"), hint);
    }

    /// What does not go together.
    fn combine(&mut self, fields: &'a [Field]) {
        if self.unknown_type {
            return;
        }
        let kind = self.options.kind;
        let given = std::mem::take(&mut self.given);
        let mut told = Vec::new();
        for name in given.iter().filter(|n| !matches!(**n, "type" | "target")) {
            if !kind.options().contains(name) && !told.contains(name) {
                told.push(*name);
                self.at = written(fields, name);
                let hint = format!("its options are target, {}", kind.options().join(", "));
                self.fault(format!("--mount=type={} has no option {name}", kind.name()), hint);
            }
        }
        let has = |name: &&str| given.contains(name);
        self.at = written(fields, "source");
        if kind == MountType::Secret && has(&"source") && has(&"id") {
            self.fault("--mount=type=secret has both source and id", "keep id");
        }
        if kind == MountType::Cache && has(&"source") && !has(&"from") {
            let hint = "add from=STAGE or from=IMAGE, whose files the cache begins with, or drop source";
            self.fault("--mount=type=cache has source without from", hint);
        }
        if kind == MountType::Secret && !["id", "source", "target"].iter().any(has) {
            self.at = written(fields, "type");
            self.fault("--mount=type=secret names no secret", "add id=NAME; --secret id=NAME,… gives it");
        }
    }
}

/// The first option of that name, as it is written.
fn written<'a>(fields: &'a [Field], name: &str) -> &'a str {
    let is = |f: &&Field| KEYS.iter().any(|(key, of)| *key == f.key && *of == name);
    fields.iter().find(is).map_or("", |f| f.text.as_str())
}

/// The number of a user or a group: the largest ones mean nobody to the kernel, and are refused as in USER.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| i32::try_from(*id).is_ok())
}

/// A size as docker writes it: a number with fractions, then k, m, g, t or p for powers of 1024, then perhaps `b` or
/// `ib`. `None` when it is no size.
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (digits, unit) = lower.split_at_checked(end)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let power = match unit.strip_suffix('b').map_or(unit, |u| u.strip_suffix('i').unwrap_or(u)) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = match digits.contains('.') {
        false => digits.parse::<u64>().ok()?.checked_mul(1 << (10 * power))?,
        // Fractions of a byte are cut off; more than 2^53 bytes are nobody's memory.
        true => (digits.parse::<f64>().ok()? * (1_u64 << (10 * power)) as f64) as u64,
    };
    // The kernel rounds up to whole pages, and what is too large for that would be no limit at all.
    (bytes <= i64::MAX as u64).then_some(bytes)
}
