//! A panic inside somebody else's decoder becomes an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::ImagingError;

/// Runs `decode`, turning a panic into [`ImagingError::DecoderFault`] that names `decoder`.
///
/// What `decode` borrows mutably is to be thrown away after a fault: it may be half written.
pub(crate) fn contained<T>(
    decoder: &'static str,
    decode: impl FnOnce() -> Result<T, ImagingError>,
) -> Result<T, ImagingError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let detail = message_of(panic.as_ref());
        tracing::warn!(decoder, detail, "a decoder panicked; its file is refused");
        Err(ImagingError::DecoderFault { decoder, detail })
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_decoder() {
        let error = contained::<()>("test", || panic!("index 7 out of range")).unwrap_err();
        assert_eq!(error.code(), "decoder_fault");
        assert!(error.to_string().contains("test decoder stopped on a fault (index 7 out of range)"));
    }
}
