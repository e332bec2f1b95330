//! Executing a template's tree on JSON, as the Go types say that it is read.

use serde_json::{Map, Value};

use super::datum::Datum;
use super::functions::{self, Fault};
use super::parse::{Command, Node, Operand, Pipeline, Span};
use super::types::{PLAIN, PORT, RAW, TEXT, Type};
use super::{LABELS_FIELD, OUTPUT_BYTES, Template, print};
use crate::flags::quantity::quote;

/// What the dot is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// A row of a listing, of a type that errors about unknown fields name.
    Row(&'static str),
    /// The names of a table's columns: docker's functions leave them alone.
    Header,
    /// JSON read into a type.
    Typed(&'static Type),
    /// JSON read into maps and lists.
    Raw,
}

/// What a key is that a map lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingKey {
    NoValue,
    Error,
}

/// The most that one range counts to.
const RANGE_MAX: u64 = 1_000_000;

enum Flow {
    On,
    Break,
    Continue,
}

/// What a template prints, and why it stopped.
pub(super) fn execute(
    template: &Template,
    data: &Value,
    mode: Mode,
    missing: MissingKey,
) -> (String, Result<(), String>) {
    let ty = match mode {
        Mode::Row(_) | Mode::Header => PLAIN,
        Mode::Typed(ty) => ty,
        Mode::Raw => RAW,
    };
    let dot = Datum::typed(data.clone(), ty);
    let mut evaluator = Evaluator {
        template,
        out: String::new(),
        variables: vec![(String::new(), dot.clone())],
        mode,
        missing,
        here: Span {
            at: 0,
            start: 0,
            end: 0,
        },
    };
    let done = evaluator.nodes(&template.nodes, &dot).map(|_| ());
    (evaluator.out, done)
}

struct Evaluator<'a> {
    template: &'a Template,
    out: String,
    variables: Vec<(String, Datum)>,
    mode: Mode,
    missing: MissingKey,
    /// What is being evaluated, for an error to tell.
    here: Span,
}

impl Evaluator<'_> {
    /// A piece of the template as it was written.
    fn text(&self, span: Span) -> &str {
        let source = &self.template.source;
        source.get(span.start..span.end).unwrap_or_default()
    }

    /// An error at what is being evaluated.
    fn error(&self, reason: &str) -> String {
        self.error_at(self.here, self.text(self.here), reason)
    }

    fn error_at(&self, span: Span, what: &str, reason: &str) -> String {
        let before = self.template.source.get(..span.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |feed| feed + 1);
        let name = self.template.name;
        format!("template: {name}:{line}:{column}: executing \"{name}\" at <{what}>: {reason}")
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Datum) -> Result<Flow, String> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if self.out.len() > OUTPUT_BYTES {
                return Err("template: the output is too large".to_owned());
            }
            if !matches!(flow, Flow::On) {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Datum) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    print::datum(&value, &mut self.out);
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let scope = self.variables.len();
                let holds = self.pipeline(condition, dot)?.is_true();
                let flow = self.nodes(if holds { then } else { otherwise }, dot)?;
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::With {
                value,
                then,
                otherwise,
            } => {
                let scope = self.variables.len();
                let value = self.pipeline(value, dot)?;
                let flow = if value.is_true() {
                    self.nodes(then, &value)?
                } else {
                    self.nodes(otherwise, dot)?
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Datum,
    ) -> Result<Flow, String> {
        let scope = self.variables.len();
        let plain = Pipeline {
            variables: Vec::new(),
            declares: false,
            commands: over.commands.clone(),
            span: over.span,
        };
        let value = self.pipeline(&plain, dot)?;
        let items = self.items(&value)?;
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot)?;
            self.variables.truncate(scope);
            return Ok(flow);
        }
        for (key, item) in items {
            match over.variables.as_slice() {
                [] => {}
                [only] => self.variable(only, item.clone(), over.declares),
                [first, second, ..] => {
                    self.variable(first, key, over.declares);
                    self.variable(second, item.clone(), over.declares);
                }
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// What a range goes over: keys and elements.
    fn items(&self, over: &Datum) -> Result<Vec<(Datum, Datum)>, String> {
        let whole = |number: u64| Datum::new(Value::from(number));
        match (over.ty.indirect(), &over.value) {
            (Type::Struct(_), _) => {}
            (_, Value::Null) if over.ty.is_pointer() => {}
            (_, Value::Null) => return Ok(Vec::new()),
            (_, Value::Array(items)) => {
                return Ok((0..)
                    .zip(items)
                    .map(|(at, item)| (whole(at), over.item(Some(item))))
                    .collect());
            }
            (_, Value::Object(fields)) => {
                let key_type = match over.ty.key() {
                    "nat.Port" => PORT,
                    _ => TEXT,
                };
                let mut items: Vec<_> = fields.iter().collect();
                items.sort_by_key(|(key, _)| *key);
                return Ok(items
                    .into_iter()
                    .map(|(key, item)| {
                        let key = Datum::typed(Value::from(key.as_str()), key_type);
                        (key, over.item(Some(item)))
                    })
                    .collect());
            }
            (_, Value::Number(number)) if !over.is_text() => {
                if let Some(count) = number.as_u64() {
                    return Ok((0..count.min(RANGE_MAX))
                        .map(|at| (whole(at), whole(at)))
                        .collect());
                }
            }
            _ => {}
        }
        Err(self.error(&format!("range can't iterate over {}", print::plain(over))))
    }

    fn variable(&mut self, name: &str, value: Datum, declares: bool) {
        if declares {
            self.variables.push((name.to_owned(), value));
        } else if let Some((_, slot)) = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
        {
            *slot = value;
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Datum) -> Result<Datum, String> {
        self.here = pipeline.span;
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?.unwrapped());
        }
        let value = value.unwrap_or_else(Datum::absent);
        if let Some(name) = pipeline.variables.first() {
            self.variable(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Datum>,
        dot: &Datum,
    ) -> Result<Datum, String> {
        let Some(((head, span), operands)) = command.operands.split_first() else {
            return Ok(Datum::absent());
        };
        if let Operand::Function(name) = head {
            self.here = *span;
            return self.call(name, command, piped, dot);
        }
        if operands.is_empty() && piped.is_none() {
            let value = self.operand(head, *span, dot)?;
            return match head {
                Operand::Nil => Err(self.error("nil is not a command")),
                _ => Ok(value),
            };
        }
        if let Operand::Field(fields) = head {
            self.here = *span;
            return self.method(fields, operands, piped, dot);
        }
        self.here = *span;
        let what = self.text(*span);
        Err(self.error(&format!("can't give argument to non-function {what}")))
    }

    /// A field with arguments; only a row has such: `{{.Label "name"}}`.
    fn method(
        &mut self,
        fields: &[String],
        operands: &[(Operand, Span)],
        piped: Option<Datum>,
        dot: &Datum,
    ) -> Result<Datum, String> {
        let here = self.here;
        let Some((name, path)) = fields.split_last() else {
            return Ok(Datum::absent());
        };
        let receiver = self.fields(dot, path)?;
        let of_row = matches!(self.mode, Mode::Row(_) | Mode::Header) && path.is_empty();
        if !of_row || name != "Label" {
            let is_map = match receiver.ty.indirect() {
                Type::Map(..) => true,
                Type::Raw | Type::Interface => receiver.value.is_object(),
                _ => false,
            };
            if is_map {
                return Err(self.error(&format!("{name} is not a method but has arguments")));
            }
            self.fields(&receiver, std::slice::from_ref(name))?;
            // The columns of a row are methods without arguments.
            return Err(self.error(&if of_row {
                let given = operands.len() + usize::from(piped.is_some());
                format!("wrong number of args for {name}: want 0 got {given}")
            } else {
                format!("{name} has arguments but cannot be invoked as function")
            }));
        }
        let mut arguments = Vec::new();
        for (operand, span) in operands {
            arguments.push(self.operand(operand, *span, dot)?);
        }
        arguments.extend(piped);
        self.here = here;
        let [
            Datum {
                value: Value::String(key),
                ..
            },
        ] = arguments.as_slice()
        else {
            return Err(self.error(&format!(
                "wrong number of args for {name}: want 1 got {}",
                arguments.len()
            )));
        };
        if matches!(self.mode, Mode::Header) {
            let last = key.rsplit('.').next().unwrap_or(key);
            return Ok(Datum::text(last.replace(['-', '_'], " ")));
        }
        match dot.value.get(LABELS_FIELD) {
            Some(labels) => Ok(Datum::text(
                labels.get(key).and_then(Value::as_str).unwrap_or_default(),
            )),
            None => Err(self.error("can't evaluate field Label in this type")),
        }
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        piped: Option<Datum>,
        dot: &Datum,
    ) -> Result<Datum, String> {
        let operands = command.operands.get(1..).unwrap_or_default();
        let given = operands.len() + usize::from(piped.is_some());
        if let Err(reason) = functions::accepts(name, operands.len(), given) {
            return Err(self.error(&reason));
        }
        // Only these two do not evaluate all their arguments.
        if matches!(name, "and" | "or") {
            let mut last = Datum::absent();
            for (operand, span) in operands {
                last = self.operand(operand, *span, dot)?;
                if last.is_true() == (name == "or") {
                    return Ok(last);
                }
            }
            return Ok(piped.unwrap_or(last));
        }
        let mut arguments = Vec::with_capacity(given);
        for (operand, span) in operands {
            arguments.push(self.operand(operand, *span, dot)?.out_of_interface());
        }
        arguments.extend(piped);
        if matches!(self.mode, Mode::Header) && functions::is_dockers(name) {
            // docker gives a header to such a function as its only text.
            let header = arguments
                .into_iter()
                .find(|argument| argument.value.is_string());
            return Ok(header.unwrap_or_else(|| Datum::text("")));
        }
        functions::call(name, &arguments).map_err(|fault| match fault {
            Fault::Called(reason) => {
                let words = command.operands.iter().map(|(_, span)| self.text(*span));
                let what = words.collect::<Vec<_>>().join(" ");
                let reason = format!("error calling {name}: {reason}");
                self.error_at(command.span, &what, &reason)
            }
            Fault::Argument { at, wanted, reason } => {
                let Some((operand, span)) = operands.get(at) else {
                    return self.error(&reason);
                };
                self.here = *span;
                match operand {
                    Operand::Constant(_) => {
                        let found = self.text(*span);
                        self.error(&format!("expected {wanted}; found {found}"))
                    }
                    _ => self.error(&reason),
                }
            }
        })
    }

    fn operand(&mut self, operand: &Operand, span: Span, dot: &Datum) -> Result<Datum, String> {
        self.here = span;
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Datum::new(Value::Null)),
            Operand::Constant(value) => Ok(Datum::new(value.clone())),
            Operand::Function(name) => {
                let alone = Command {
                    operands: Vec::new(),
                    span,
                };
                self.call(name, &alone, None, dot)
            }
            Operand::Field(names) => self.fields(dot, names),
            Operand::Variable(name, names) => {
                let value = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone());
                self.fields(&value.unwrap_or_else(Datum::absent), names)
            }
            Operand::Nested(pipeline, names) => {
                let value = self.pipeline(pipeline, dot)?;
                self.fields(&value, names)
            }
        }
    }

    fn fields(&self, from: &Datum, names: &[String]) -> Result<Datum, String> {
        let mut at = from.clone();
        for name in names {
            at = self
                .field(&at, name)
                .map_err(|reason| self.error(&reason))?;
        }
        Ok(at)
    }

    fn field(&self, from: &Datum, name: &str) -> Result<Datum, String> {
        if from.absent {
            return self.missing(|| format!("nil data; no entry for key {}", quote(name)));
        }
        let nil = || format!("nil pointer evaluating {}.{name}", from.type_name());
        match (from.ty.indirect(), &from.value) {
            (Type::Struct(of), object) => {
                let found = of.find(name, object);
                if from.value.is_null() && found.is_some() {
                    return Err(nil());
                }
                if let Some((value, ty)) = found {
                    return Ok(Datum::typed(value, ty));
                }
            }
            (Type::Interface, Value::Null) => return Err(nil()),
            (Type::Map(_, "string", _), Value::Null) => return self.no_entry(name),
            (Type::Map(_, "string", _) | Type::Raw | Type::Interface, Value::Object(entries)) => {
                return match entries.get(name) {
                    Some(entry) => Ok(from.item(Some(entry))),
                    None => self.no_entry(name),
                };
            }
            (Type::Plain, Value::Object(row)) => return self.column(row, name),
            (Type::Plain, Value::Null) => {
                return Err(format!("nil pointer evaluating interface {{}}.{name}"));
            }
            _ => {}
        }
        Err(format!(
            "can't evaluate field {name} in type {}",
            from.type_name()
        ))
    }

    fn no_entry(&self, name: &str) -> Result<Datum, String> {
        self.missing(|| format!("map has no entry for key {}", quote(name)))
    }

    fn missing(&self, reason: impl FnOnce() -> String) -> Result<Datum, String> {
        match self.missing {
            MissingKey::NoValue => Ok(Datum::absent()),
            MissingKey::Error => Err(reason()),
        }
    }

    fn column(&self, row: &Map<String, Value>, name: &str) -> Result<Datum, String> {
        match (row.get(name), self.mode) {
            (Some(value), _) => Ok(Datum::new(value.clone())),
            (None, Mode::Header) => Ok(Datum::absent()),
            (None, Mode::Row(_)) if name == "Label" && row.contains_key(LABELS_FIELD) => {
                Err("wrong number of args for Label: want 1 got 0".to_owned())
            }
            (None, Mode::Row(ty)) => Err(format!("can't evaluate field {name} in type {ty}")),
            (None, _) => Err(format!("map has no entry for key {}", quote(name))),
        }
    }
}
