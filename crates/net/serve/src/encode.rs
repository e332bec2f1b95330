//! Writing a response's head. Pure: a response in, bytes out.

use std::io::Write;

use bytes::BytesMut;
use http::{StatusCode, Version};

use crate::response::{Response, ResponseBody};

/// How the end of a response's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// No body follows.
    None,
    /// The bytes at hand follow.
    Length,
    /// Chunks follow.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// What the request allows the response to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    pub(crate) keep_alive: bool,
    /// Seconds since the epoch, for `Date`.
    pub(crate) now_s: u64,
}

/// Writes the head of `response`: how its body is framed, and whether the
/// connection may be used again after it.
pub(crate) fn head(
    response: &Response,
    context: Context,
    out: &mut BytesMut,
) -> (BodyFraming, bool) {
    let framing = framing(response, context);
    let taken = matches!(response.body, ResponseBody::TakeOver(_));
    let keep_alive = context.keep_alive && framing != BodyFraming::UntilClose && !taken;

    let status = response.status;
    line(
        out,
        format_args!("HTTP/1.1 {} {}", status.as_u16(), reason(status)),
    );
    for (name, value) in &response.headers {
        title_case(name.as_str(), out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"\r\n");
        return (framing, false);
    }
    line(out, format_args!("Date: {}", http_date(context.now_s)));
    match framing {
        BodyFraming::Length => {
            let length = response.body_bytes().map_or(0, <[u8]>::len);
            line(out, format_args!("Content-Length: {length}"));
        }
        BodyFraming::Chunked => line(out, format_args!("Transfer-Encoding: chunked")),
        BodyFraming::None if declares_no_length(response) => {}
        BodyFraming::None => match &response.body {
            ResponseBody::Bytes(bytes) => {
                line(out, format_args!("Content-Length: {}", bytes.len()));
            }
            ResponseBody::Empty => line(out, format_args!("Content-Length: 0")),
            _ => {}
        },
        BodyFraming::UntilClose => {}
    }
    // The older take-over has no Connection field in dockerd, and a client
    // that reads a raw stream must not take `close` for its end.
    if !keep_alive && !taken {
        line(out, format_args!("Connection: close"));
    } else if keep_alive && context.version == Version::HTTP_10 {
        line(out, format_args!("Connection: keep-alive"));
    }
    out.extend_from_slice(b"\r\n");
    (framing, keep_alive)
}

fn framing(response: &Response, context: Context) -> BodyFraming {
    let taken = matches!(response.body, ResponseBody::TakeOver(_));
    if taken {
        return BodyFraming::UntilClose;
    }
    if context.is_head || declares_no_length(response) {
        return BodyFraming::None;
    }
    match &response.body {
        ResponseBody::Empty | ResponseBody::Bytes(_) => BodyFraming::Length,
        _ if context.version == Version::HTTP_10 => BodyFraming::UntilClose,
        _ => BodyFraming::Chunked,
    }
}

/// Statuses whose responses never have a body, RFC 9110 section 6.4.1.
fn declares_no_length(response: &Response) -> bool {
    response.status.is_informational()
        || response.status == StatusCode::NO_CONTENT
        || response.status == StatusCode::NOT_MODIFIED
}

/// dockerd says `UPGRADED` for 101, and clients were seen to print it.
fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => "UPGRADED",
        status => status.canonical_reason().unwrap_or("Unknown"),
    }
}

/// `content-type` → `Content-Type`: names are the same in any case, and
/// people who read them are used to this one.
fn title_case(name: &str, out: &mut BytesMut) {
    let mut begins = true;
    for byte in name.bytes() {
        out.extend_from_slice(&[if begins {
            byte.to_ascii_uppercase()
        } else {
            byte
        }]);
        begins = byte == b'-';
    }
}

fn line(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    let mut writer = bytes::BufMut::writer(&mut *out);
    writer
        .write_fmt(text)
        .expect("invariant: a growing buffer takes every write");
    out.extend_from_slice(b"\r\n");
}

/// IMF-fixdate, RFC 9110 section 5.6.7.
fn http_date(now_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (now_s / 86_400, now_s % 86_400);
    let (year, month, day) = civil_from_days(days);
    let weekday = DAYS[(days % 7) as usize];
    let month = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Proleptic Gregorian date of a day since 1970-01-01, counting years from
/// March so that the leap day is the last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use http::{HeaderValue, header};

    fn check(response: &Response, version: Version, is_head: bool, expected: Expect) {
        let mut out = BytesMut::new();
        let context = Context {
            version,
            is_head,
            keep_alive: version == Version::HTTP_11,
            now_s: 951_827_696,
        };
        let (framing, alive) = head(response, context, &mut out);
        let text = String::from_utf8(out.to_vec()).expect("text");
        expected.assert_eq(&format!("{framing:?} {alive}\n{}", text.replace('\r', "")));
    }

    #[test]
    fn heads() {
        let text = Response::bytes(StatusCode::OK, "text/plain", "OK");
        check(
            &text,
            Version::HTTP_11,
            false,
            expect![[r#"
                Length true
                HTTP/1.1 200 OK
                Content-Type: text/plain
                Date: Tue, 29 Feb 2000 12:34:56 GMT
                Content-Length: 2

            "#]],
        );
        check(
            &text,
            Version::HTTP_10,
            true,
            expect![[r#"
                None false
                HTTP/1.1 200 OK
                Content-Type: text/plain
                Date: Tue, 29 Feb 2000 12:34:56 GMT
                Content-Length: 2
                Connection: close

            "#]],
        );
        check(
            &Response::empty(StatusCode::NO_CONTENT),
            Version::HTTP_11,
            false,
            expect![[r#"
                None true
                HTTP/1.1 204 No Content
                Date: Tue, 29 Feb 2000 12:34:56 GMT

            "#]],
        );
        check(
            &Response::stream(StatusCode::OK, "application/json").0,
            Version::HTTP_11,
            false,
            expect![[r#"
                Chunked true
                HTTP/1.1 200 OK
                Content-Type: application/json
                Date: Tue, 29 Feb 2000 12:34:56 GMT
                Transfer-Encoding: chunked

            "#]],
        );
        let upgrade = Response::take_over(StatusCode::SWITCHING_PROTOCOLS, async |_| ())
            .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        check(
            &upgrade,
            Version::HTTP_11,
            false,
            expect![[r#"
                UntilClose false
                HTTP/1.1 101 UPGRADED
                Connection: Upgrade

            "#]],
        );
        check(
            &Response::take_over(StatusCode::OK, async |_| ()),
            Version::HTTP_11,
            false,
            expect![[r#"
                UntilClose false
                HTTP/1.1 200 OK
                Date: Tue, 29 Feb 2000 12:34:56 GMT

            "#]],
        );
    }
}
