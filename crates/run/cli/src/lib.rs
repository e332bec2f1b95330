//! The engine's client: docker's verbs, tables, templates, terminal
#![forbid(unsafe_code)]
