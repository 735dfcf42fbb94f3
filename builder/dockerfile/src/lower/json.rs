//! The exec form: is an argument a JSON array of strings?
//!
//! An array that is not well formed is the shell form, without a word: `[ -f x ]` is a command.

use super::Cx;
use serde_json::Value;
use serde_json::value::RawValue;

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
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Some(Form::Shell) };
    let mut strings = Vec::with_capacity(values.len());
    for raw in values {
        match serde_json::from_str(raw.get()) {
            Ok(Value::String(text)) => strings.push(text),
            Ok(other) => {
                let message = format!("the array of {} holds {}, not a string", cx.node.keyword, kind(&other));
                return cx.fail_on(raw.get(), "NotAStringArray", message, "put every element in double quotes");
            }
            // A part that is no value makes the whole no array.
            Err(_) => return Some(Form::Shell),
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
