//! Taking out of objects and logs what looks like a secret. Pure.
//!
//! The operator's objects hold no secrets: pods get them as mounted files. But users write variables of their own (`podOverrides`), and addresses with
//! a password in them. Guarantee: Secrets are never read, so what is here is the second line. It errs on the side of taking out too much.

use std::sync::LazyLock;

use regex::{Regex, Replacer};
use serde_json::Value;

/// What stands for what was taken out.
pub const REDACTED: &str = "REDACTED";

/// Names of variables and fields whose values are secret.
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(passw(or)?d|passphrase|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key)",
    )
    .ok()
});
/// `scheme://user:password@`.
static LOGIN_IN_ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@").ok());
/// `password=…`, `"token":"…"`, `Authorization: Bearer …`.
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?i)(?P<name>(passw(or)?d|passphrase|token|api[-_]?key|access[-_]?key|authorization)["']?\s*[=:]\s*["']?)"#,
        r#"(?P<kind>(bearer|basic)\s+)?[^\s"',;}]+"#
    ))
    .ok()
});
/// A key in the form of a file.
static KEY_BLOCK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|\z)").ok()
});

/// Takes secrets out of text.
pub fn text(text: &str) -> String {
    let text = replaced(&KEY_BLOCK, text, REDACTED);
    let text = replaced(&LOGIN_IN_ADDRESS, &text, "${scheme}REDACTED@");
    replaced(&ASSIGNED, &text, "${name}REDACTED")
}

/// Takes secrets out of an object, and what nobody needs to read: who manages which field.
pub fn object(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.remove("kubectl.kubernetes.io/last-applied-configuration");
            let is_secret_variable = fields.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            for (name, field) in fields.iter_mut() {
                let is_secret = is_secret_variable && name == "value" || holds_secret(name);
                if is_secret && field.is_string() {
                    *field = REDACTED.into();
                } else {
                    object(field);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(object),
        Value::String(found) => *found = text(found),
        _ => {}
    }
}

/// Fields whose name says that they hold a secret. Those that name a Secret (`loginSecret: radiology-kafka`) say where to look and stay.
fn holds_secret(name: &str) -> bool {
    is_secret_name(name) && !name.ends_with("Secret") && !name.ends_with("Name")
}

fn is_secret_name(name: &str) -> bool {
    // A pattern that did not compile would take out nothing, so then everything is secret.
    SECRET_NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

fn replaced(pattern: &LazyLock<Option<Regex>>, text: &str, with: impl Replacer) -> String {
    match pattern.as_ref() {
        Some(pattern) => pattern.replace_all(text, with).into_owned(),
        None => REDACTED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_in_text_are_taken_out_and_the_rest_stays() {
        for (before, after) in [
            ("redis://user:p4ss@redis:6379/0", "redis://REDACTED@redis:6379/0"),
            ("mysql://catalog:a:b@db/medindex failed", "mysql://REDACTED@db/medindex failed"),
            ("password=hunter2, retry", "password=REDACTED, retry"),
            (r#"{"token":"abc.def","id":7}"#, r#"{"token":"REDACTED","id":7}"#),
            ("Authorization: Bearer eyJhbGciOi.J9", "Authorization: REDACTED"),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a REDACTED b"),
            ("a -----BEGIN PRIVATE KEY-----\ncut off", "a REDACTED"),
            (
                "http://radiology-gateway.imaging.svc:80/status",
                "http://radiology-gateway.imaging.svc:80/status",
            ),
            ("tokens are counted, 3 passwords expired", "tokens are counted, 3 passwords expired"),
        ] {
            assert_eq!(text(before), after);
        }
    }

    #[test]
    fn secrets_in_objects_are_taken_out_and_names_of_secrets_stay() {
        let mut found = json!({
            "metadata": {"managedFields": [1], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {
                "kafka": {"loginSecret": "radiology-kafka", "password": "x"},
                "containers": [{"env": [
                    {"name": "AWS_SECRET_ACCESS_KEY", "value": "s3cr3t"},
                    {"name": "MEDINDEX_LOG", "value": "info"},
                    {"name": "PROXY", "value": "http://me:pw@proxy:3128"},
                    {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                ]}],
                "volumes": [{"secret": {"secretName": "radiology-kafka"}}],
            },
        });
        object(&mut found);
        assert_eq!(
            found,
            json!({
                "metadata": {"annotations": {}},
                "spec": {
                    "kafka": {"loginSecret": "radiology-kafka", "password": "REDACTED"},
                    "containers": [{"env": [
                        {"name": "AWS_SECRET_ACCESS_KEY", "value": "REDACTED"},
                        {"name": "MEDINDEX_LOG", "value": "info"},
                        {"name": "PROXY", "value": "http://REDACTED@proxy:3128"},
                        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    ]}],
                    "volumes": [{"secret": {"secretName": "radiology-kafka"}}],
                },
            })
        );
    }
}
