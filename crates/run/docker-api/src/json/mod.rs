//! JSON bodies: read as Go reads them, refused in Go's words.

mod scan;

use carrack_docker::config::{DecodeError, from_json, normalize_names};
use carrack_serve::Request;
use http::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ApiError;

use scan::syntax_error;

/// Largest JSON body, bytes. A seccomp profile is 15 KiB, a label list may be
/// long.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// Reads a body into `T`; no body at all is the default.
pub(crate) async fn read<T: DeserializeOwned + Default>(
    request: &mut Request,
) -> Result<T, ApiError> {
    match read_value(request).await? {
        None => Ok(T::default()),
        Some(value) => from_json(value).map_err(decode_error),
    }
}

/// Reads a body that must be there.
pub(crate) async fn read_required(request: &mut Request) -> Result<Value, ApiError> {
    read_value(request)
        .await?
        .ok_or_else(|| ApiError::bad_request("invalid JSON: got EOF while reading request body"))
}

/// The sentence for a document that is JSON and not what was expected.
pub(crate) fn decode_error(error: DecodeError) -> ApiError {
    ApiError::bad_request(match &error {
        DecodeError::EmptyConfig => error.to_string(),
        DecodeError::NotAnObject(value) => format!(
            "invalid JSON: json: cannot unmarshal {} into Go value of type container.CreateRequest",
            go_kind(value)
        ),
        DecodeError::Field(source) => format!("invalid JSON: {}", type_error(&source.to_string())),
    })
}

async fn read_value(request: &mut Request) -> Result<Option<Value>, ApiError> {
    check_content_type(request)?;
    let bytes = request.body.collect(BODY_BYTES_MAX).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut decoder = serde_json::Deserializer::from_slice(&bytes);
    let mut value = Value::deserialize(&mut decoder).map_err(|error| {
        let reason = syntax_error(&bytes).unwrap_or_else(|| error.to_string());
        ApiError::bad_request(format!("invalid JSON: {reason}"))
    })?;
    if decoder.end().is_err() {
        return Err(ApiError::bad_request("unexpected content after JSON"));
    }
    normalize_names(&mut value);
    Ok(Some(value))
}

/// A body must say that it is JSON; none needs to say nothing.
fn check_content_type(request: &Request) -> Result<(), ApiError> {
    let written = request.headers.get(header::CONTENT_TYPE);
    let written = written.map_or("", |value| value.to_str().unwrap_or("?"));
    if written.is_empty() {
        return if request.body.declared_length() == Some(0) {
            Ok(())
        } else {
            Err(ApiError::bad_request(
                "malformed Content-Type header (): mime: no media type",
            ))
        };
    }
    let kind = written.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({written}): must be 'application/json'"
        )))
    }
}

/// Go's name for a kind of value.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// serde's `invalid type: integer `1`, expected a string` in Go's words; what
/// has another form is given as it is.
fn type_error(text: &str) -> String {
    let translated = text.strip_prefix("invalid type: ").and_then(|rest| {
        let (found, expected) = rest.split_once(", expected ")?;
        let expected = expected.split(" at line").next().unwrap_or(expected);
        let found = match found.split([' ', '`']).next()? {
            "integer" => "number",
            "floating" => {
                let number = found.split('`').nth(1).unwrap_or_default();
                return Some(format!(
                    "json: cannot unmarshal number {number} into Go value of type {}",
                    go_type(expected)
                ));
            }
            "string" => "string",
            "boolean" => "bool",
            "sequence" => "array",
            "map" => "object",
            other => other,
        };
        Some(format!(
            "json: cannot unmarshal {found} into Go value of type {}",
            go_type(expected)
        ))
    });
    translated.unwrap_or_else(|| text.to_owned())
}

fn go_type(expected: &str) -> &str {
    match expected {
        "a string" => "string",
        "a boolean" => "bool",
        "i64" => "int64",
        "u64" => "uint64",
        "u32" => "uint32",
        "u16" => "uint16",
        "a sequence" => "[]string",
        "a map" => "map[string]string",
        other => other.strip_prefix("struct ").unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrack_docker::config::CreateRequest;
    use http::{HeaderValue, Method, Uri};

    async fn sentence(content_type: Option<&str>, body: &str) -> String {
        let uri = Uri::from_static("/containers/create");
        let mut request = Request::in_memory(Method::POST, uri, body.to_owned());
        if let Some(content_type) = content_type {
            let value = HeaderValue::from_str(content_type).expect("a value");
            request.headers.insert(header::CONTENT_TYPE, value);
        }
        let read = read_required(&mut request).await;
        let decoded = match read {
            Ok(value) => CreateRequest::from_json(value).map_err(decode_error),
            Err(error) => Err(error),
        };
        decoded.map_or_else(|error| error.message, |_| "ok".to_owned())
    }

    #[tokio::test]
    async fn content_types() {
        let body = r#"{"Image":"a"}"#;
        assert_eq!(sentence(Some("application/json"), body).await, "ok");
        assert_eq!(
            sentence(Some("Application/JSON; charset=utf-8"), body).await,
            "ok"
        );
        assert_eq!(
            sentence(Some("text/plain"), body).await,
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        assert_eq!(
            sentence(None, body).await,
            "malformed Content-Type header (): mime: no media type"
        );
        assert_eq!(
            sentence(None, "").await,
            "invalid JSON: got EOF while reading request body"
        );
    }

    #[tokio::test]
    async fn bodies() {
        let of = |body: &'static str| sentence(Some("application/json"), body);
        let cases = [
            (r#"{"Image":"a"} "#, "ok"),
            (r#"{"image":"a"}"#, "ok"),
            (
                r#"{"image":1}"#,
                "invalid JSON: json: cannot unmarshal number into Go value of type string",
            ),
            (r#"{"Image":"a"}{}"#, "unexpected content after JSON"),
            (r#"{"Image":"a"} x"#, "unexpected content after JSON"),
            (
                "{}",
                "config cannot be empty in order to create a container",
            ),
            (
                "null",
                "config cannot be empty in order to create a container",
            ),
            (
                "{i",
                "invalid JSON: invalid character 'i' looking for beginning of object key string",
            ),
            (
                r#"{"Image":1}"#,
                "invalid JSON: json: cannot unmarshal number into Go value of type string",
            ),
            (
                r#"{"Image":"a","Env":{"a":1}}"#,
                "invalid JSON: json: cannot unmarshal object into Go value of type []string",
            ),
            (
                r#"{"Image":"a","HostConfig":{"Memory":"1g"}}"#,
                "invalid JSON: json: cannot unmarshal string into Go value of type int64",
            ),
            (
                r#"{"Image":"a","HostConfig":{"Memory":1.5}}"#,
                "invalid JSON: json: cannot unmarshal number 1.5 into Go value of type int64",
            ),
            (
                r#"{"Image":"a","HostConfig":5}"#,
                "invalid JSON: json: cannot unmarshal number into Go value of type HostConfig",
            ),
            (
                "[]",
                "invalid JSON: json: cannot unmarshal array into Go value of type container.CreateRequest",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(of(body).await, expected, "{body}");
        }
    }

    #[tokio::test]
    async fn too_large() {
        let body = format!("{{\"Image\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        let refused = sentence(Some("application/json"), &body).await;
        assert_eq!(refused, "request body too large");
    }
}
