//! Instants as people write them.

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

const EXPECTED: &str = "write a time of day (9:03), a day (2026-11-22), or both (2026-11-22 9:03), in your time zone; a \
                        time with its zone (2026-11-22T09:03:00Z); or a time span before now (90m)";

/// An instant, and the end of the day, minute or second that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Read an instant, or a time span before now.
pub(super) fn when(text: &str) -> Result<When, String> {
    read(text, &Zoned::now()).ok_or_else(|| EXPECTED.to_owned())
}

/// Read an instant in the past: a time of day later than now is yesterday's.
pub(super) fn past(text: &str) -> Result<When, String> {
    if humantime::parse_duration(text).is_ok() {
        return Err(format!("`{text}` is a time span; give it to --since"));
    }
    read_past(text, &Zoned::now()).ok_or_else(|| EXPECTED.to_owned())
}

fn read_past(text: &str, now: &Zoned) -> Option<When> {
    let found = read(text, now)?;
    let is_of_today = text.contains(':') && !text.contains(['-', 'T']);
    if is_of_today && found.start > now.timestamp() { read(text, &now.yesterday().ok()?) } else { Some(found) }
}

impl When {
    pub(super) fn start(self) -> prost_types::Timestamp {
        to_proto(self.start)
    }

    pub(super) fn end(self) -> prost_types::Timestamp {
        to_proto(self.end)
    }
}

fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

fn read(text: &str, now: &Zoned) -> Option<When> {
    let second = Span::new().seconds(1);
    if let Ok(ago) = humantime::parse_duration(text) {
        let start = now.timestamp().checked_sub(jiff::SignedDuration::try_from(ago).ok()?).ok()?;
        return Some(When { start, end: start.checked_add(second).ok()? });
    }
    if let Ok(start) = text.parse::<Timestamp>() {
        return Some(When { start, end: start.checked_add(second).ok()? });
    }
    if let Ok(day) = text.parse::<civil::Date>()
        && !text.contains([' ', 'T'])
    {
        let at_midnight = |day: civil::Date| Some(day.to_zoned(now.time_zone().clone()).ok()?.timestamp());
        return Some(When { start: at_midnight(day)?, end: at_midnight(day.tomorrow().ok()?)? });
    }
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day.parse::<civil::Date>().ok()?, time),
        None => (now.date(), text),
    };
    // `9:03` is `09:03`.
    let padded = if time.find(':') == Some(1) { format!("0{time}") } else { time.to_owned() };
    let precision = if padded.matches(':').count() == 1 { Span::new().minutes(1) } else { second };
    let time = padded.parse::<civil::Time>().ok()?;
    let start = TimeZone::to_ambiguous_timestamp(now.time_zone(), day.to_datetime(time)).compatible().ok()?;
    Some(When { start, end: start.checked_add(precision).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Zoned = "2026-11-22T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let read = |text| read(text, &now).map(|when| format!("{}/{}", when.start, when.end));
        let minute = Some("2026-11-22T08:03:00Z/2026-11-22T08:04:00Z".to_owned());
        for text in ["9:03", "09:03", "2026-11-22 9:03", "2026-11-22T09:03"] {
            assert_eq!(read(text), minute, "{text}");
        }
        let second = Some("2026-11-22T08:03:00Z/2026-11-22T08:03:01Z".to_owned());
        for text in ["9:03:00", "2026-11-22T08:03:00Z", "2026-11-22T09:03:00+01:00"] {
            assert_eq!(read(text), second, "{text}");
        }
        assert_eq!(read("2h").unwrap(), "2026-11-22T09:00:00Z/2026-11-22T09:00:01Z");
        assert_eq!(read("2026-11-22").unwrap(), "2026-11-21T23:00:00Z/2026-11-22T23:00:00Z");
        let past = |text| read_past(text, &now).map(|when| when.start.to_string());
        assert_eq!(past("9:03").unwrap(), "2026-11-22T08:03:00Z");
        assert_eq!(past("13:00").unwrap(), "2026-11-21T12:00:00Z");
        assert_eq!(past("2026-11-22 13:00").unwrap(), "2026-11-22T12:00:00Z");
        for text in ["", "9", "25:00", "yesterday", "2026-13-01 9:00"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
