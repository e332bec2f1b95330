//! What docker's client 28.2 prints of these answers, but for addresses.

use serde_json::{Value, json};

use super::*;
use crate::template::{Inspector, Json, Mode, Object, Template};

/// An answer of the engine: every kind of field, most of them filled.
fn answer(name: &str) -> Value {
    let answers: Value =
        serde_json::from_str(include_str!("../../../testdata/answers.json")).unwrap();
    answers[name].clone()
}

fn check(name: &str, ty: &'static Type, cases: &[(&str, &str)]) {
    let answer = answer(name);
    for (source, expected) in cases {
        let object = Object {
            value: answer.clone(),
            ty,
            json: Json::Kept,
        };
        let template = Template::parse(source).unwrap();
        let printed = Inspector::new(template).print(&object);
        assert_eq!(printed.as_deref(), Ok(*expected), "{source}");
    }
}

#[test]
fn containers() {
    check(
        "container",
        CONTAINER,
        &[
            (
                "{{.ID}} {{.HostConfig.CPUShares}}",
                "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeebeef 512",
            ),
            (
                "{{.State}}",
                "{running true false false false false 42 0    0xc000000000}",
            ),
            ("{{.State.Health.Log}}", "[0xc000000000]"),
            (
                "{{range .State.Health.Log}}{{.Start}} {{.End}}{{end}}",
                "2026-01-02 03:04:05.12 +0000 UTC 2026-01-02 04:04:05 +0200 +0200",
            ),
            (
                "{{json .State}}",
                "{\"Status\":\"running\",\"Running\":true,\"Paused\":false,\"Restarting\":false,\"OOMKilled\":false,\"Dead\":false,\"Pid\":42,\"ExitCode\":0,\"Error\":\"\",\"StartedAt\":\"\",\"FinishedAt\":\"\",\"Health\":{\"Status\":\"healthy\",\"FailingStreak\":1,\"Log\":[{\"Start\":\"2026-01-02T03:04:05.12Z\",\"End\":\"2026-01-02T04:04:05+02:00\",\"ExitCode\":0,\"Output\":\"ok\\n\"}]}}",
            ),
            (
                "{{.Config}}",
                "{   false false false map[80/tcp:{}] false false false [] [] 0xc000000000 false busybox map[/v:{}]  [one] false  [] map[a:<1>&]  0xc000000000 [sh]}",
            ),
            (
                "{{json .Config}}",
                "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,\"ExposedPorts\":{\"80/tcp\":{}},\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":null,\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":90000000000,\"Timeout\":1500000000,\"StartPeriod\":1500,\"StartInterval\":7,\"Retries\":3},\"Image\":\"busybox\",\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"\",\"Entrypoint\":[\"one\"],\"OnBuild\":null,\"Labels\":{\"a\":\"<1>&\"},\"StopTimeout\":0,\"Shell\":[\"sh\"]}",
            ),
            (
                "{{.Config.Healthcheck}} {{.Config.Healthcheck.StartPeriod}}",
                "{[CMD true] 1m30s 1.5s 1.5µs 7ns 3} 1.5µs",
            ),
            (
                "{{.Config.Entrypoint}} {{.ExecIDs}} {{.Config.Cmd}}",
                "[one] [] []",
            ),
            (
                "{{.HostConfig.LogConfig}} {{printf \"%+v %T\" .HostConfig.LogConfig .HostConfig.LogConfig}}",
                "{json-file map[max-size:1m]} {Type:json-file Config:map[max-size:1m]} container.LogConfig",
            ),
            (
                "{{.HostConfig.Ulimits}} {{range .HostConfig.Ulimits}}{{.}} {{.Soft}}{{end}} {{.HostConfig.BlkioDeviceReadBps}}",
                "[nofile=1:2] nofile=1:2 1 [/dev/x:5]",
            ),
            (
                "{{.HostConfig.Init}} {{.HostConfig.PidsLimit}} {{.HostConfig.OomKillDisable}} {{.Config.StopTimeout}}",
                "false 0 <nil> 0",
            ),
            (
                "{{if .HostConfig.Init}}y{{end}}{{if .HostConfig.OomKillDisable}}y{{else}}n{{end}}",
                "yn",
            ),
            (
                "{{range .Mounts}}{{.}} [{{.Name}}]{{end}}",
                "{bind  /a /b   true rprivate} []",
            ),
            (
                "{{range .HostConfig.Mounts}}{{.}} {{.TmpfsOptions}};{{end}}",
                "{volume d /d false  <nil> 0xc000000000 <nil> <nil> <nil>} <nil>;{tmpfs  /t false  <nil> <nil> <nil> 0xc000000000 <nil>} {5 -rwxr-xr-x [[a b] [c]]};{bind /a /b false  0xc000000000 <nil> <nil> <nil> <nil>} <nil>;",
            ),
            (
                "{{(index .HostConfig.Mounts 1).TmpfsOptions.Mode}}",
                "-rwxr-xr-x",
            ),
            (
                "{{json .HostConfig.Mounts}}",
                "[{\"Type\":\"volume\",\"Source\":\"d\",\"Target\":\"/d\",\"VolumeOptions\":{\"NoCopy\":true,\"Labels\":{\"a\":\"b\"},\"Subpath\":\"s\",\"DriverConfig\":{\"Name\":\"l\",\"Options\":{\"o\":\"p\"}}}},{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":5,\"Mode\":493,\"Options\":[[\"a\",\"b\"],[\"c\"]]}},{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/b\",\"BindOptions\":{\"Propagation\":\"rslave\",\"NonRecursive\":true}}]",
            ),
            (
                "{{.NetworkSettings.Ports}} {{.HostConfig.PortBindings}}",
                "map[80/tcp:[{:: 1}] 9/udp:[]] map[]",
            ),
            (
                "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostIp}}",
                "::",
            ),
            (
                "{{.NetworkSettings.Networks.net1}} {{.NetworkSettings.Networks.net1.IPAMConfig}}",
                "{0xc000000000 [] [a]  map[x:y] -3     0   0 [q]} {1.2.3.4  [fe80::1]}",
            ),
            (
                "{{.NetworkSettings.Networks}}",
                "map[net1:0xc000000000 z:<nil>]",
            ),
            (
                "{{.NetworkSettings.Networks.none}}|{{index .Config.Labels \"none\"}}|{{.Config.Labels.none}}",
                "<no value>||<no value>",
            ),
            (
                "{{.SizeRw}} {{.SizeRootFs}} {{.GraphDriver}} {{.ContainerJSONBase.Name}}",
                "0 <nil> {map[u:/u] overlay2} /web",
            ),
            (
                "{{printf \"%v|%T\" .State.Health .State.Health}}",
                "&{healthy 1 [0xc000000000]}|*container.Health",
            ),
            (
                "{{eq .HostConfig.NetworkMode \"net1\"}} {{eq .State.Pid 42}}",
                "true true",
            ),
            ("{{range .Mounts}}{{upper .Type}}{{end}}", "BIND"),
            (
                "{{.Id}} {{.State.Pid | printf \"%T\"}} {{.Args}}",
                "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeebeef json.Number [-c x]",
            ),
            ("{{.Zzz}}", "1"),
        ],
    );
}

#[test]
fn images() {
    check(
        "image",
        IMAGE,
        &[
            (
                "{{.Config}}",
                "{{u map[] [A=1] [] [] map[]  map[a:2 z:1]  true} {0xc000000000 [RUN x] [a]}}",
            ),
            (
                "{{json .Config}}",
                "{\"User\":\"u\",\"Env\":[\"A=1\"],\"Labels\":{\"a\":\"2\",\"z\":\"1\"},\"ArgsEscaped\":true,\"Healthcheck\":{\"Test\":[\"NONE\"],\"Interval\":1000000},\"OnBuild\":[\"RUN x\"],\"Shell\":[\"a\"]}",
            ),
            (
                "{{.Metadata}} {{.Parent}} {{.RootFS}}",
                "{2026-01-02 03:04:05.5 +0100 +0100}  {layers [sha256:a]}",
            ),
            (
                "{{json .Metadata}}",
                "{\"LastTagTime\":\"2026-01-02T03:04:05.5+01:00\"}",
            ),
            (
                "{{(index .Manifests 0)}}",
                "{i {m sha256:3 1 [] map[] [] <nil> } true {1 2} image 0xc000000000 <nil>}",
            ),
            (
                "{{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.ImageConfig}}",
                "[] map[] {u map[] [A=1] [] [] map[]  map[a:2 z:1]  true}",
            ),
        ],
    );
}

#[test]
fn networks() {
    check(
        "network",
        NETWORK,
        &[
            (
                "{{.}}",
                "{net1 n1 2026-01-02 03:04:05.5 -0530 -0530 local bridge true false {default map[o:1] [{10.0.0.0/8 10.1.0.0/16 10.0.0.1 map[r:10.0.0.5]} {   map[]}]} false false false {} false map[c:{web e m 10.0.0.2/8 }] map[x:y] map[] [{p 1}] map[s:{v [1] 3 [{t e i map[a:b]}]}]}",
            ),
            (
                "{{.IPAM.Config}} {{(index .IPAM.Config 0).AuxAddress}}",
                "[{10.0.0.0/8 10.1.0.0/16 10.0.0.1 map[r:10.0.0.5]} {   map[]}] map[r:10.0.0.5]",
            ),
            (
                "{{json .IPAM}}",
                "{\"Driver\":\"default\",\"Options\":{\"o\":\"1\"},\"Config\":[{\"Subnet\":\"10.0.0.0/8\",\"IPRange\":\"10.1.0.0/16\",\"Gateway\":\"10.0.0.1\",\"AuxiliaryAddresses\":{\"r\":\"10.0.0.5\"}},{}]}",
            ),
        ],
    );
}

#[test]
fn volumes() {
    check(
        "volume",
        VOLUME,
        &[
            (
                "{{.}}",
                "{<nil>  local map[odd:<&>] /m data map[] local map[a:map[z:[1 2.5 x <nil> true]] b:1] 0xc000000000}",
            ),
            (
                "{{json .}}",
                "{\"Driver\":\"local\",\"Labels\":{\"odd\":\"<&>\"},\"Mountpoint\":\"/m\",\"Name\":\"data\",\"Options\":null,\"Scope\":\"local\",\"Status\":{\"a\":{\"z\":[1,2.5,\"x\",null,true]},\"b\":1},\"UsageData\":{\"RefCount\":-1,\"Size\":12345678901}}",
            ),
            (
                "{{.CreatedAt}}|{{.Options}}|{{.Status.a}}",
                "|map[]|map[z:[1 2.5 x <nil> true]]",
            ),
        ],
    );
}

#[test]
fn events() {
    let print = |source: &str, event: Value, ty| {
        let template = Template::parse(source).unwrap();
        template.execute_as(&event, Mode::Typed(ty))
    };
    let connect = json!({
        "Type": "network", "Action": "connect", "time": 6, "timeNano": 6_000_000_000_i64,
        "Actor": {"ID": "n", "Attributes": null},
    });
    for (source, expected) in [
        ("{{.ID}}|{{.Status}}|{{.From}}|{{.Scope}}", "|||"),
        ("{{.}}", "{   network connect {n map[]}  6 6000000000}"),
        (
            "{{json .}}",
            "{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"n\",\"Attributes\":null},\"time\":6,\"timeNano\":6000000000}",
        ),
        ("{{.Actor.Attributes.name}}", "<no value>"),
    ] {
        let printed = print(source, connect.clone(), EVENT);
        assert_eq!(printed.as_deref(), Ok(expected), "{source}");
    }
    assert_eq!(
        print("{{.Bogus}}", json!({}), EVENT_POINTER).unwrap_err(),
        "template: :1:2: executing \"\" at <.Bogus>: can't evaluate field Bogus in type *events.Message"
    );
}

#[test]
fn an_inspector_stays_strict_after_bare_json() {
    let labelled = |labels: Value| Object {
        value: json!({"Id": "1", "Config": {"Labels": labels}}),
        ty: CONTAINER,
        json: Json::Kept,
    };
    let template = Template::parse("{{.Config.Labels.a}}").unwrap();
    let mut inspector = Inspector::new(template);
    assert_eq!(inspector.print(&labelled(json!({}))).unwrap(), "<no value>");
    let mut inspector = Inspector::new(Template::parse("{{.Config.Labels.a}}{{.Id}}").unwrap());
    assert_eq!(inspector.print(&labelled(json!({"a": "x"}))).unwrap(), "x1");
    assert!(inspector.print(&labelled(json!({}))).is_err());
    let mut kept = labelled(json!({"a": "<&>"}));
    kept.json = Json::Dropped;
    assert!(
        inspector
            .print(&kept)
            .unwrap_err()
            .contains("type container.InspectResponse"),
        "without bare JSON the struct's error is told"
    );
}

#[test]
fn answers_of_another_shape_are_printed_all_the_same() {
    let odd = json!({"Id": 7, "State": "up", "Mounts": {"a": 1}, "Config": [1], "HostConfig": {"LogConfig": null, "Init": "x"}});
    for source in [
        "{{.}}",
        "{{json .}}",
        "{{.State}} {{.Mounts}} {{.ID}}",
        "{{.HostConfig.LogConfig.Type}}",
    ] {
        let template = Template::parse(source).unwrap();
        assert!(
            template.execute_as(&odd, Mode::Typed(CONTAINER)).is_ok(),
            "{source}"
        );
    }
}

#[test]
fn moments_are_cut_short() {
    for (moment, expected) in [
        ("2026-01-02T03:04:05.120Z", "2026-01-02T03:04:05.12Z"),
        ("2026-01-02T03:04:05.000+02:00", "2026-01-02T03:04:05+02:00"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ] {
        assert_eq!(shortest(moment), expected);
    }
}
