//! `--chmod`: octal digits or symbolic clauses, parsed once and applied to many modes.
//!
//! Takes the flag's text; gives a [`Chmod`] that maps an old mode to a new one.
//! Must never: guess. A text that is neither form is an error, and no umask takes part.

/// All the bits that a mode can hold.
const ALL: u32 = 0o7777;
/// Read, write and execute for everybody.
const PERMISSIONS: u32 = 0o777;
/// The execute bits.
const EXECUTE: u32 = 0o111;

/// What to write, for messages.
pub const HINT: &str = "give octal digits like 0755, or clauses like u=rwX,go=rX";

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode {text:?}: {reason}")]
pub struct ChmodError {
    /// As written.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// A change of mode bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Exactly these bits.
    Octal(u32),
    /// Steps, applied in order.
    Symbolic(Vec<Step>),
}

/// What a mode belongs to; `X` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A directory.
    Dir,
    /// Anything else.
    Other,
}

/// One `who operator what`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    who: Who,
    operator: Operator,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Who {
    user: bool,
    group: bool,
    other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

/// The right side of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Letters(Letters),
    /// The bits that the owner, the group (3) or others (0) have now, given as a shift.
    CopyOf(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Letters {
    /// `r`, `w`, `x` as the low three bits.
    rwx: u32,
    /// `X`: execute where it makes sense.
    execute_if_useful: bool,
    set_id: bool,
    sticky: bool,
}

impl Chmod {
    /// Parses octal digits from 0 to 07777, or clauses like `u=rwX,go=rX`, `a+x`, `+X`, `g=u`.
    /// A clause without `ugoa` is for everybody.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        let fault = |reason| ChmodError { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(fault("it is empty"));
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= ALL);
            return bits.map(|bits| Self(Form::Octal(bits))).ok_or_else(|| fault("octal modes go from 0 to 07777"));
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause.as_bytes(), &mut steps).map_err(fault)?;
        }
        Ok(Self(Form::Symbolic(steps)))
    }

    /// The new mode bits (0 to 07777) of something that had the mode `old`.
    pub fn apply(&self, old: u32, target: Target) -> u32 {
        let old = old & ALL;
        match &self.0 {
            Form::Octal(bits) => *bits,
            Form::Symbolic(steps) => {
                // `X` looks at the mode as it was, not as earlier clauses left it.
                let useful = target == Target::Dir || old & EXECUTE != 0;
                steps.iter().fold(old, |mode, step| step.apply(mode, useful))
            }
        }
    }

    /// The bits when the form is octal: those are also for directories that have no old mode.
    pub fn octal(&self) -> Option<u32> {
        match self.0 {
            Form::Octal(bits) => Some(bits),
            Form::Symbolic(_) => None,
        }
    }
}

impl Step {
    fn apply(self, mode: u32, execute_is_useful: bool) -> u32 {
        let mut bits = match self.what {
            What::CopyOf(shift) => ((mode >> shift) & 7) * EXECUTE,
            What::Letters(letters) if letters.execute_if_useful && execute_is_useful => (letters.rwx | 1) * EXECUTE,
            What::Letters(letters) => letters.rwx * EXECUTE,
        };
        bits &= self.who.permissions();
        if let What::Letters(letters) = self.what {
            if letters.set_id {
                bits |= self.who.set_id();
            }
            if letters.sticky && self.who.other {
                bits |= 0o1000;
            }
        }
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !self.who.ruled() | bits,
        }
    }
}

impl Who {
    const ALL: Self = Self { user: true, group: true, other: true };

    fn permissions(self) -> u32 {
        let part = |named: bool, bits: u32| if named { bits } else { 0 };
        part(self.user, 0o700) | part(self.group, 0o070) | part(self.other, 0o007)
    }
    fn set_id(self) -> u32 {
        let part = |named: bool, bits: u32| if named { bits } else { 0 };
        part(self.user, 0o4000) | part(self.group, 0o2000)
    }
    /// What `=` replaces.
    fn ruled(self) -> u32 {
        let sticky = if self.other { 0o1000 } else { 0 };
        self.permissions() & PERMISSIONS | self.set_id() | sticky
    }
}

/// `[ugoa]*` and then at least one operator with its letters.
fn parse_clause(clause: &[u8], steps: &mut Vec<Step>) -> Result<(), &'static str> {
    let split = clause.iter().position(|b| b"+-=".contains(b)).ok_or("a clause has none of + - =")?;
    let (named, mut rest) = clause.split_at(split);
    let mut who = Who::default();
    for letter in named {
        match letter {
            b'u' => who.user = true,
            b'g' => who.group = true,
            b'o' => who.other = true,
            b'a' => who = Who::ALL,
            _ => return Err("before + - = only u, g, o and a may stand"),
        }
    }
    if named.is_empty() {
        who = Who::ALL;
    }
    while let Some((symbol, tail)) = rest.split_first() {
        let operator = match symbol {
            b'+' => Operator::Add,
            b'-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = tail.iter().position(|b| b"+-=".contains(b)).unwrap_or(tail.len());
        let (letters, next) = tail.split_at(end);
        steps.push(Step { who, operator, what: parse_what(letters)? });
        rest = next;
    }
    Ok(())
}

fn parse_what(letters: &[u8]) -> Result<What, &'static str> {
    match letters {
        b"u" => return Ok(What::CopyOf(6)),
        b"g" => return Ok(What::CopyOf(3)),
        b"o" => return Ok(What::CopyOf(0)),
        _ => {}
    }
    let mut what = Letters::default();
    for letter in letters {
        match letter {
            b'r' => what.rwx |= 4,
            b'w' => what.rwx |= 2,
            b'x' => what.rwx |= 1,
            b'X' => what.execute_if_useful = true,
            b's' => what.set_id = true,
            b't' => what.sticky = true,
            _ => return Err("after + - = only r, w, x, X, s, t, or one of u, g, o, may stand"),
        }
    }
    Ok(What::Letters(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_as_chmod_does() {
        for (text, target, old, new) in [
            ("755", Target::Other, 0o644, 0o755),
            ("0", Target::Dir, 0o755, 0),
            ("07777", Target::Other, 0o644, 0o7777),
            ("4755", Target::Other, 0o644, 0o4755),
            ("755", Target::Other, 0o6644, 0o755),
            ("u=rwX,go=rX", Target::Other, 0o600, 0o644),
            ("u=rwX,go=rX", Target::Other, 0o700, 0o755),
            ("u=rwX,go=rX", Target::Dir, 0o700, 0o755),
            ("a+x", Target::Other, 0o644, 0o755),
            ("+x", Target::Other, 0o644, 0o755),
            ("+X", Target::Other, 0o644, 0o644),
            ("+X", Target::Other, 0o744, 0o755),
            ("+X", Target::Dir, 0o600, 0o711),
            ("a-x,a+X", Target::Other, 0o755, 0o755),
            ("go-rwx", Target::Other, 0o777, 0o700),
            ("g=u", Target::Other, 0o750, 0o770),
            ("o=", Target::Other, 0o757, 0o750),
            ("u+s,g+s,+t", Target::Other, 0o755, 0o7755),
            ("u=rw", Target::Other, 0o4755, 0o655),
            ("g=rx", Target::Dir, 0o2770, 0o750),
            ("u+r-w=x", Target::Other, 0o644, 0o144),
            ("o+s", Target::Other, 0o644, 0o644),
            ("+X", Target::Other, 0o100_744, 0o755),
        ] {
            let got = Chmod::parse(text).unwrap().apply(old, target);
            assert_eq!(got, new, "{text} on {old:o} {target:?}: {got:o}");
        }
    }

    #[test]
    fn refuses_what_is_neither_form() {
        for text in ["", "8", "0o755", "10000", "99999999999999999999", "x", "u", "u=q", "z+x", "u+x,", "-1", "u+x g-x"]
        {
            assert!(Chmod::parse(text).is_err(), "{text:?}");
        }
    }
}
