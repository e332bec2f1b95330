//! Hooks that run in the container's namespaces: `createContainer` and
//! `startContainer`. Those of the host are their caller's, see
//! [`crate::hooks`].

use carrack_oci::runtime::{Hook, Spec};

use super::PlanError;
use crate::plan::HookPlan;

pub(super) fn create(spec: &Spec) -> Result<Vec<HookPlan>, PlanError> {
    let hooks = spec.hooks.as_ref().map(|h| h.create_container.as_slice());
    all("hooks.createContainer", hooks.unwrap_or_default())
}

pub(super) fn start(spec: &Spec) -> Result<Vec<HookPlan>, PlanError> {
    let hooks = spec.hooks.as_ref().map(|h| h.start_container.as_slice());
    all("hooks.startContainer", hooks.unwrap_or_default())
}

fn all(field: &str, hooks: &[Hook]) -> Result<Vec<HookPlan>, PlanError> {
    hooks.iter().map(|hook| one(field, hook)).collect()
}

fn one(field: &str, hook: &Hook) -> Result<HookPlan, PlanError> {
    if !hook.path.starts_with('/') {
        return Err(PlanError::invalid(
            field,
            format!("path {:?} is not absolute", hook.path),
        ));
    }
    if hook
        .args
        .iter()
        .chain(&hook.env)
        .chain([&hook.path])
        .any(|text| text.contains('\0'))
    {
        return Err(PlanError::invalid(field, "a string holds a NUL byte"));
    }
    let timeout_s = match hook.timeout {
        None => 0,
        Some(seconds) => u32::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| {
                PlanError::invalid(field, format!("timeout {seconds} is not above zero"))
            })?,
    };
    Ok(HookPlan {
        path: hook.path.clone(),
        arguments: if hook.args.is_empty() {
            vec![hook.path.clone()]
        } else {
            hook.args.clone()
        },
        environment: hook.env.clone(),
        timeout_s,
        state: String::new(),
    })
}
