//! Query parameters, read as Docker reads them.

use carrack_docker::filters::Filters;

use crate::error::ApiError;

/// Parameters in one query; more are refused.
const PARAMETERS_MAX: usize = 1024;

/// Decoded parameters.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut all = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if all.len() == PARAMETERS_MAX {
                return Err(ApiError::bad_request("too many query parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name).zip(decode(value));
            let decoded = decoded.ok_or_else(|| {
                ApiError::bad_request(format!("invalid URL escape in query {pair:?}"))
            })?;
            all.push(decoded);
        }
        Ok(Self(all))
    }

    /// The first value of `name`, empty when it is not given.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// Likewise, nothing when it is empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether `name` is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// A boolean, in any case: everything but nothing, `0`, `no`, `false` and
    /// `none` is true.
    pub(crate) fn boolean(&self, name: &str) -> bool {
        let value = self.get(name).trim().to_ascii_lowercase();
        !["", "0", "no", "false", "none"].contains(&value.as_str())
    }

    /// Likewise, with a value for when it is not given.
    pub(crate) fn boolean_or(&self, name: &str, default: bool) -> bool {
        if self.has(name) {
            self.boolean(name)
        } else {
            default
        }
    }

    /// A whole number, nothing when it is not given.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            ApiError::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?;
        Ok(Some(number))
    }

    /// The parameter `filters`.
    pub(crate) fn filters(&self) -> Result<Filters, ApiError> {
        let text = self.get("filters");
        Filters::parse(text).map_err(|error| ApiError::from(carrack_docker::Error::from(error)))
    }
}

/// `application/x-www-form-urlencoded`: a plus sign is a blank.
fn decode(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_in_any_case() {
        let query = Query::parse("a=1&b=True&c=False&d=0&e=&f=none&g=NO&h").expect("good");
        let of = |name: &str| query.boolean(name);
        assert!(of("a") && of("b"));
        for name in ["c", "d", "e", "f", "g", "h", "missing"] {
            assert!(!of(name), "{name}");
        }
        assert!(query.boolean_or("missing", true));
        assert!(!query.boolean_or("c", true));
    }

    #[test]
    fn decoding() {
        let query = Query::parse("a=b%20c+d&n=5&a=second&x=%2Fy").expect("good");
        assert_eq!(query.get("a"), "b c d");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["b c d", "second"]);
        assert_eq!(query.get("x"), "/y");
        assert_eq!(query.integer("n").expect("a number"), Some(5));
        assert!(query.integer("a").is_err());
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert!(Query::parse(&"a&".repeat(2000)).is_err());
    }
}
