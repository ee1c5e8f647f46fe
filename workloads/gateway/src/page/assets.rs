//! Style, script and icon, embedded in the program.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::problem::{Problem, ProblemKind};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const ICON: &str = include_str!("icon.svg");

/// Fingerprint of all assets: it is part of their addresses, so browsers may keep them for ever.
const VERSION: u64 = fingerprint(&[STYLE, SCRIPT, ICON]);

/// FNV-1a, 64 bits.
const fn fingerprint(texts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut text = 0;
    while text < texts.len() {
        let bytes = texts[text].as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        text += 1;
    }
    hash
}

/// Address of an asset.
pub(crate) fn address(name: &str) -> String {
    format!("/assets/{VERSION:016x}/{name}")
}

/// The asset of this name, when the version is the present one.
pub(crate) fn find(version: &str, name: &str) -> Result<Response, Problem> {
    let (content_type, text) = match name {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Err(missing()),
    };
    if version != format!("{VERSION:016x}") {
        return Err(missing());
    }
    let for_ever = "public, max-age=31536000, immutable";
    Ok(([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, for_ever)], text).into_response())
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such asset; load the page again")
}
