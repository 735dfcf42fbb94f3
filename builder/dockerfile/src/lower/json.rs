//! The exec form: is an argument a JSON array of strings?
//!
//! An array that is not well formed is the shell form, without a word: `[ -f x ]` is a command.

use super::Cx;
use serde_json::Value;

/// The strings of the array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Not an array.
    Shell,
    /// An array of strings.
    Exec(Vec<String>),
}

/// Reads an argument. Nothing is given, and an error told, for an array that holds other things than strings.
pub(super) fn read(cx: &mut Cx<'_>, text: &str) -> Option<Form> {
    if !text.trim_start().starts_with('[') {
        return Some(Form::Shell);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else { return Some(Form::Shell) };
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Value::String(text) => strings.push(text),
            other => {
                let message = format!("the array of {} holds {}, not a string", cx.node.keyword, kind(&other));
                return cx.fail_hint("NotAStringArray", message, "put every element in double quotes");
            }
        }
    }
    Some(Form::Exec(strings))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
