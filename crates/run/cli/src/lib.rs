//! The engine's client: docker's verbs, tables, templates, terminal.
#![forbid(unsafe_code)]
mod create;
mod engine;
mod failure;
mod flags;
mod show;
mod template;
