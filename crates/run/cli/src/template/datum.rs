//! A value on its way through a template.

use serde_json::Value;

use super::types::{PLAIN, RAW, Type};

/// A value in flight.
#[derive(Debug, Clone)]
pub(super) struct Datum {
    pub(super) value: Value,
    pub(super) ty: &'static Type,
    /// Whether there is no value at all, as Go has it for a missing key.
    pub(super) absent: bool,
}

impl Datum {
    pub(super) fn new(value: Value) -> Self {
        Self::typed(value, PLAIN)
    }

    pub(super) fn typed(value: Value, ty: &'static Type) -> Self {
        Self {
            value,
            ty,
            absent: false,
        }
    }

    pub(super) fn absent() -> Self {
        Self {
            value: Value::Null,
            ty: PLAIN,
            absent: true,
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::new(Value::String(text.into()))
    }

    /// An element of this list or map, or the zero value of one.
    pub(super) fn item(&self, item: Option<&Value>) -> Self {
        let ty = self.ty.item();
        Self::typed(ty.value(item), ty)
    }

    pub(super) fn type_name(&self) -> String {
        self.ty.name(&self.value)
    }

    /// Whether it is of a type that Go takes for a text: a number read without
    /// a type is one.
    pub(super) fn is_text(&self) -> bool {
        match self.ty {
            Type::Raw | Type::Interface => self.value.is_string() || self.value.is_number(),
            Type::Plain => self.value.is_string(),
            ty => matches!(ty, Type::Text(_)),
        }
    }

    /// What Go's templates take for true.
    pub(super) fn is_true(&self) -> bool {
        match (&self.value, self.ty) {
            (Value::Null, _) => false,
            (_, Type::Pointer(_) | Type::Struct(_) | Type::Time) => true,
            (Value::Number(_), _) if self.is_text() => true,
            (Value::Bool(holds), _) => *holds,
            (Value::Number(number), _) => number.as_f64() != Some(0.0),
            (Value::String(text), _) => !text.is_empty(),
            (Value::Array(items), _) => !items.is_empty(),
            (Value::Object(fields), _) => !fields.is_empty(),
        }
    }

    /// A value out of its `interface{}`, as a function is given it.
    pub(super) fn out_of_interface(self) -> Self {
        match self.ty {
            Type::Interface if !self.value.is_null() => Self::typed(self.value, RAW),
            _ => self,
        }
    }

    /// The same of a pipeline's value: what is nil there is none.
    pub(super) fn unwrapped(self) -> Self {
        match self.ty {
            Type::Interface | Type::Raw if self.value.is_null() => Self::absent(),
            _ => self.out_of_interface(),
        }
    }
}
