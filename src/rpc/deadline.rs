//! The caller's deadline in the headers of gRPC.

use std::time::Duration;

use http::HeaderMap;

/// The error of a malformed `grpc-timeout` header.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Return the deadline in the `grpc-timeout` header (up to eight digits and a unit), or `None` without the header.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    headers.get("grpc-timeout").map(|value| value.to_str().ok().and_then(parse).ok_or(Malformed)).transpose()
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 60 * 60),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_digits_and_a_unit_and_other_text_is_malformed() {
        let read = |text: &str| {
            grpc_timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(grpc_timeout(&HeaderMap::new()), Ok(None));
        assert_eq!(read("250m"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(read("99999999H"), Ok(Some(Duration::from_secs(99_999_999 * 3_600))));
        for wrong in ["", "m", "5", "123456789S", "-1S", "1 S", "1s", " 1S", "é"] {
            assert_eq!(
                grpc_timeout(&HeaderMap::from_iter([(
                    "grpc-timeout".parse().unwrap(),
                    http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap(),
                )])),
                Err(Malformed),
                "{wrong}"
            );
        }
    }
}
