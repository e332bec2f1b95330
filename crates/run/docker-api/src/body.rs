//! JSON bodies, with the errors of Go's decoder that clients know.

use carrack_docker::config::{DecodeError, from_json};
use carrack_serve::Request;
use http::header;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// Largest JSON body, bytes.
pub(crate) const MAX_JSON_BYTES: usize = 4 << 20;

/// Reads a JSON document; an empty body is `None`.
pub(crate) async fn document(request: &mut Request) -> Result<Option<Value>, Failure> {
    let bytes = request.body.collect(MAX_JSON_BYTES).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    check_content_type(request)?;
    let mut documents = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    let document = match documents.next() {
        None => return Ok(None),
        Some(Ok(document)) => document,
        Some(Err(error)) => return Err(invalid(&bytes, &error)),
    };
    let rest = bytes.get(documents.byte_offset()..).unwrap_or_default();
    if rest.iter().all(u8::is_ascii_whitespace) {
        Ok(Some(document))
    } else {
        Err(Failure::bad_request("unexpected content after JSON"))
    }
}

/// Reads a document of a type; an empty body is its default.
pub(crate) async fn decode<T: DeserializeOwned + Default>(
    request: &mut Request,
) -> Result<T, Failure> {
    match document(request).await? {
        None => Ok(T::default()),
        Some(document) => from_json(document).map_err(|error| decode_failure(&error)),
    }
}

/// A field of the wrong type.
pub(crate) fn decode_failure(error: &DecodeError) -> Failure {
    let text = match error {
        DecodeError::Field(source) => format!("invalid JSON: json: cannot unmarshal: {source}"),
        other => other.to_string(),
    };
    Failure::bad_request(text)
}

fn check_content_type(request: &Request) -> Result<(), Failure> {
    let Some(value) = request.headers.get(header::CONTENT_TYPE) else {
        return Err(Failure::bad_request(
            "unsupported Content-Type header (): must be 'application/json'",
        ));
    };
    let value = value.to_str().unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Failure::bad_request(format!(
            "unsupported Content-Type header ({value}): must be 'application/json'"
        )))
    }
}

/// Go's words for a syntax error.
fn invalid(bytes: &[u8], error: &serde_json::Error) -> Failure {
    if error.is_eof() {
        return Failure::bad_request("invalid JSON: unexpected EOF");
    }
    let line = error.line().saturating_sub(1);
    let start: usize = bytes
        .split_inclusive(|&b| b == b'\n')
        .take(line)
        .map(<[u8]>::len)
        .sum();
    let at = (start + error.column()).saturating_sub(1);
    let character = bytes.get(at).map_or(' ', |&b| char::from(b));
    let place = if error.to_string().starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else {
        "looking for beginning of value"
    };
    Failure::bad_request(format!("invalid JSON: invalid character {character:?} {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    async fn check(content_type: &'static str, body: &'static str, expected: Result<bool, &str>) {
        let mut request = Request::in_memory(Method::POST, "/x".parse().expect("uri"), body);
        request
            .headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        match (document(&mut request).await, expected) {
            (Ok(document), Ok(some)) => assert_eq!(document.is_some(), some, "{body}"),
            (Err(failure), Err(text)) => assert_eq!(failure.message(), text),
            (got, wanted) => panic!("{body}: {got:?} instead of {wanted:?}"),
        }
    }

    #[tokio::test]
    async fn bodies_are_read_as_docker_reads_them() {
        check("application/json", "{}", Ok(true)).await;
        check("application/json; charset=utf-8", " {} \n", Ok(true)).await;
        check("text/plain", "", Ok(false)).await;
        check(
            "text/plain",
            "{}",
            Err("unsupported Content-Type header (text/plain): must be 'application/json'"),
        )
        .await;
        check("application/json", "{} x", Err("unexpected content after JSON")).await;
        check(
            "application/json",
            "{invalid",
            Err("invalid JSON: invalid character 'i' looking for beginning of object key string"),
        )
        .await;
        check("application/json", "{", Err("invalid JSON: unexpected EOF")).await;
    }
}
