//! What the markers of a JPEG file tell where its decoder refuses it, or would be silent (ITU-T T.81, annex B).

/// True where a JPEG's end mark follows its first scan; one in an embedded thumbnail does not count.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    let scan = find(bytes, |kind| kind == 0xDA);
    scan.is_some_and(|scan| bytes[scan..].windows(2).any(|pair| pair == [0xFF, 0xD9]))
}

/// What the frame header declares and the decoder does not read; `None` where it reads it, or there is no frame header.
pub(super) fn unread(bytes: &[u8]) -> Option<String> {
    let header = find(bytes, |kind| (0xC0..=0xCF).contains(&kind) && !matches!(kind, 0xC4 | 0xC8 | 0xCC))?;
    let (kind, bits) = (*bytes.get(header + 1)?, *bytes.get(header + 4)?);
    match kind {
        0xC0..=0xC2 if (9..=16).contains(&bits) => Some(format!("lossy pixels of {bits} bits per sample")),
        0xC0..=0xC2 => None,
        0xC3 => Some("losslessly compressed pixels".to_owned()),
        0xC5..=0xC7 => Some("pixels of a hierarchical process".to_owned()),
        _ => Some("arithmetic-coded pixels".to_owned()),
    }
}

/// Where the first wanted marker is, no further than the first scan.
fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut position = 2;
    loop {
        let [0xFF, kind, high, low] = *bytes.get(position..)?.first_chunk::<4>()? else { return None };
        if wanted(kind) {
            return Some(position);
        }
        match kind {
            0xDA => return None,
            0xFF => position += 1,
            _ => position += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_frame(kind: u8, bits: u8) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0xFF, 0xC0, 0xFF];
        file.extend([0xFF, kind, 0, 11, bits, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        file
    }

    #[test]
    fn what_is_not_read_is_named_by_the_frame_header() {
        for (kind, bits, words) in [
            (0xC1, 12, "12 bits"),
            (0xC3, 16, "losslessly"),
            (0xC6, 8, "hierarchical"),
            (0xC9, 8, "arithmetic-coded"),
        ] {
            assert!(unread(&with_frame(kind, bits)).is_some_and(|found| found.contains(words)), "{words}");
        }
        assert_eq!(unread(&with_frame(0xC2, 8)), None);
        // A depth that no JPEG has is damage.
        assert_eq!(unread(&with_frame(0xC0, 77)), None);
        assert_eq!(unread(&[0xFF, 0xD8, 0xFF]), None);
    }

    #[test]
    fn an_end_mark_counts_after_the_first_scan_only() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xE1, 0, 4, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0, 2, 1, 2, 3];
        assert!(!has_end(&[&thumbnail[..], &scan].concat()));
        assert!(has_end(&[&thumbnail[..], &scan, &[0xFF, 0xD9]].concat()));
    }
}
