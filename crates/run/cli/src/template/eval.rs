//! Executing a template's tree on JSON.

use serde_json::{Map, Value};

use super::parse::{Command, Node, Operand, Pipeline};
use super::{LABELS_FIELD, OUTPUT_BYTES, functions, print};
use crate::flags::quantity::quote;

/// What the dot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A row of a listing or an object of the API: unknown fields are errors.
    Row,
    /// The names of a table's columns: docker's functions leave them alone.
    Header,
}

/// A value in flight.
#[derive(Debug, Clone)]
pub(super) struct Datum {
    pub(super) value: Value,
    /// Whether it is an object whose keys are data: a missing one is no error.
    pub(super) is_map: bool,
    /// Whether there is no value at all, as Go has it for a missing key.
    pub(super) absent: bool,
}

impl Datum {
    pub(super) fn new(value: Value) -> Self {
        Self {
            value,
            is_map: false,
            absent: false,
        }
    }

    pub(super) fn absent() -> Self {
        Self {
            value: Value::Null,
            is_map: false,
            absent: true,
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::new(Value::String(text.into()))
    }

    /// What Go's templates take for true.
    pub(super) fn is_true(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Bool(holds) => *holds,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !self.is_map || !fields.is_empty(),
        }
    }
}

/// Fields whose objects are maps in the engine's answers.
const MAPS: &[&str] = &[
    "Labels",
    "Networks",
    "Ports",
    "Options",
    "Opts",
    "Tmpfs",
    "Sysctls",
    "ExposedPorts",
    "Volumes",
    "Attributes",
    "Data",
    "DriverOpts",
    "PortBindings",
    "StorageOpt",
    "Annotations",
    "Containers",
    "IndexConfigs",
    "Runtimes",
    "Details",
    "UnsafeOptions",
    "AuxiliaryAddresses",
    "IPAMOptions",
    "Status",
];

/// Fields that an answer leaves out where they are empty.
const OPTIONAL: &[&str] = &[
    "Health",
    "Healthcheck",
    "Mounts",
    "MacAddress",
    "SizeRw",
    "SizeRootFs",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "ArgsEscaped",
    "OnBuild",
    "Init",
    "Annotations",
    "StorageOpt",
    "Tmpfs",
    "Sysctls",
    "NetworkDisabled",
    "ExposedPorts",
    "UsageData",
    "CreatedAt",
    "Status",
    "IPAMConfig",
    "Links",
    "Aliases",
    "DriverOpts",
    "Node",
    "Swarm",
    "GraphDriver",
    "VirtualSize",
    "Parent",
    "Comment",
    "Container",
    "ContainerConfig",
    "DockerVersion",
    "Author",
    "Variant",
    "OsVersion",
    "ImageManifestDescriptor",
    "Manifests",
    "Descriptor",
    "ClusterVolume",
    "Isolation",
    "Propagation",
    "Volumes",
    "scope",
    "status",
    "id",
    "from",
    "time",
    "timeNano",
    "VolumeOptions",
    "BindOptions",
    "TmpfsOptions",
    "Warnings",
];

/// A field under its name in Go: `ID` for the API's `Id`, `Time` for `time`.
fn another_case<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .iter()
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn execute(nodes: &[Node], data: &Value, mode: Mode) -> Result<String, String> {
    let dot = Datum::new(data.clone());
    let mut evaluator = Evaluator {
        out: String::new(),
        variables: vec![(String::new(), dot.clone())],
        mode,
    };
    evaluator.nodes(nodes, &dot)?;
    Ok(evaluator.out)
}

struct Evaluator {
    out: String,
    variables: Vec<(String, Datum)>,
    mode: Mode,
}

fn error(what: &str, reason: &str) -> String {
    format!("template: :1:2: executing \"\" at <{what}>: {reason}")
}

impl Evaluator {
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
        };
        let value = self.pipeline(&plain, dot)?;
        let items: Vec<(Value, Value)> = match value.value {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (Value::from(at), item))
                .collect(),
            Value::Object(fields) => {
                let mut items: Vec<_> = fields
                    .into_iter()
                    .map(|(key, item)| (Value::String(key), item))
                    .collect();
                items.sort_by(|a, b| a.0.as_str().cmp(&b.0.as_str()));
                items
            }
            Value::Number(number) if number.is_u64() => {
                (0..number.as_u64().unwrap_or(0).min(1_000_000))
                    .map(|at| (Value::from(at), Value::from(at)))
                    .collect()
            }
            Value::Null => Vec::new(),
            other => {
                return Err(error(
                    "range",
                    &format!(
                        "range can't iterate over {}",
                        print::plain(&Datum::new(other))
                    ),
                ));
            }
        };
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot)?;
            self.variables.truncate(scope);
            return Ok(flow);
        }
        for (key, item) in items {
            let item = Datum::new(item);
            match over.variables.as_slice() {
                [] => {}
                [only] => self.variable(only, item.clone(), over.declares),
                [first, second, ..] => {
                    self.variable(first, Datum::new(key), over.declares);
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
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
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
        let Some((head, operands)) = command.operands.split_first() else {
            return Ok(Datum::absent());
        };
        if let Operand::Function(name) = head {
            return self.call(name, operands, piped, dot);
        }
        // A row's method with an argument: {{.Label "name"}}.
        if let Operand::Field(fields) = head
            && (!operands.is_empty() || piped.is_some())
        {
            return self.method(fields, operands, piped, dot);
        }
        if !operands.is_empty() || piped.is_some() {
            return Err(error("", "can't give argument to non-function"));
        }
        self.operand(head, dot)
    }

    fn method(
        &mut self,
        fields: &[String],
        operands: &[Operand],
        piped: Option<Datum>,
        dot: &Datum,
    ) -> Result<Datum, String> {
        let mut arguments = Vec::new();
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let path = format!(".{}", fields.join("."));
        let [name] = fields else {
            return Err(error(
                &path,
                "has arguments but cannot be invoked as function",
            ));
        };
        let (Some(key), 1) = (
            arguments
                .first()
                .and_then(|argument| argument.value.as_str()),
            arguments.len(),
        ) else {
            return Err(error(
                &path,
                &format!(
                    "wrong number of args for {name}: want 1 got {}",
                    arguments.len()
                ),
            ));
        };
        if name != "Label" {
            return Err(error(
                &path,
                &format!("{name} has arguments but cannot be invoked as function"),
            ));
        }
        if self.mode == Mode::Header {
            let last = key.rsplit('.').next().unwrap_or(key);
            return Ok(Datum::text(last.replace(['-', '_'], " ")));
        }
        match dot.value.get(LABELS_FIELD) {
            Some(labels) => Ok(Datum::text(
                labels.get(key).and_then(Value::as_str).unwrap_or_default(),
            )),
            None => Err(error(&path, "can't evaluate field Label in this type")),
        }
    }

    fn call(
        &mut self,
        name: &str,
        operands: &[Operand],
        piped: Option<Datum>,
        dot: &Datum,
    ) -> Result<Datum, String> {
        // Only these two do not evaluate all their arguments.
        if matches!(name, "and" | "or") {
            let mut last = Datum::absent();
            for operand in operands {
                last = self.operand(operand, dot)?;
                if last.is_true() == (name == "or") {
                    return Ok(last);
                }
            }
            return match piped {
                Some(piped) => Ok(piped),
                None if operands.is_empty() => Err(error(
                    name,
                    &format!("wrong number of args for {name}: want at least 1 got 0"),
                )),
                None => Ok(last),
            };
        }
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        if self.mode == Mode::Header && functions::is_dockers(name) {
            // docker gives a header to such a function as its only text.
            let header = arguments
                .into_iter()
                .find(|argument| argument.value.is_string());
            return Ok(header.unwrap_or_else(|| Datum::text("")));
        }
        functions::call(name, arguments)
            .map_err(|reason| error(name, &format!("error calling {name}: {reason}")))
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum) -> Result<Datum, String> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Datum::new(Value::Null)),
            Operand::Constant(value) => Ok(Datum::new(value.clone())),
            Operand::Function(name) => self.call(name, &[], None, dot),
            Operand::Field(names) => self.fields(dot, names, ""),
            Operand::Variable(name, names) => {
                let value = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone());
                self.fields(
                    &value.unwrap_or_else(Datum::absent),
                    names,
                    &format!("${name}"),
                )
            }
            Operand::Nested(pipeline, names) => {
                let value = self.pipeline(pipeline, dot)?;
                self.fields(&value, names, "")
            }
        }
    }

    fn fields(&self, from: &Datum, names: &[String], prefix: &str) -> Result<Datum, String> {
        let Some((last, _)) = names.split_last() else {
            return Ok(from.clone());
        };
        let path = || format!("{prefix}.{}", names.join("."));
        let mut at = &from.value;
        let mut in_map = from.is_map;
        let mut missing = from.absent;
        for name in names {
            let object: &Map<String, Value> = match at {
                Value::Object(object) => object,
                Value::Null if missing => return Ok(Datum::absent()),
                Value::Null => {
                    return Err(error(
                        &path(),
                        &format!("nil pointer evaluating interface {{}}.{name}"),
                    ));
                }
                other => {
                    return Err(error(
                        &path(),
                        &format!(
                            "can't evaluate field {name} in type {}",
                            print::type_name(other)
                        ),
                    ));
                }
            };
            let exact = object.get(name);
            match exact.or_else(|| {
                if in_map {
                    None
                } else {
                    another_case(object, name)
                }
            }) {
                Some(value) => at = value,
                None if in_map || self.mode == Mode::Header => {
                    at = &Value::Null;
                    missing = true;
                }
                None if OPTIONAL.contains(&name.as_str()) => {
                    at = &Value::Null;
                    missing = false;
                }
                None if object.contains_key(LABELS_FIELD) => {
                    return Err(error(
                        &path(),
                        &format!("can't evaluate field {name} in type row"),
                    ));
                }
                None => {
                    return Err(error(
                        &path(),
                        &format!("map has no entry for key {}", quote(name)),
                    ));
                }
            }
            in_map = MAPS.contains(&name.as_str());
        }
        let is_map = MAPS.contains(&last.as_str());
        Ok(Datum {
            value: at.clone(),
            is_map,
            absent: missing && at.is_null(),
        })
    }
}
