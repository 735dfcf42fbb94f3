//! Answers for programs: BuildKit's field names (`frontend/subrequests`), so that what reads its answers reads these.

use super::{Checked, REQUESTS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_plan::call::Location;
use serde::Serialize;
use serde_json::{Value, json};

/// What the checks found.
pub fn checked(checked: &Checked<'_>) -> Value {
    let warnings = checked.findings.iter().map(|f| {
        json!({
            "ruleName": f.rule.id,
            "description": f.rule.description,
            "url": f.rule.page(),
            "detail": f.detail,
            "location": Location::from(f.span),
        })
    });
    let mut answer = json!({
        "warnings": warnings.collect::<Vec<_>>(),
        "sources": [{
            "filename": checked.name,
            "language": "Dockerfile",
            "data": STANDARD.encode(checked.text),
        }],
    });
    if let (Some(error), Some(fields)) = (checked.error, answer.as_object_mut()) {
        let location = match error.span.start {
            0 => Location { ranges: Vec::new() },
            _ => Location::from(error.span),
        };
        let error = json!({"message": error.message, "location": location});
        fields.insert("buildError".to_owned(), error);
    }
    if let (false, Some(fields)) = (checked.errors.is_empty(), answer.as_object_mut()) {
        let errors = checked.errors.iter().map(|error| placed(checked.name, error));
        fields.insert("errors".to_owned(), errors.collect());
    }
    answer
}

/// An error with the file that it is in. BuildKit has no such list, so the fields are those of [`Diagnostic`].
fn placed(file: &str, error: &Diagnostic) -> Value {
    let mut value = serde_json::to_value(error).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("file".to_owned(), file.into());
    }
    value
}

/// An outline or a list of targets, with the Dockerfile.
pub fn with_source(value: &impl Serialize, text: &str) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("sources".to_owned(), json!([STANDARD.encode(text)]));
    }
    value
}

/// What can be asked.
pub fn requests() -> Value {
    let request = |(name, says): &(&str, &str)| {
        json!({
            "name": format!("frontend.{name}"),
            "version": "1.0.0",
            "type": "rpc",
            "description": says,
            "opts": if *name == "outline" { json!([{"name": "target", "description": "Target build stage"}]) } else { json!([]) },
            "metadata": [{"name": "result.json"}, {"name": "result.txt"}],
        })
    };
    Value::Array(REQUESTS.iter().map(request).collect())
}
