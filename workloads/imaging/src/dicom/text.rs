//! Text in its character set, and dates as numbers (PS3.5 6.1, 6.2).

use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::data_set::{DataSet, Tag};

const SPECIFIC_CHARACTER_SET: Tag = 0x0008_0005;
const TIMEZONE_OFFSET: Tag = 0x0008_0201;

/// The first value of a text element in the data set's character set, trimmed; `None` where empty.
///
/// Text that its character set cannot read is kept with replacement characters.
pub(crate) fn text(data_set: &DataSet<'_>, tag: Tag) -> Option<String> {
    let bytes = data_set.get(tag)?.bytes;
    let decoded = match character_set(data_set) {
        Some(set) => set.decode(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned()),
        // Without a character set many write UTF-8, some Latin-1.
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
    };
    let trimmed: String = decoded
        .split('\\')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let trimmed = trimmed.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The declared character set; with code extensions the first one that is not the default.
fn character_set(data_set: &DataSet<'_>) -> Option<SpecificCharacterSet> {
    let value = data_set.get(SPECIFIC_CHARACTER_SET)?;
    let names = String::from_utf8_lossy(value.bytes);
    let sets = names.split('\\').map(|name| name.trim_matches([' ', '\0']));
    sets.filter(|name| !matches!(*name, "" | "ISO_IR 6" | "ISO 2022 IR 6"))
        .find_map(SpecificCharacterSet::from_code)
}

/// A DA value as `YYYY-MM-DD`; the retired form with points is read too.
pub(crate) fn iso_date(data_set: &DataSet<'_>, tag: Tag) -> Option<String> {
    let (year, month, day) = date(&data_set.code(tag)?)?;
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// Milliseconds since 1970 of the acquisition, else of content, series or study.
pub(crate) fn acquired_ms(data_set: &DataSet<'_>) -> Option<i64> {
    const ACQUISITION_DATE_TIME: Tag = 0x0008_002A;
    const DATES_AND_TIMES: [(Tag, Tag); 4] = [
        (0x0008_0022, 0x0008_0032),
        (0x0008_0023, 0x0008_0033),
        (0x0008_0021, 0x0008_0031),
        (0x0008_0020, 0x0008_0030),
    ];
    let offset = data_set.code(TIMEZONE_OFFSET).and_then(|text| offset_minutes(&text)).unwrap_or(0);
    if let Some(ms) = data_set.code(ACQUISITION_DATE_TIME).and_then(|text| date_time(&text, offset)) {
        return Some(ms);
    }
    DATES_AND_TIMES.into_iter().find_map(|(date_tag, time_tag)| {
        let days = days_of(date(&data_set.code(date_tag)?)?);
        let time = data_set.code(time_tag).and_then(|text| time_ms(&text)).unwrap_or(0);
        Some(days * 86_400_000 + time - offset * 60_000)
    })
}

/// A DT value: `YYYYMMDDHHMMSS.FFFFFF&ZZXX`, with its own offset before that of the data set.
fn date_time(text: &str, offset: i64) -> Option<i64> {
    let sign = text.find(['+', '-']);
    let (local, offset) = match sign {
        Some(at) => (&text[..at], offset_minutes(&text[at..])?),
        None => (text, offset),
    };
    let days = days_of(date(local.get(..8)?)?);
    let time = local.get(8..).filter(|rest| !rest.is_empty()).map_or(Some(0), time_ms)?;
    Some(days * 86_400_000 + time - offset * 60_000)
}

/// `&ZZXX` in minutes.
fn offset_minutes(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i64 = digits(text.get(1..3)?)?;
    let minutes: i64 = digits(text.get(3..5)?)?;
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn date(text: &str) -> Option<(i64, i64, i64)> {
    let plain: String = text.chars().filter(|letter| *letter != '.' && *letter != '-').collect();
    let (year, month, day) = (digits(plain.get(..4)?)?, digits(plain.get(4..6)?)?, digits(plain.get(6..8)?)?);
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year > 0 && (1..=days).contains(&day)).then_some((year, month, day))
}

/// A TM value in milliseconds of the day: `HH`, `HHMM`, `HHMMSS` or with a fraction; colons are skipped.
fn time_ms(text: &str) -> Option<i64> {
    let plain: String = text.chars().filter(|letter| *letter != ':').collect();
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let part = |range: std::ops::Range<usize>| match whole.get(range) {
        Some(part) => digits(part),
        None => Some(0),
    };
    let (hours, minutes, seconds) = (part(0..2)?, part(2..4)?, part(4..6)?);
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let ms = digits(&thousandths)?;
    // A leap second counts as the second before.
    (hours < 24 && minutes < 60 && seconds <= 60)
        .then_some(((hours * 60 + minutes) * 60 + seconds.min(59)) * 1000 + ms)
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant, `days_from_civil`).
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(days_of((1970, 1, 1)), 0);
        assert_eq!(days_of((2000, 2, 29)), 11_016);
        assert_eq!(days_of((1969, 12, 31)), -1);
        assert_eq!(date("20010229"), None);
        assert_eq!(date("1997.04.24"), Some((1997, 4, 24)));
    }

    #[test]
    fn times_and_offsets_are_read() {
        assert_eq!(time_ms("112749.5"), Some(41_269_500));
        assert_eq!(time_ms("11"), Some(39_600_000));
        assert_eq!(time_ms("25"), None);
        assert_eq!(offset_minutes("-0430"), Some(-270));
        let noon_in_berlin = date_time("20260101120000.000+0100", 0);
        assert_eq!(noon_in_berlin, date_time("20260101110000", 0));
        assert_eq!(noon_in_berlin, date_time("20260101120000", 60));
    }
}
