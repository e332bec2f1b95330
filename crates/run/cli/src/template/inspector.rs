//! What `inspect` prints of each object.

use serde_json::Value;

use super::Template;
use super::eval::{self, MissingKey, Mode};
use super::types::{Type, encoded};

/// An object as the engine described it.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
    pub(crate) ty: &'static Type,
    pub(crate) json: Json,
}

/// Whether docker's client keeps an object's own JSON beside the struct that
/// it reads it into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Json {
    Kept,
    Dropped,
}

impl Object {
    /// The object as it is printed without a template.
    pub(crate) fn shown(&self) -> Value {
        match self.json {
            Json::Kept => self.value.clone(),
            Json::Dropped => encoded(&self.value, self.ty),
        }
    }
}

/// A template that is tried on an object's struct and, where that fails, on
/// its bare JSON.
#[derive(Debug)]
pub(crate) struct Inspector {
    template: Template,
    /// docker makes its template strict for the bare JSON, and leaves it so
    /// for the objects that follow.
    missing: MissingKey,
}

impl Inspector {
    pub(crate) fn new(template: Template) -> Self {
        Self {
            template,
            missing: MissingKey::NoValue,
        }
    }

    /// Prints one object.
    ///
    /// # Errors
    /// The sentence of the last attempt, which begins with `template: :`.
    pub(crate) fn print(&mut self, object: &Object) -> Result<String, String> {
        let (printed, done) = self.attempt(object, Mode::Typed(object.ty));
        if done.is_ok() || object.json == Json::Dropped {
            return done.map(|()| printed);
        }
        self.missing = MissingKey::Error;
        let (printed, done) = self.attempt(object, Mode::Raw);
        done.map(|()| printed)
    }

    fn attempt(&self, object: &Object, mode: Mode) -> (String, Result<(), String>) {
        eval::execute(&self.template, &object.value, mode, self.missing)
    }
}
