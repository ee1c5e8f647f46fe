//! The checks that the YAML types alone cannot make.

use super::{ClassificationSettings, InputSettings, Labels, Manifest, SCHEMA};

/// One field that cannot be right.
pub(super) struct Invalid {
    pub(super) field: String,
    pub(super) problem: String,
}

/// Largest edge of a model input, in pixels: beyond it a batch no longer fits in memory.
const MAX_EDGE: u32 = 4096;

/// Largest embedding: the index keeps every vector, so more than this is a mistake.
const MAX_DIMENSION: usize = 16_384;

fn refuse<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field: field.into(), problem: problem.into() })
}

/// Checks everything in `manifest` that can be checked without its files.
pub(super) fn validate(manifest: &Manifest) -> Result<(), Invalid> {
    if manifest.schema != SCHEMA {
        return refuse("schema", format!("is {}, but this version reads {SCHEMA}", manifest.schema));
    }
    validate_name(&manifest.name)?;
    if manifest.version == 0 {
        return refuse("version", "is 0; the first version is 1");
    }
    for (field, text) in
        [("description", &manifest.description), ("licence", &manifest.licence), ("source", &manifest.source)]
    {
        if text.trim().is_empty() {
            return refuse(field, "is empty");
        }
    }
    validate_files(manifest)?;
    validate_embedding(manifest)?;
    manifest.classification.as_ref().map_or(Ok(()), |settings| validate_classification(manifest, settings))
}

fn validate_name(name: &str) -> Result<(), Invalid> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
        return refuse("name", format!("is {name:?}; use lower-case letters, digits and hyphens"));
    }
    Ok(())
}

fn validate_files(manifest: &Manifest) -> Result<(), Invalid> {
    for (file, digest) in &manifest.files {
        // A file name, never a path: the folder is the model, and nothing outside it belongs to it.
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\']) {
            return refuse(
                "files",
                format!("names {file:?}; only plain file names in the model's folder are allowed"),
            );
        }
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return refuse(format!("files.{file}"), "is not a SHA-256 in 64 lower-case hex digits");
        }
    }
    Ok(())
}

fn validate_embedding(manifest: &Manifest) -> Result<(), Invalid> {
    let embedding = &manifest.embedding;
    require_file(manifest, "embedding.graph", &embedding.graph)?;
    validate_input("embedding.input", &embedding.input)?;
    require_text("embedding.output", &embedding.output)?;
    if embedding.dimension == 0 || embedding.dimension > MAX_DIMENSION {
        return refuse(
            "embedding.dimension",
            format!("is {}; it must be 1..={MAX_DIMENSION}", embedding.dimension),
        );
    }
    if !embedding.normalise {
        return refuse(
            "embedding.normalise",
            "is false, but distances are cosine distances of unit vectors; set it to true",
        );
    }
    Ok(())
}

fn validate_classification(manifest: &Manifest, settings: &ClassificationSettings) -> Result<(), Invalid> {
    require_file(manifest, "classification.graph", &settings.graph)?;
    validate_input("classification.input", &settings.input)?;
    require_text("classification.output", &settings.output)?;
    match &settings.labels {
        Labels::List(labels) if labels.is_empty() => refuse("classification.labels", "is empty"),
        Labels::List(_) => Ok(()),
        Labels::File(file) => require_file(manifest, "classification.labels", file),
    }
}

fn require_file(manifest: &Manifest, field: &str, file: &str) -> Result<(), Invalid> {
    if manifest.files.contains_key(file) {
        return Ok(());
    }
    refuse(field, format!("is {file:?}, which is not among `files`; name it there with its SHA-256"))
}

fn require_text(field: &str, text: &str) -> Result<(), Invalid> {
    if text.trim().is_empty() { refuse(field, "is empty") } else { Ok(()) }
}

fn validate_input(field: &str, input: &InputSettings) -> Result<(), Invalid> {
    require_text(&format!("{field}.name"), &input.name)?;
    for (edge, value) in [("width", input.width), ("height", input.height)] {
        if value == 0 || value > MAX_EDGE {
            return refuse(
                format!("{field}.{edge}"),
                format!("is {value}; it must be 1..={MAX_EDGE} pixels"),
            );
        }
    }
    if !input.mean.iter().all(|mean| mean.is_finite()) {
        return refuse(format!("{field}.mean"), "is not finite");
    }
    if !input.scale.iter().all(|scale| scale.is_finite() && *scale != 0.0) {
        return refuse(format!("{field}.scale"), "must be finite and not 0");
    }
    Ok(())
}
