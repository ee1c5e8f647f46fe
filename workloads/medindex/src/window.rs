//! Grey windows as the command line takes them, with what is wrong about those that it does not.

use std::str::FromStr;

use medindex_imaging::UnknownWindow;

/// Reads a window: a name, or `CENTER,WIDTH`.
///
/// # Errors
/// What is wrong with the text, and how to write a window.
pub(crate) fn parse_window<T: FromStr<Err = UnknownWindow>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: UnknownWindow| {
        if is_too_narrow(text) {
            format!(
                "the width of the window '{text}' is below 1, but has to be at least 1 (DICOM PS3.3 C.11.2.1.2); write the name of a window, or CENTER,WIDTH such as 40,400"
            )
        } else {
            error.to_string()
        }
    })
}

/// Whether a text is a centre and a width, and the width is the only thing wrong.
fn is_too_narrow(text: &str) -> bool {
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let Some((center, width)) = text.split_once(',') else { return false };
    number(center).is_some() && number(width).is_some_and(|width| width < 1.0)
}

#[cfg(test)]
mod tests {
    use medindex_imaging::WindowChoice;
    use medindex_sources::LesionWindow;

    use super::*;

    #[test]
    fn a_width_below_one_is_told_as_that() {
        for narrow in ["40,0", "40,-400", "40, 0.5"] {
            let refusal = parse_window::<WindowChoice>(narrow).unwrap_err();
            assert!(refusal.contains("at least 1 (DICOM PS3.3 C.11.2.1.2)"), "{narrow}: {refusal}");
            assert!(refusal.contains("CENTER,WIDTH") && !refusal.contains("unknown"), "{narrow}: {refusal}");
            assert_eq!(parse_window::<LesionWindow>(narrow).unwrap_err(), refusal);
        }
    }

    #[test]
    fn what_is_no_window_at_all_is_unknown() {
        for wrong in ["lungs", "40", "40,nan", "x,0", "40,400,2"] {
            let refusal = parse_window::<WindowChoice>(wrong).unwrap_err();
            assert!(refusal.contains("unknown window"), "{wrong}: {refusal}");
        }
        let wide = WindowChoice::Explicit { center: 40.0, width: 400.0 };
        assert_eq!(parse_window::<WindowChoice>("40,400"), Ok(wide));
    }
}
