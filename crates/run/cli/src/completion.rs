//! Completion for bash, zsh and fish.
//!
//! The scripts are a few lines each: they ask the program itself, which reads
//! the table of verbs, and the engine for names. So they never go out of step.

use crate::engine::{Ask, Engine};
use crate::session::PROGRAM;
use crate::verbs::{self, MANAGEMENT, VERBS, text};
use crate::{not_yet, verbs::Verb};

/// The word by which a script asks.
pub(crate) const ASK: &str = "__complete";

const BASH: &str = r#"# bash completion for carrack
_carrack() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(carrack __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _carrack carrack
"#;

const ZSH: &str = r#"#compdef carrack
_carrack() {
    local -a candidates
    candidates=("${(@f)$(carrack __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- $candidates
    [[ -n $candidates ]] || _files
}
compdef _carrack carrack
"#;

const FISH: &str = r#"# fish completion for carrack
complete -c carrack -a '(carrack __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"#;

/// A shell's script, `None` for a shell that is not known.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(BASH),
        "zsh" => Some(ZSH),
        "fish" => Some(FISH),
        _ => None,
    }
}

/// The help of the command that prints scripts.
pub(crate) fn help() -> String {
    format!(
        "Usage:  {PROGRAM} completion bash|zsh|fish\n\nPrint the completion script of a shell\n\n\
         bash:  {PROGRAM} completion bash > /etc/bash_completion.d/{PROGRAM}\n\
         zsh:   {PROGRAM} completion zsh > \"${{fpath[1]}}/_{PROGRAM}\"\n\
         fish:  {PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish\n"
    )
}

/// What may stand where the last of `words` is being typed, a line each.
pub(crate) fn candidates(words: &[String], engine: &mut Engine) -> Vec<String> {
    let Some((last, before)) = words.split_last() else {
        return top_level();
    };
    let name = match before {
        [] => return fitting(top_level(), last),
        [group] if MANAGEMENT.iter().any(|(name, _)| name == group) => {
            return fitting(below(group), last);
        }
        [group, verb, ..] if MANAGEMENT.iter().any(|(name, _)| name == group) => {
            format!("{group} {verb}")
        }
        [verb, ..] if verb == "completion" => {
            return fitting(["bash", "zsh", "fish"].map(str::to_owned).to_vec(), last);
        }
        [verb, ..] => verb.clone(),
    };
    let Some(verb) = verbs::find(&name) else {
        return Vec::new();
    };
    if last.starts_with('-') {
        let flags = verb.all_flags().filter(|flag| !flag.help.is_empty());
        return fitting(flags.map(|flag| format!("--{}", flag.long)).collect(), last);
    }
    fitting(names(verb, engine), last)
}

fn fitting(candidates: Vec<String>, typed: &str) -> Vec<String> {
    candidates
        .into_iter()
        .filter(|candidate| candidate.starts_with(typed))
        .collect()
}

fn top_level() -> Vec<String> {
    let mut names: Vec<String> = VERBS
        .iter()
        .filter_map(|verb| verb.short_name())
        .chain(MANAGEMENT.iter().map(|(name, _)| *name))
        .chain(["completion", "daemon"])
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn below(group: &str) -> Vec<String> {
    let prefix = format!("{group} ");
    let mut names: Vec<String> = VERBS
        .iter()
        .flat_map(|verb| verb.names)
        .filter_map(|name| name.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    names.retain(|name| !not_yet::MANAGED.contains(&format!("{group} {name}").as_str()));
    names.sort();
    names
}

/// Names that the engine knows, of the kind that the verb takes.
fn names(verb: &Verb, engine: &mut Engine) -> Vec<String> {
    let (path, field) = if verb.usage.contains("IMAGE") {
        ("/images/json", "RepoTags")
    } else if verb.usage.contains("VOLUME [") {
        ("/volumes", "Name")
    } else if verb.usage.contains("NETWORK [") {
        ("/networks", "Name")
    } else if verb.usage.contains("CONTAINER") || verb.usage.contains("NAME|ID") {
        ("/containers/json", "Names")
    } else {
        return Vec::new();
    };
    let ask = Ask::get(path);
    let Ok(answer) = engine.ask(if path == "/containers/json" {
        ask.with("all", "1")
    } else {
        ask
    }) else {
        return Vec::new();
    };
    let list = if path == "/volumes" {
        verbs::items(&answer, "Volumes")
    } else {
        verbs::items(&answer, "")
    };
    let mut names: Vec<String> = Vec::new();
    for item in list {
        match &item[field] {
            serde_json::Value::Array(several) => {
                names.extend(
                    several
                        .iter()
                        .filter_map(|name| name.as_str())
                        .map(|name| name.trim_start_matches('/').to_owned()),
                );
            }
            _ => names.push(text(item, field).to_owned()),
        }
    }
    names
}
