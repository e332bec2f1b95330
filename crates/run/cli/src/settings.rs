//! The user's `config.json` of docker's command: proxies for containers,
//! formats of listings, detach keys.
//!
//! Read when a verb first asks, and not before: most users have none, and it
//! then costs one open that fails. What is in it is never written, and what
//! names registries or their passwords is not looked at.

use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

/// The largest file that is read, bytes.
const FILE_BYTES: u64 = 1 << 20;
/// Variables that a proxy becomes, and its name in the file.
const PROXIES: [(&str, &str); 5] = [
    ("HTTP_PROXY", "httpProxy"),
    ("HTTPS_PROXY", "httpsProxy"),
    ("NO_PROXY", "noProxy"),
    ("FTP_PROXY", "ftpProxy"),
    ("ALL_PROXY", "allProxy"),
];

/// What the file says; nothing without one.
#[derive(Debug, Default)]
pub(crate) struct Settings(Value);

impl Settings {
    /// Reads the file of `$DOCKER_CONFIG`, else of `~/.docker`. A file that
    /// cannot be read is as good as none; the reason is given beside.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> (Self, Option<String>) {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let folder = given("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(given("HOME")?).join(".docker")));
        let Some(path) = folder.map(|folder| folder.join("config.json")) else {
            return (Self::default(), None);
        };
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
        let failed = |reason: String| {
            let text = format!(
                "WARNING: Error loading config file: {}: {reason}",
                path.display()
            );
            (Self::default(), Some(text))
        };
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Self::default(), None),
            Err(error) => failed(error.to_string()),
            Ok(_) if bytes.len() as u64 > FILE_BYTES => {
                failed(format!("the file is over {FILE_BYTES} bytes"))
            }
            Ok(_) => match serde_json::from_slice(&bytes) {
                Ok(value @ Value::Object(_)) => (Self(value), None),
                Ok(_) => failed("it is no JSON object".to_owned()),
                Err(error) => failed(error.to_string()),
            },
        }
    }

    /// A member that is text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Adds the proxies for containers of this engine, each in capitals and
    /// in small letters, where a variable of that name is not given.
    pub(crate) fn add_proxies(&self, host: &str, variables: &mut Vec<String>) {
        let all = &self.0["proxies"];
        let own = Some(&all[host]).filter(|own| own.is_object());
        let proxies = own.unwrap_or(&all["default"]);
        for (name, member) in PROXIES {
            let Some(value) = proxies[member].as_str().filter(|text| !text.is_empty()) else {
                continue;
            };
            for name in [name.to_owned(), name.to_ascii_lowercase()] {
                let is_given = |text: &String| text.split('=').next() == Some(&name);
                if !variables.iter().any(is_given) {
                    variables.push(format!("{name}={value}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: Option<&str>) -> (Settings, Option<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(text) = text {
            std::fs::write(folder.path().join("config.json"), text).expect("write");
        }
        Settings::read(|name| {
            (name == "DOCKER_CONFIG").then(|| folder.path().display().to_string())
        })
    }

    #[test]
    fn proxies_become_variables() {
        let (settings, warning) = read(Some(
            r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b", "ftpProxy": ""},
                "unix:///other": {"allProxy": "socks://p"}}, "psFormat": "{{.ID}}"}"#,
        ));
        assert_eq!(warning, None);
        assert_eq!(settings.text("psFormat"), "{{.ID}}");
        assert_eq!(settings.text("imagesFormat"), "");
        let added = |host: &str, given: &[&str]| {
            let mut variables = given.iter().map(|text| (*text).to_owned()).collect();
            settings.add_proxies(host, &mut variables);
            variables.join(" ")
        };
        assert_eq!(
            added("unix:///here", &["A=b", "http_proxy=mine", "NO_PROXY"]),
            "A=b http_proxy=mine NO_PROXY HTTP_PROXY=http://p:1 no_proxy=a,b"
        );
        assert_eq!(
            added("unix:///other", &[]),
            "ALL_PROXY=socks://p all_proxy=socks://p"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_once_and_ignored() {
        assert_eq!(read(None).1, None);
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
        let deep = "[".repeat(100_000);
        for bad in ["", "[]", "{", "5", &long, &deep] {
            let (settings, warning) = read(Some(bad));
            let warning = warning.expect("a warning");
            assert!(warning.starts_with("WARNING: Error loading config file: "));
            assert_eq!(settings.text("psFormat"), "");
            let mut variables = Vec::new();
            settings.add_proxies("unix:///x", &mut variables);
            assert!(variables.is_empty());
        }
        for odd in [
            r#"{"proxies": 5}"#,
            r#"{"proxies": {"default": [1]}, "psFormat": {}}"#,
        ] {
            let (settings, warning) = read(Some(odd));
            let mut variables = Vec::new();
            settings.add_proxies("unix:///x", &mut variables);
            assert_eq!((warning, settings.text("psFormat")), (None, ""));
            assert!(variables.is_empty());
        }
    }
}
