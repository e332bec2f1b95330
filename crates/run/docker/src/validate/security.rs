//! `--security-opt`.

use crate::config::HostConfig;
use crate::host::HostFacts;

use super::Invalid;

/// What the security options of a container ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityOptions {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// Which filter.
    pub seccomp: Seccomp,
    /// `systempaths=unconfined`: nothing masked, nothing read-only.
    pub all_system_paths: bool,
    /// Whether control groups can be changed inside; as privileged says if it
    /// was not asked for.
    pub writable_cgroups: Option<bool>,
}

/// Which system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The engine's.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile, as JSON.
    Profile(String),
}

/// Refuses an AppArmor profile where the kernel would confine by it, since
/// none is applied: who asks for one must not believe that it holds.
pub(super) fn check_apparmor(host: &HostConfig, facts: &HostFacts) -> Result<(), Invalid> {
    let profile = |option: &String| {
        let value = option.strip_prefix("apparmor")?.strip_prefix(['=', ':'])?;
        (value != "unconfined").then_some(())
    };
    let mut options = host.security_opt.iter().flatten();
    if facts.apparmor && options.any(|option| profile(option).is_some()) {
        return Err(Invalid::NotYet("apparmor"));
    }
    Ok(())
}

/// Parses the options. AppArmor's and SELinux' are taken and do nothing where
/// the kernel has neither, as Docker does; see also [`check_apparmor`].
pub fn security_options(host: &HostConfig) -> Result<SecurityOptions, Invalid> {
    let mut options = SecurityOptions::default();
    for option in host.security_opt.iter().flatten() {
        match option.as_str() {
            "no-new-privileges" => {
                options.no_new_privileges = true;
                continue;
            }
            "writable-cgroups" => {
                options.writable_cgroups = Some(true);
                continue;
            }
            "disable" => continue,
            _ => {}
        }
        let Some(at) = option.find(['=', ':']) else {
            return Err(Invalid::rule(format!(
                "invalid --security-opt 1: {option:?}"
            )));
        };
        let unknown = || Invalid::rule(format!("invalid --security-opt 2: {option:?}"));
        match (&option[..at], &option[at + 1..]) {
            ("label" | "apparmor", _) => {}
            ("seccomp", "unconfined") => options.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => options.seccomp = Seccomp::Default,
            ("seccomp", profile) => {
                // Read here, so that a bad one is refused at create.
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(profile);
                if !parsed.is_ok_and(|value| value.is_object()) {
                    return Err(Invalid::rule(
                        "Decoding seccomp profile failed: it is not a JSON object",
                    ));
                }
                options.seccomp = Seccomp::Profile(profile.to_owned());
            }
            ("no-new-privileges", value) => {
                options.no_new_privileges = crate::go::parse_bool(value).ok_or_else(unknown)?;
            }
            ("writable-cgroups", value) => {
                let writable = crate::go::parse_bool(value).ok_or_else(unknown)?;
                options.writable_cgroups = Some(writable);
            }
            ("systempaths", "unconfined") => options.all_system_paths = true,
            _ => return Err(unknown()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Result<SecurityOptions, String> {
        let host = HostConfig {
            security_opt: Some(options.iter().map(|option| (*option).to_owned()).collect()),
            ..HostConfig::default()
        };
        security_options(&host).map_err(|error| error.to_string())
    }

    #[test]
    fn options() {
        let all = parsed(&[
            "no-new-privileges:true",
            "seccomp=unconfined",
            "label=disable",
            "apparmor=foo",
            "systempaths=unconfined",
            "writable-cgroups=false",
        ])
        .expect("good");
        assert!(all.no_new_privileges && all.all_system_paths);
        assert_eq!(all.writable_cgroups, Some(false));
        let short = parsed(&["writable-cgroups"]).expect("good");
        assert_eq!(short.writable_cgroups, Some(true));
        assert!(parsed(&["writable-cgroups=maybe"]).is_err());
        assert_eq!(all.seccomp, Seccomp::Unconfined);
        let profile = parsed(&[r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#]).expect("good");
        assert!(matches!(profile.seccomp, Seccomp::Profile(_)));
        assert!(
            !parsed(&["no-new-privileges=0"])
                .expect("good")
                .no_new_privileges
        );
    }

    #[test]
    fn a_profile_that_would_not_hold_is_refused() {
        let check = |enabled: bool, option: &str, good: bool| {
            let host = HostConfig {
                security_opt: Some(vec![option.to_owned()]),
                ..HostConfig::default()
            };
            let facts = HostFacts {
                apparmor: enabled,
                ..crate::host::example()
            };
            let outcome = check_apparmor(&host, &facts);
            assert_eq!(outcome.is_ok(), good, "{enabled} {option}");
        };
        check(true, "apparmor=docker-default", false);
        check(true, "apparmor:mine", false);
        check(true, "apparmor=", false);
        check(true, "apparmor=unconfined", true);
        check(true, "seccomp=unconfined", true);
        check(false, "apparmor=mine", true);
    }

    #[test]
    fn refused() {
        let check = |option: &str, sentence: &str| {
            assert_eq!(parsed(&[option]), Err(sentence.to_owned()));
        };
        check("foo", r#"invalid --security-opt 1: "foo""#);
        check("foo=bar", r#"invalid --security-opt 2: "foo=bar""#);
        check(
            "no-new-privileges:foo",
            r#"invalid --security-opt 2: "no-new-privileges:foo""#,
        );
        check(
            "seccomp={bad",
            "Decoding seccomp profile failed: it is not a JSON object",
        );
    }
}
