//! Holds answers against the `OpenAPI` document, with properties that it does not know refused.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Answer;

/// Checks the JSON body of an answer; other bodies only for their media type.
#[track_caller]
pub(crate) fn check(document: &Value, method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(document, method, path) else { return };
    let responses = &operation["responses"];
    let status = answer.status.as_u16().to_string();
    let response = responses.get(&status).unwrap_or(&responses["default"]);
    assert!(
        answer.status.is_client_error()
            || answer.status.is_server_error()
            || responses.get(&status).is_some()
    );
    let media_type = answer.header("content-type").split(';').next().unwrap();
    if !media_type.ends_with("json") {
        return;
    }
    let schema = &response["content"][media_type]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path} answers {status} {media_type}, which the document does not say"
    );
    let errors: Vec<String> = validator(document, schema)
        .iter_errors(&answer.json())
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{method} {path} answers {status} against its schema: {errors:#?}\n{}",
        answer.text()
    );
}

/// The operation that the document has for a path.
pub(crate) fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let paths = document["paths"].as_object()?;
    let exact = paths.get(path);
    let item =
        exact.or_else(|| paths.iter().find(|(template, _)| matches(template, path)).map(|(_, item)| item))?;
    item.get(method.as_str().to_ascii_lowercase())
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(wanted, found)| wanted.starts_with('{') || *wanted == found)
}

fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut components = document["components"].clone();
    close(&mut components["schemas"]);
    let whole = json!({ "allOf": [schema], "components": components });
    jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
}

/// Refuses properties that are not named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object) {
                object.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
