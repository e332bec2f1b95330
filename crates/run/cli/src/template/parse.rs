//! Tokens to a tree.

use serde_json::{Number, Value};

use super::lex::{Placed, Token};
use super::{DEPTH, functions};

/// A piece of a template, to be executed in order.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Prints a pipeline, unless it declares or sets variables.
    Action(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// Where a piece stands in its template, in bytes, for an error to tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The place that an error names: of a chain of fields, the second.
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Commands, each given the value of the one before as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
    pub(super) span: Span,
}

/// An operand with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<(Operand, Span)>,
    pub(super) span: Span,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Dot,
    Nil,
    Constant(Value),
    Function(String),
    /// Fields of the dot.
    Field(Vec<String>),
    /// A variable and fields of it.
    Variable(String, Vec<String>),
    /// A pipeline in parentheses and fields of its value.
    Nested(Box<Pipeline>, Vec<String>),
}

/// Parses a template's tokens.
pub(super) fn parse(tokens: Vec<Placed>) -> Result<Vec<Node>, String> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        line: 1,
        variables: vec![String::new()],
        loops: 0,
    };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Template => Ok(nodes),
        End::Keyword(word) => Err(parser.error(&format!("unexpected {{{{{word}}}}}"))),
    }
}

/// Whether any of the nodes reads a field of the dot or of `$`.
pub(super) fn reads(nodes: &[Node], name: &str) -> bool {
    let pipeline = |pipeline: &Pipeline| pipeline_reads(pipeline, name);
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(action) => pipeline(action),
        Node::If {
            condition: value,
            then,
            otherwise,
        }
        | Node::With {
            value,
            then,
            otherwise,
        }
        | Node::Range {
            over: value,
            body: then,
            otherwise,
        } => pipeline(value) || reads(then, name) || reads(otherwise, name),
    })
}

fn pipeline_reads(pipeline: &Pipeline, name: &str) -> bool {
    let operands = || {
        pipeline
            .commands
            .iter()
            .flat_map(|command| &command.operands)
    };
    // To encode the dot is to read all of it.
    let encodes = |(operand, _): &(Operand, Span)| matches!(operand, Operand::Function(function) if function == "json");
    operands().any(|(operand, _)| match operand {
        Operand::Field(fields) | Operand::Variable(_, fields) => {
            fields.first().is_some_and(|field| field == name)
        }
        Operand::Nested(nested, _) => pipeline_reads(nested, name),
        Operand::Dot => operands().any(encodes),
        _ => false,
    })
}

/// What ended a list of nodes.
enum End {
    Template,
    Keyword(&'static str),
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    line: usize,
    variables: Vec<String>,
    loops: usize,
}

impl Parser {
    fn error(&self, reason: &str) -> String {
        format!("template: :{}: {reason}", self.line)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Where the next token begins.
    fn place(&self) -> usize {
        let next = self.tokens.get(self.at).or(self.tokens.last());
        next.map_or(0, |(_, place)| *place)
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    /// Nodes up to the end of the template or an `end` or `else`, whose word
    /// is taken.
    fn nodes(&mut self) -> Result<(Vec<Node>, End), String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("blocks are nested too deep"));
        }
        let mut nodes = Vec::new();
        loop {
            let Some((token, _)) = self.tokens.get(self.at) else {
                self.depth -= 1;
                return Ok((nodes, End::Template));
            };
            self.at += 1;
            if let Token::Text(text) = token {
                self.line += text.matches('\n').count();
                nodes.push(Node::Text(text.clone()));
                continue;
            }
            self.skip_spaces();
            let word = match self.peek() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" => {
                    self.at += 1;
                    self.close()?;
                    self.depth -= 1;
                    return Ok((nodes, End::Keyword("end")));
                }
                "else" => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok((nodes, End::Keyword("else")));
                }
                "if" | "with" | "range" => {
                    self.at += 1;
                    nodes.push(self.block(&word)?);
                }
                "break" | "continue" => {
                    self.at += 1;
                    if self.loops == 0 {
                        return Err(self.error(&format!("{{{{{word}}}}} outside {{{{range}}}}")));
                    }
                    self.close()?;
                    nodes.push(if word == "break" {
                        Node::Break
                    } else {
                        Node::Continue
                    });
                }
                "define" | "template" | "block" => {
                    return Err(self.error(&format!("{{{{{word}}}}} is not supported")));
                }
                _ => {
                    let pipeline = self.pipeline(false)?;
                    self.close()?;
                    nodes.push(Node::Action(pipeline));
                }
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        self.skip_spaces();
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                Ok(())
            }
            other => Err(self.error(&format!("unexpected {} in command", describe(other)))),
        }
    }

    /// The rest of an `if`, `with` or `range` after its word.
    fn block(&mut self, word: &str) -> Result<Node, String> {
        let scope = self.variables.len();
        let value = self.pipeline(word == "range")?;
        self.close()?;
        if word == "range" {
            self.loops += 1;
        }
        let (then, end) = self.nodes()?;
        if word == "range" {
            self.loops -= 1;
        }
        let otherwise = match end {
            End::Keyword("else") => self.otherwise(word)?,
            End::Keyword(_) => Vec::new(),
            End::Template => return Err(self.error("unexpected EOF")),
        };
        self.variables.truncate(scope);
        Ok(match word {
            "if" => Node::If {
                condition: value,
                then,
                otherwise,
            },
            "with" => Node::With {
                value,
                then,
                otherwise,
            },
            _ => Node::Range {
                over: value,
                body: then,
                otherwise,
            },
        })
    }

    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, String> {
        self.skip_spaces();
        if word != "range" && self.is_word(word) {
            // {{else if}} shares the {{end}} of its {{if}}.
            self.at += 1;
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(self.error("blocks are nested too deep"));
            }
            let node = self.block(word)?;
            self.depth -= 1;
            return Ok(vec![node]);
        }
        self.close()?;
        match self.nodes()? {
            (nodes, End::Keyword("end")) => Ok(nodes),
            (_, End::Keyword(_)) => Err(self.error("unexpected {{else}}")),
            (_, End::Template) => Err(self.error("unexpected EOF")),
        }
    }

    /// A pipeline up to a `}}` or `)`, which stays.
    fn pipeline(&mut self, in_range: bool) -> Result<Pipeline, String> {
        self.skip_spaces();
        let start = self.place();
        let (variables, declares) = self.declaration(in_range)?;
        let mut commands = Vec::new();
        loop {
            self.skip_spaces();
            let command = self.command()?;
            if command.operands.is_empty() {
                return Err(self.error(if commands.is_empty() {
                    "missing value for command"
                } else {
                    "missing value after |"
                }));
            }
            if !commands.is_empty()
                && !matches!(
                    command.operands[0].0,
                    Operand::Function(_) | Operand::Field(_) | Operand::Variable(..)
                )
            {
                return Err(self.error(&format!(
                    "non executable command in pipeline stage {}",
                    commands.len() + 1
                )));
            }
            commands.push(command);
            self.skip_spaces();
            if self.peek() == Some(&Token::Sign("|")) {
                self.at += 1;
            } else {
                break;
            }
        }
        // A variable holds from the next action on.
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        let end = commands.last().map_or(start, |command| command.span.end);
        Ok(Pipeline {
            variables,
            declares,
            commands,
            span: Span {
                at: start,
                start,
                end,
            },
        })
    }

    /// `$a := `, `$a = ` or, in a range, `$a, $b := `.
    fn declaration(&mut self, in_range: bool) -> Result<(Vec<String>, bool), String> {
        let start = self.at;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
            self.skip_spaces();
            match self.peek() {
                Some(Token::Sign(":=")) => {
                    self.at += 1;
                    if names.len() > 1 && !in_range {
                        return Err(self.error("too many declarations in command"));
                    }
                    return Ok((names, true));
                }
                Some(Token::Sign("=")) => {
                    self.at += 1;
                    for name in &names {
                        self.known(name)?;
                    }
                    return Ok((names, false));
                }
                Some(Token::Sign(",")) if in_range && names.len() < 2 => {
                    self.at += 1;
                    self.skip_spaces();
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str) -> Result<(), String> {
        if self.variables.iter().any(|known| known == name) {
            Ok(())
        } else {
            Err(self.error(&format!("undefined variable \"${name}\"")))
        }
    }

    fn command(&mut self) -> Result<Command, String> {
        let mut operands = Vec::new();
        self.skip_spaces();
        let start = self.place();
        let mut end = start;
        loop {
            self.skip_spaces();
            let start_of_operand = self.place();
            let Some((operand, at)) = self.operand()? else {
                let span = Span {
                    at: start,
                    start,
                    end,
                };
                return Ok(Command { operands, span });
            };
            end = self.place();
            let span = Span {
                at: at.unwrap_or(start_of_operand),
                start: start_of_operand,
                end,
            };
            operands.push((operand, span));
            match self.peek() {
                Some(Token::Space | Token::Close | Token::Sign(")" | "|")) | None => {}
                other => {
                    return Err(self.error(&format!("unexpected {} in operand", describe(other))));
                }
            }
        }
    }

    /// An operand and, where it goes on in fields, the place of the first.
    fn operand(&mut self) -> Result<Option<(Operand, Option<usize>)>, String> {
        let Some(token) = self.peek().cloned() else {
            return Ok(None);
        };
        let operand = match token {
            Token::Dot => Operand::Dot,
            Token::Text2(text) => Operand::Constant(Value::String(text)),
            Token::Char(c) => Operand::Constant(Value::from(u32::from(c))),
            Token::Number(text) => Operand::Constant(self.number(&text)?),
            Token::Field(name) => {
                self.at += 1;
                let (fields, at) = self.fields(vec![name]);
                return Ok(Some((Operand::Field(fields), at)));
            }
            Token::Variable(name) => {
                self.known(&name)?;
                self.at += 1;
                let (fields, at) = self.fields(Vec::new());
                return Ok(Some((Operand::Variable(name, fields), at)));
            }
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Constant(Value::Bool(true)),
                "false" => Operand::Constant(Value::Bool(false)),
                "nil" => Operand::Nil,
                name if functions::exists(name) => Operand::Function(word),
                _ => return Err(self.error(&format!("function \"{word}\" not defined"))),
            },
            Token::Sign("(") => {
                self.at += 1;
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err(self.error("parentheses are nested too deep"));
                }
                let pipeline = self.pipeline(false)?;
                self.depth -= 1;
                self.skip_spaces();
                if self.peek() != Some(&Token::Sign(")")) {
                    return Err(self.error("unclosed left paren"));
                }
                self.at += 1;
                let (fields, at) = self.fields(Vec::new());
                return Ok(Some((Operand::Nested(Box::new(pipeline), fields), at)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        if matches!(self.peek(), Some(Token::Field(_))) && !matches!(operand, Operand::Dot) {
            return Err(self.error("unexpected . after term"));
        }
        Ok(Some((operand, None)))
    }

    fn fields(&mut self, mut fields: Vec<String>) -> (Vec<String>, Option<usize>) {
        let first = self.place();
        let goes_on = matches!(self.peek(), Some(Token::Field(_)));
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
        (fields, goes_on.then_some(first))
    }

    fn number(&self, text: &str) -> Result<Value, String> {
        let plain = text.replace('_', "");
        if let Ok(whole) = crate::flags::quantity::signed(&plain, 64) {
            return Ok(Value::from(whole));
        }
        plain
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| self.error(&format!("bad number syntax: \"{text}\"")))
    }
}

fn describe(token: Option<&Token>) -> String {
    match token {
        None => "EOF".to_owned(),
        Some(Token::Text(_)) => "text".to_owned(),
        Some(Token::Open) => "\"{{\"".to_owned(),
        Some(Token::Close) => "\"}}\"".to_owned(),
        Some(Token::Field(name)) => format!("<.{name}>"),
        Some(Token::Variable(name)) => format!("\"${name}\""),
        Some(Token::Word(word) | Token::Number(word)) => format!("<{word}>"),
        Some(Token::Text2(text)) => crate::flags::quantity::quote(text),
        Some(Token::Char(c)) => format!("'{c}'"),
        Some(Token::Dot) => "<.>".to_owned(),
        Some(Token::Sign(sign)) => format!("\"{sign}\""),
        Some(Token::Space) => "space".to_owned(),
    }
}
