//! The Go types on which docker's client evaluates its templates.
//!
//! An answer leaves out what is empty, and names fields otherwise than Go
//! does; the client decodes it into structs first. So a template sees a zero
//! value where JSON has nothing, the struct's order where JSON has another,
//! and an error for what no struct has. These tables say which types those
//! are; docker's API of version 1.50 is their source (`api/types` of its
//! engine, 28.2).

mod container;
mod event;
mod image;
mod network;
mod system;
mod volume;

use serde_json::{Map, Value};

pub(crate) use container::CONTAINER;
pub(crate) use event::{EVENT, EVENT_POINTER};
pub(crate) use image::IMAGE;
pub(crate) use network::NETWORK;
pub(crate) use system::{INFO, VERSION};
pub(crate) use volume::VOLUME;

/// A type of Go, with its name where an error or `%T` may tell it.
#[derive(Debug)]
pub(crate) enum Type {
    /// A row of a listing, a constant, or what a function gave: what it is can
    /// be seen from the JSON.
    Plain,
    /// JSON decoded into an `interface{}` and taken out of it.
    Raw,
    /// The same still in its `interface{}`, as an element of a map or list.
    Interface,
    Text(&'static str),
    Bool,
    Number(&'static str),
    Duration,
    FileMode,
    Time,
    Slice(&'static str, &'static Type),
    /// Its name, its keys' type and its elements'.
    Map(&'static str, &'static str, &'static Type),
    Pointer(&'static Type),
    Struct(Struct),
}

/// A struct of Go.
#[derive(Debug)]
pub(crate) struct Struct {
    name: &'static str,
    pub(super) fields: &'static [Field],
    pub(super) own: Own,
}

/// What a struct does in its own way.
#[derive(Debug)]
pub(super) enum Own {
    Nothing,
    /// It writes itself: fields, each with what follows it.
    Text(&'static [(&'static str, &'static str)]),
    /// It encodes itself by way of a map, so all within it stands by name.
    Json,
}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(super) name: &'static str,
    pub(super) json: &'static str,
    pub(super) ty: &'static Type,
    pub(super) place: Place,
}

/// How a field stands in its struct and in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Always,
    /// Left out of JSON where it is empty.
    Filled,
    /// Its fields are the struct's own, in JSON too.
    Embedded,
}

/// A struct without fields, on which every template fails that reads one.
pub(crate) const NOTHING: &Type = EMPTY;

pub(super) const PLAIN: &Type = &Type::Plain;
pub(super) const RAW: &Type = &Type::Raw;
pub(super) const INTERFACE: &Type = &Type::Interface;
pub(super) const TEXT: &Type = &Type::Text("string");
pub(super) const PORT: &Type = &Type::Text("nat.Port");
pub(super) const BOOL: &Type = &Type::Bool;
const INT: &Type = &Type::Number("int");
const INT64: &Type = &Type::Number("int64");
const UINT16: &Type = &Type::Number("uint16");
const UINT64: &Type = &Type::Number("uint64");
const DURATION: &Type = &Type::Duration;
const TIME: &Type = &Type::Time;
pub(super) const TEXTS: &Type = &Type::Slice("[]string", TEXT);
const TEXT_MAP: &Type = &Type::Map("map[string]string", "string", TEXT);
/// `map[string]struct{}`, a set.
const SET: &Type = &Type::Map("map[string]struct {}", "string", EMPTY);
const EMPTY: &Type = &structure("struct {}", &[]);

pub(super) const fn structure(name: &'static str, fields: &'static [Field]) -> Type {
    Type::Struct(Struct {
        name,
        fields,
        own: Own::Nothing,
    })
}

pub(super) const fn field(name: &'static str, ty: &'static Type) -> Field {
    renamed(name, name, ty)
}

/// A field that JSON names otherwise.
pub(super) const fn renamed(name: &'static str, json: &'static str, ty: &'static Type) -> Field {
    Field {
        name,
        json,
        ty,
        place: Place::Always,
    }
}

pub(super) const fn embedded(name: &'static str, ty: &'static Type) -> Field {
    Field {
        name,
        json: "",
        ty,
        place: Place::Embedded,
    }
}

impl Field {
    /// Of a field that is left out where it is empty.
    const fn filled(self) -> Self {
        Self {
            place: Place::Filled,
            ..self
        }
    }
}

impl Type {
    /// Its name in an error.
    pub(super) fn name(&self, value: &Value) -> String {
        match self {
            Self::Plain => plain_name(value).to_owned(),
            Self::Raw if value.is_number() => "json.Number".to_owned(),
            Self::Raw => plain_name(value).to_owned(),
            Self::Interface => "interface {}".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Duration => "time.Duration".to_owned(),
            Self::FileMode => "fs.FileMode".to_owned(),
            Self::Time => "time.Time".to_owned(),
            Self::Text(name) | Self::Number(name) | Self::Slice(name, _) | Self::Map(name, ..) => {
                (*name).to_owned()
            }
            Self::Pointer(to) => format!("*{}", to.name(value)),
            Self::Struct(of) => of.name.to_owned(),
        }
    }

    /// The type behind its pointers.
    pub(super) fn indirect(&'static self) -> &'static Self {
        let mut ty = self;
        while let Self::Pointer(to) = ty {
            ty = to;
        }
        ty
    }

    /// Whether it is a type of its own, whatever the value.
    pub(super) fn is_typed(&self) -> bool {
        !matches!(self, Self::Plain | Self::Raw | Self::Interface)
    }

    pub(super) fn is_pointer(&self) -> bool {
        matches!(self, Self::Pointer(_))
    }

    /// The type of its elements.
    pub(super) fn item(&'static self) -> &'static Self {
        match self.indirect() {
            Self::Slice(_, item) | Self::Map(_, _, item) => item,
            Self::Raw | Self::Interface => INTERFACE,
            _ => PLAIN,
        }
    }

    /// The type of a map's keys.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Map(_, key, _) => key,
            Self::Pointer(to) => to.key(),
            _ => "string",
        }
    }

    /// The value that Go has where JSON has `value` or nothing. A nil pointer,
    /// list, map or interface stays null.
    pub(super) fn value(&self, value: Option<&Value>) -> Value {
        match (value, self) {
            (None | Some(Value::Null), _) => match self {
                Self::Text(_) => Value::from(""),
                Self::Bool => Value::from(false),
                Self::Number(_) | Self::Duration | Self::FileMode => Value::from(0),
                Self::Time => Value::from("0001-01-01T00:00:00Z"),
                Self::Struct(_) => Value::Object(Map::new()),
                _ => Value::Null,
            },
            // Docker takes a lone word for a list of one.
            (Some(Value::String(word)), Self::Slice("strslice.StrSlice", _)) => {
                Value::from(vec![word.as_str()])
            }
            (Some(value), _) => value.clone(),
        }
    }
}

/// What Go calls a value that came without a type.
fn plain_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

impl Struct {
    /// The field `name` of a struct whose JSON is `object`: its own, else one
    /// of an embedded struct.
    pub(super) fn find(&self, name: &str, object: &Value) -> Option<(Value, &'static Type)> {
        if let Some(field) = self.fields.iter().find(|field| field.name == name) {
            return Some((field.of(object), field.ty));
        }
        self.fields
            .iter()
            .filter(|field| field.place == Place::Embedded)
            .find_map(|field| match field.ty.indirect() {
                Type::Struct(inner) => inner.find(name, object),
                _ => None,
            })
    }
}

impl Field {
    /// The field's value in a struct whose JSON is `object`.
    pub(super) fn of(&self, object: &Value) -> Value {
        match self.place {
            Place::Embedded => object.clone(),
            _ => self.ty.value(object.get(self.json)),
        }
    }
}

/// A value as Go encodes it to JSON: structs in their order and without what
/// is left out, maps by key.
pub(super) fn encoded(value: &Value, ty: &'static Type) -> Value {
    match (ty.indirect(), value) {
        (Type::Struct(of), Value::Object(_)) => {
            let mut fields = Map::new();
            encode_fields(of, value, &mut fields);
            match of.own {
                Own::Json => encoded(&Value::Object(fields), INTERFACE),
                _ => Value::Object(fields),
            }
        }
        (Type::Plain, _) => value.clone(),
        (Type::Time, Value::String(moment)) => Value::from(shortest(moment)),
        (ty, Value::Array(items)) => {
            Value::Array(items.iter().map(|item| encoded(item, ty.item())).collect())
        }
        (ty, Value::Object(entries)) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let item = ty.item();
            Value::Object(
                sorted
                    .into_iter()
                    .map(|(key, entry)| (key.clone(), encoded(&item.value(Some(entry)), item)))
                    .collect(),
            )
        }
        _ => value.clone(),
    }
}

/// A moment without the zeros at the end of its second's fraction.
fn shortest(moment: &str) -> String {
    let Some((whole, rest)) = moment.split_once('.') else {
        return moment.to_owned();
    };
    let zone = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{zone}"),
        fraction => format!("{whole}.{fraction}{zone}"),
    }
}

fn encode_fields(of: &Struct, object: &Value, out: &mut Map<String, Value>) {
    for field in of.fields {
        match (field.place, field.ty.indirect()) {
            (Place::Embedded, Type::Struct(inner)) => encode_fields(inner, object, out),
            _ => {
                let value = field.of(object);
                if field.place == Place::Always || !is_empty(&value, field.ty) {
                    out.insert(field.json.to_owned(), encoded(&value, field.ty));
                }
            }
        }
    }
}

/// What `omitempty` leaves out; a pointer to nothing, but not to a zero.
fn is_empty(value: &Value, ty: &Type) -> bool {
    match (value, ty) {
        (Value::Null, _) => true,
        (_, Type::Pointer(_) | Type::Struct(_) | Type::Time) => false,
        (Value::Bool(holds), _) => !holds,
        (Value::Number(number), _) => number.as_f64() == Some(0.0),
        (Value::String(text), _) => text.is_empty(),
        (Value::Array(items), _) => items.is_empty(),
        (Value::Object(entries), _) => entries.is_empty(),
    }
}

#[cfg(test)]
mod tests;
