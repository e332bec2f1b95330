use serde_json::json;

use super::types::{CONTAINER, TEXTS, Type, embedded, field, structure};
use super::*;

/// A container with two fields more.
const DATA: &Type = &structure(
    "test.Data",
    &[
        embedded("InspectResponse", CONTAINER),
        field("Ratio", &Type::Number("float64")),
        field("Empty", TEXTS),
    ],
);

const ROW: Mode = Mode::Row("*formatter.ContainerContext");

fn inspected(source: &str) -> Result<String, String> {
    let object = Object {
        value: data(),
        ty: DATA,
        json: Json::Kept,
    };
    Inspector::new(Template::parse(source)?).print(&object)
}

fn data() -> Value {
    json!({
        "Id": "0123456789abcdef",
        "Name": "/web",
        "RestartCount": 3,
        "Ratio": 0.25,
        "Args": ["-c", "exit 3"],
        "Empty": [],
        "State": {"Status": "running", "Running": true, "Pid": 4242, "ExitCode": 0},
        "Config": {"Labels": {"b.c": "2", "a": "1"}, "Env": ["A=1", "B=2"], "Cmd": null},
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null},
            "Networks": {"bridge": {"IPAddress": "172.17.0.2"}, "zeta": {"IPAddress": "10.0.0.1"}},
        },
    })
}

/// Each was checked against Go's text/template with docker's functions on the
/// same data.
#[test]
fn prints_what_go_prints() {
    for (source, expected) in [
        ("plain", "plain"),
        ("{{.ID}}", "0123456789abcdef"),
        ("{{ .State.Pid }}:{{.State.Running}}", "4242:true"),
        ("{{.Args}}", "[-c exit 3]"),
        ("{{.Empty}}", "[]"),
        ("{{.Config.Labels}}", "map[a:1 b.c:2]"),
        ("{{.Config.Labels.a}}", "1"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ("{{index .Config.Labels \"b.c\"}}", "2"),
        ("{{index .Config.Labels \"none\"}}", ""),
        ("{{index .Args 1}}", "exit 3"),
        (
            "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
            "8080",
        ),
        (
            "{{.NetworkSettings.Networks.bridge.IPAddress}}",
            "172.17.0.2",
        ),
        ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
        (
            "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}",
            "0=A=1, 1=B=2",
        ),
        (
            "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}};{{end}}",
            "bridge=172.17.0.2;zeta=10.0.0.1;",
        ),
        (
            "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}}{{with $conf}} -> {{(index . 0).HostPort}}{{end}}\n{{end}}",
            "53/udp\n80/tcp -> 8080\n",
        ),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        (
            "{{if eq .State.Status \"exited\" \"running\"}}y{{end}}",
            "y",
        ),
        (
            "{{if and .State.Running (gt .RestartCount 2)}}many{{else if .State.Running}}few{{end}}",
            "many",
        ),
        (
            "{{if or .Empty (not .State.Running)}}y{{else}}n{{end}}",
            "n",
        ),
        ("{{if .State.Health}}h{{else}}none{{end}}", "none"),
        (
            "{{with .State}}{{.Status}} {{$.Name}}{{end}}",
            "running /web",
        ),
        ("{{$n := .Name}}{{$n}}{{$n = \"x\"}}{{$n}}", "/webx"),
        ("a {{- \" b \" -}} c", "a b c"),
        ("{{/* nothing */}}x{{- /* here */ -}} y", "xy"),
        ("{{json .Args}}", "[\"-c\",\"exit 3\"]"),
        (
            "{{json (index .NetworkSettings.Ports \"80/tcp\")}}",
            "[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}]",
        ),
        ("{{.Config.Env | json}}", "[\"A=1\",\"B=2\"]"),
        ("{{join .Args \" \"}}", "-c exit 3"),
        (
            "{{upper .Name}} {{lower \"ABC\"}} {{title \"a bc\"}}",
            "/WEB abc A Bc",
        ),
        ("{{index (split .Name \"/\") 1}}", "web"),
        ("{{truncate .ID 4}}", "0123"),
        ("{{pad .Name 1 2}}|", " /web  |"),
        (
            "{{len .Args}} {{len .Name}} {{len .Config.Labels}}",
            "2 4 2",
        ),
        ("{{slice .ID 0 12}}", "0123456789ab"),
        (
            "{{printf \"%s|%q|%5d|%-5d|%05d|%.2f|%t|%v|%%\" .Name .Name .State.Pid 7 42 .Ratio true .Args}}",
            "/web|\"/web\"| 4242|7    |00042|0.25|true|[-c exit 3]|%",
        ),
        (
            "{{printf \"%.12s %x %X %8.3f|\" .ID 255 \"hi\" 1.5}}",
            "0123456789ab ff 6869    1.500|",
        ),
        ("{{printf \"%d\" \"x\"}}", "%!d(string=x)"),
        ("{{printf \"%s %s\" .Name}}", "/web %!s(MISSING)"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{println \"a\" 1}}", "a 1\n"),
        (
            "{{.Ratio}} {{1.0}} {{'a'}} {{0x10}} {{-3}}",
            "0.25 1 97 16 -3",
        ),
        ("{{`raw \\n`}} {{\"\\t\\u00e9\"}}", "raw \\n \té"),
        ("{{.Config.Cmd}}", "[]"),
        (
            "{{ne .State.ExitCode 0}} {{lt 1 2}} {{ge \"b\" \"a\"}}",
            "false true true",
        ),
        (
            "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
            "A=1",
        ),
        (
            "{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
            "B=2",
        ),
        ("{{.State.Status | upper | printf \"%s!\"}}", "RUNNING!"),
    ] {
        assert_eq!(inspected(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn what_cannot_be_parsed_says_why() {
    for (source, expected) in [
        ("{{.Id", "template: :1: unclosed action"),
        ("{{if .Id}}x", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        (
            "{{nope .Id}}",
            "template: :1: function \"nope\" not defined",
        ),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{}}", "template: :1: missing value for command"),
        ("{{.Id |}}", "template: :1: missing value after |"),
        ("{{\"abc}}", "template: :1: unterminated quoted string"),
        ("{{(.Id}}", "template: :1: unclosed left paren"),
        (
            "{{template \"x\"}}",
            "template: :1: {{template}} is not supported",
        ),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("a\n{{foo}}", "template: :2: function \"foo\" not defined"),
    ] {
        assert_eq!(
            Template::parse(source).err().as_deref(),
            Some(expected),
            "{source}"
        );
    }
}

/// The sentences of docker's client, which are those of the second attempt,
/// on bare JSON.
#[test]
fn what_cannot_be_evaluated_says_where_and_why() {
    for (source, expected) in [
        (
            "{{.Nope}}",
            "1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        ),
        (
            "a\né{{ .State.Nope }}",
            "2:11: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"",
        ),
        (
            "{{with .State}}{{.Nope}}{{end}}",
            "1:17: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        ),
        (
            "{{.Name.First}}",
            "1:7: executing \"\" at <.Name.First>: can't evaluate field First in type interface {}",
        ),
        (
            "{{ index   .Args   9 }}",
            "1:3: executing \"\" at <index .Args 9>: error calling index: index out of range: 9",
        ),
        (
            "{{.State.Health.Status}}",
            "1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\"",
        ),
        (
            "{{.Config.Cmd.First}}",
            "1:9: executing \"\" at <.Config.Cmd.First>: nil pointer evaluating interface {}.First",
        ),
        (
            "{{eq .Name 1}}",
            "1:2: executing \"\" at <eq .Name 1>: error calling eq: incompatible types for comparison",
        ),
        (
            "{{range .Name}}x{{end}}",
            "1:8: executing \"\" at <.Name>: range can't iterate over /web",
        ),
        (
            "{{.Name \"x\"}}",
            "1:2: executing \"\" at <.Name>: Name is not a method but has arguments",
        ),
        (
            "{{lower .State}}",
            "1:8: executing \"\" at <.State>: wrong type for value; expected string; got map[string]interface {}",
        ),
        (
            "{{lower 1}}",
            "1:8: executing \"\" at <1>: expected string; found 1",
        ),
        (
            "{{printf \"%d\" .State}}",
            "1:2: executing \"\" at <printf \"%d\" .State>: error calling printf: %d of map[string]interface {} is not supported",
        ),
        (
            "{{json}}",
            "1:2: executing \"\" at <json>: wrong number of args for json: want 1 got 0",
        ),
        (
            "{{index}}",
            "1:2: executing \"\" at <index>: wrong number of args for index: want at least 1 got 0",
        ),
    ] {
        let expected = format!("template: :{expected}");
        assert_eq!(inspected(source), Err(expected), "{source}");
    }
    let named = Template::parse_named("version", "{{.A}} {{.B.C}}").unwrap();
    let (printed, done) = named.print(&json!({"A": "a", "B": "b"}), Mode::Raw);
    assert_eq!(printed, "a ");
    assert_eq!(
        done.unwrap_err(),
        "template: version:1:11: executing \"version\" at <.B.C>: can't evaluate field C in type interface {}"
    );
}

#[test]
fn rows_have_labels_and_headers_leave_functions_alone() {
    let row = json!({"Names": "web", "\0labels": {"com.site.rack-no": "7"}});
    let template =
        Template::parse("{{upper .Names}}\t{{.Label \"com.site.rack-no\"}}\t{{json .}}").unwrap();
    assert_eq!(
        template.execute_as(&row, ROW).unwrap(),
        "WEB\t7\t{\"Names\":\"web\"}"
    );
    let headers = json!({"Names": "names"});
    let template = Template::parse("{{upper .Names}}\t{{.Label \"com.site.rack-no\"}}").unwrap();
    assert_eq!(
        template.execute_as(&headers, Mode::Header).unwrap(),
        "names\track no"
    );
}

#[test]
fn escapers() {
    let value = json!({"A": "<a href='x'>\"b\" & c=d\\\n\u{e9}</a>", "N": 5});
    let check = |source: &str, expected: &str| {
        let got = Template::parse(source).unwrap().execute_as(&value, ROW);
        assert_eq!(got.as_deref(), Ok(expected), "{source}");
    };
    check(
        "{{html .A}}",
        "&lt;a href=&#39;x&#39;&gt;&#34;b&#34; &amp; c=d\\\n\u{e9}&lt;/a&gt;",
    );
    check(
        "{{js .A}}",
        "\\u003Ca href\\u003D\\'x\\'\\u003E\\\"b\\\" \\u0026 c\\u003Dd\\\\\\u000A\u{e9}\\u003C/a\\u003E",
    );
    check("{{urlquery .N \" /é\"}}", "5+%2F%C3%A9");
    check("{{.N | html}}", "5");
    let doubled = "{{".to_owned() + &"js (".repeat(40) + "\"\\\\\"" + &")".repeat(40) + "}}";
    let grown = Template::parse(&doubled).map(|template| template.execute_as(&value, ROW).is_err());
    assert!(grown.unwrap_or(true), "escapes of escapes stay small");
}

#[test]
fn hostile_templates_stay_small() {
    let deep = "{{".to_owned() + &"(".repeat(10_000) + "1" + &")".repeat(10_000) + "}}";
    assert!(Template::parse(&deep).is_err());
    let blocks = "{{if true}}".repeat(10_000);
    assert!(Template::parse(&blocks).is_err());
    let chained = "{{if true}}{{else if true}}".to_owned() + &"{{else if true}}".repeat(10_000);
    assert!(Template::parse(&chained).is_err());
    assert!(
        Template::parse("{{printf \"%99999999d\" 1}}")
            .unwrap()
            .execute_as(&data(), ROW)
            .is_err()
    );
    assert!(
        Template::parse("{{pad .Name 4000000000 1}}")
            .unwrap()
            .execute_as(&data(), ROW)
            .is_err()
    );
}

#[test]
fn reads_finds_fields_of_the_dot() {
    assert!(
        Template::parse("{{if .Size}}{{end}}")
            .unwrap()
            .reads("Size")
    );
    assert!(Template::parse("{{json (.Size)}}").unwrap().reads("Size"));
    assert!(!Template::parse("{{.Names}} Size").unwrap().reads("Size"));
}
