//! A line of `GET /events`.

use carrack_docker::events::{Event, Subject};
use serde_json::{Map, Value, json};

/// Encodes an event, with the legacy members beside the newer ones.
pub(crate) fn event(event: &Event) -> Value {
    let mut value = Map::new();
    if matches!(event.subject, Subject::Container | Subject::Image) {
        value.insert("status".to_owned(), json!(event.action));
        value.insert("id".to_owned(), json!(event.actor));
        if let Some(image) = event
            .attributes
            .get("image")
            .filter(|_| event.subject == Subject::Container)
        {
            value.insert("from".to_owned(), json!(image));
        }
    }
    let rest = [
        ("Type", json!(event.subject.as_str())),
        ("Action", json!(event.action)),
        (
            "Actor",
            json!({"ID": event.actor, "Attributes": event.attributes}),
        ),
        ("scope", json!("local")),
        ("time", json!(event.at_ns.div_euclid(1_000_000_000))),
        ("timeNano", json!(event.at_ns)),
    ];
    value.extend(rest.map(|(name, member)| (name.to_owned(), member)));
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn legacy_beside_new() {
        let encoded = event(&Event {
            subject: Subject::Container,
            action: "start".into(),
            actor: "abc".into(),
            attributes: [("image".to_owned(), "busybox".to_owned())].into(),
            at_ns: 1_500_000_000_000_000_001,
        });
        expect![[r#"{"status":"start","id":"abc","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"image":"busybox"}},"scope":"local","time":1500000000,"timeNano":1500000000000000001}"#]]
            .assert_eq(&encoded.to_string());
    }
}
