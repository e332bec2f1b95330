//! From method and path to whatever a façade registered.
//!
//! Patterns are segments: plain text, `{name}` for one segment, and
//! `{name:.*}` for one or more, which image names need
//! (`/images/{name:.*}/json`). The first pattern registered that fits wins,
//! among those whose first segment fits.

use std::collections::HashMap;

use http::Method;

/// How much of a request's body a route takes, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyBound {
    /// Requests with any body are too large.
    Empty,
    /// Up to so many bytes.
    Bytes(u64),
}

impl BodyBound {
    /// The bound as a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Routes to values of `T`.
#[derive(Debug)]
pub struct Router<T> {
    by_first_segment: HashMap<&'static str, Vec<Route<T>>>,
}

#[derive(Debug)]
struct Route<T> {
    method: Method,
    segments: Vec<Segment>,
    bound: BodyBound,
    value: T,
}

#[derive(Debug)]
enum Segment {
    Text(&'static str),
    One(&'static str),
    Many(&'static str),
}

/// What a path means.
#[derive(Debug)]
pub enum Matched<'a, T> {
    /// A route and what its placeholders stand for.
    Route {
        /// What was registered.
        value: &'a T,
        /// Decoded values of the placeholders.
        params: PathParams,
        /// How much body it takes.
        bound: BodyBound,
    },
    /// Some route has the path, with another method.
    OtherMethod,
    /// No route.
    None,
}

/// Values of a route's placeholders, percent-decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParams(Vec<(&'static str, String)>);

impl PathParams {
    /// The value of `name`; empty when the pattern has none of that name.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value)
    }

    /// Takes the value of `name` out.
    pub fn take(&mut self, name: &str) -> String {
        let found = self.0.iter_mut().find(|(key, _)| *key == name);
        found.map_or_else(String::new, |(_, value)| std::mem::take(value))
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            by_first_segment: HashMap::new(),
        }
    }
}

impl<T> Router<T> {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route. `pattern` begins with a slash and a plain segment.
    pub fn add(&mut self, method: Method, pattern: &'static str, bound: BodyBound, value: T) {
        let mut segments = pattern.trim_start_matches('/').split('/');
        let first = segments.next().unwrap_or_default();
        let route = Route {
            method,
            segments: segments.map(segment).collect(),
            bound,
            value,
        };
        self.by_first_segment.entry(first).or_default().push(route);
    }

    /// Finds the route of a path that is still percent-encoded. Decoded
    /// segments may hold slashes; they never make new segments.
    pub fn find(&self, method: &Method, path: &str) -> Matched<'_, T> {
        let Some(path) = path.strip_prefix('/') else {
            return Matched::None;
        };
        let (first, rest) = match path.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        let Some(routes) = self.by_first_segment.get(first) else {
            return Matched::None;
        };
        let mut other_method = false;
        for route in routes {
            let Some(values) = fit(&route.segments, rest) else {
                continue;
            };
            if route.method != *method {
                other_method = true;
                continue;
            }
            let Some(params) = decode(values) else {
                return Matched::None;
            };
            return Matched::Route {
                value: &route.value,
                params,
                bound: route.bound,
            };
        }
        if other_method {
            Matched::OtherMethod
        } else {
            Matched::None
        }
    }
}

fn segment(text: &'static str) -> Segment {
    match text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
    {
        None => Segment::Text(text),
        Some(inner) => match inner.strip_suffix(":.*") {
            Some(name) => Segment::Many(name),
            None => Segment::One(inner),
        },
    }
}

type Raw<'p> = Vec<(&'static str, &'p str)>;

/// Fits `segments` to the rest of a path. At most one segment is `Many`, so
/// the fixed ones behind it are counted from the end.
fn fit<'p>(segments: &[Segment], rest: Option<&'p str>) -> Option<Raw<'p>> {
    let Some(rest) = rest else {
        return segments.is_empty().then(Vec::new);
    };
    let many = segments.iter().position(|s| matches!(s, Segment::Many(_)));
    let (front, many, back) = match many {
        None => (segments, None, &[][..]),
        Some(at) => (&segments[..at], Some(&segments[at]), &segments[at + 1..]),
    };
    let mut values = Vec::new();
    let mut left = Some(rest);
    for segment in front {
        let (part, rest) = split_first(left?);
        fit_one(segment, part, &mut values)?;
        left = rest;
    }
    for segment in back.iter().rev() {
        let (rest, part) = split_last(left?);
        fit_one(segment, part, &mut values)?;
        left = rest;
    }
    match (many, left) {
        (None, None) => Some(values),
        (Some(Segment::Many(name)), Some(text)) if !text.is_empty() => {
            values.push((name, text));
            Some(values)
        }
        _ => None,
    }
}

fn fit_one<'p>(segment: &Segment, part: &'p str, values: &mut Raw<'p>) -> Option<()> {
    match segment {
        Segment::Text(text) => (*text == part).then_some(()),
        Segment::One(_) | Segment::Many(_) if part.is_empty() => None,
        Segment::One(name) | Segment::Many(name) => {
            values.push((name, part));
            Some(())
        }
    }
}

fn split_first(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

fn split_last(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once('/') {
        Some((rest, last)) => (Some(rest), last),
        None => (None, path),
    }
}

fn decode(raw: Raw<'_>) -> Option<PathParams> {
    let decoded = raw
        .into_iter()
        .map(|(name, text)| Some((name, percent_decode(text)?)));
    decoded.collect::<Option<_>>().map(PathParams)
}

/// Percent-decoding of a path; nothing when it is malformed or not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<&'static str> {
        let mut router = Router::new();
        let routes = [
            (Method::GET, "/_ping"),
            (Method::GET, "/containers/json"),
            (Method::GET, "/containers/{id}/json"),
            (Method::DELETE, "/containers/{id}"),
            (Method::GET, "/images/json"),
            (Method::GET, "/images/get"),
            (Method::GET, "/images/{name:.*}/get"),
            (Method::GET, "/images/{name:.*}/json"),
            (Method::DELETE, "/images/{name:.*}"),
        ];
        for (method, pattern) in routes {
            router.add(method, pattern, BodyBound::Empty, pattern);
        }
        router
    }

    fn check(method: Method, path: &str, expected: &str) {
        let router = router();
        let found = match router.find(&method, path) {
            Matched::Route { value, params, .. } => {
                let values = params
                    .0
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"));
                format!("{value}{}", values.collect::<String>())
            }
            Matched::OtherMethod => "other method".to_owned(),
            Matched::None => "none".to_owned(),
        };
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn finds() {
        check(Method::GET, "/_ping", "/_ping");
        check(Method::GET, "/containers/json", "/containers/json");
        check(
            Method::GET,
            "/containers/a/json",
            "/containers/{id}/json id=a",
        );
        check(
            Method::DELETE,
            "/containers/json",
            "/containers/{id} id=json",
        );
        check(Method::GET, "/images/json", "/images/json");
        check(
            Method::GET,
            "/images/r.io/a/b:1/json",
            "/images/{name:.*}/json name=r.io/a/b:1",
        );
        check(
            Method::GET,
            "/images/r.io%2Fa/json",
            "/images/{name:.*}/json name=r.io/a",
        );
        check(
            Method::GET,
            "/images/json/json",
            "/images/{name:.*}/json name=json",
        );
        check(Method::DELETE, "/images/a/b", "/images/{name:.*} name=a/b");
    }

    #[test]
    fn finds_nothing() {
        check(Method::POST, "/_ping", "other method");
        check(Method::GET, "/", "none");
        check(Method::GET, "", "none");
        check(Method::GET, "*", "none");
        check(Method::GET, "/_ping/", "none");
        check(Method::GET, "//containers/json", "none");
        check(Method::GET, "/containers//json", "none");
        check(Method::GET, "/images//json", "other method");
        check(Method::GET, "/containers/%zz/json", "none");
        check(Method::GET, "/containers/%ff/json", "none");
        check(Method::GET, "/containers/%2", "other method");
    }
}
