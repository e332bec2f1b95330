//! Names: resolving, tagging, listing.

use super::*;

fn sentence<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    outcome.unwrap_err().to_string()
}

#[test]
fn resolves_names_ids_and_prefixes() {
    let world = World::new();
    let image = world.import("box", "1");
    let id = image.id().to_string();
    let hex = image.id().0.hex();
    for name in [
        "box",
        "box:latest",
        "docker.io/library/box",
        &id,
        hex,
        &hex[..12],
        &id[..20],
    ] {
        assert_eq!(
            world.images.resolve(name).unwrap().id(),
            image.id(),
            "{name}"
        );
    }
    assert_eq!(
        sentence(world.images.resolve("nosuch")),
        "No such image: nosuch:latest"
    );
    assert_eq!(
        sentence(world.images.resolve("box:2")),
        "No such image: box:2"
    );
    assert_eq!(
        sentence(world.images.resolve("x.y/a/b")),
        "No such image: x.y/a/b:latest"
    );
    let absent = Digest::of(b"absent");
    assert_eq!(
        sentence(world.images.resolve(absent.as_str())),
        format!("No such image: {absent}")
    );
    assert_eq!(
        sentence(world.images.resolve("sha256:123")),
        "No such image: sha256:123"
    );
    assert_eq!(
        sentence(world.images.resolve("UP")),
        "invalid reference format: repository name (library/UP) must be lowercase"
    );
    assert_eq!(
        sentence(world.images.resolve("")),
        "invalid reference format"
    );
    // Among 17 IDs two begin with the same digit.
    for i in 0..17 {
        world.import("", &i.to_string());
    }
    let ambiguous =
        "0123456789abcdef"
            .chars()
            .filter_map(|c| match world.images.resolve(&c.to_string()) {
                Err(Error::Ambiguous { prefix }) => Some(prefix),
                _ => None,
            });
    assert!(ambiguous.count() > 0);
    let wanted: Platform = "windows/amd64".parse().unwrap();
    assert!(
        sentence(world.images.resolve_for("box", &wanted))
            .starts_with("image with reference box was found")
    );
    assert!(
        world
            .images
            .resolve_for("box", &Platform::current())
            .is_ok()
    );
}

#[test]
fn tags() {
    let world = World::new();
    let image = world.import("box:1", "1");
    world.told();
    world.images.tag("box:1", "other/box").unwrap();
    world
        .images
        .tag(image.id().as_str(), "localhost:5000/box:x")
        .unwrap();
    assert_eq!(
        world.names(),
        ["box:1", "localhost:5000/box:x", "other/box:latest"]
    );
    assert_eq!(
        world.told(),
        ["tag other/box:latest", "tag localhost:5000/box:x"]
    );
    let second = world.import("second", "2");
    world.images.tag("second", "box:1").unwrap();
    assert_eq!(world.images.resolve("box:1").unwrap().id(), second.id());
    assert_eq!(
        sentence(world.images.tag("nosuch", "x")),
        "No such image: nosuch:latest"
    );
    assert_eq!(
        sentence(world.images.tag("box:1", "a:b:c")),
        "invalid reference format"
    );
    let digest = format!("box@{}", Digest::of(b""));
    assert_eq!(
        sentence(world.images.tag("box:1", &digest)),
        "refusing to create a tag with a digest reference"
    );
    let world = world.reopen();
    assert_eq!(world.images.resolve("box:1").unwrap().id(), second.id());
    assert_eq!(world.images.references(image.id()).len(), 2);
}

fn listed(world: &World, filters: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
    let filters: Filters = filters
        .iter()
        .map(|(name, values)| {
            (
                (*name).to_owned(),
                values.iter().map(|v| (*v).to_owned()).collect(),
            )
        })
        .collect();
    let list = ListFilter::parse(&filters, jiff::Timestamp::now())
        .and_then(|filter| world.images.list(&filter, Intermediate::Left))
        .map_err(|error| error.to_string())?;
    Ok(list
        .iter()
        .map(|summary| {
            summary
                .tags
                .iter()
                .map(Reference::familiar)
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect())
}

#[test]
fn lists_with_filters() {
    let world = World::new();
    for (i, name) in ["old", "middle:1", "young"].into_iter().enumerate() {
        let built = Built::plain(name, &[name]);
        let config = String::from_utf8(built.config.clone())
            .unwrap()
            .replace("2026-01-02", &format!("202{i}-01-02"));
        let built = Built {
            config: config.into_bytes(),
            ..built
        };
        let tag = if name.contains(':') {
            name.to_owned()
        } else {
            format!("{name}:latest")
        };
        world
            .load(&docker_archive(&[(&built, &[tag.as_str()])]))
            .unwrap();
    }
    world.images.tag("old", "lib/old:2").unwrap();
    world
        .images
        .remove(
            "young",
            RemoveOptions {
                force: true,
                keep_parents: false,
            },
            &|_| None,
        )
        .unwrap();
    assert_eq!(
        listed(&world, &[]).unwrap(),
        ["middle:1", "lib/old:2,old:latest"]
    );
    assert_eq!(
        listed(&world, &[("reference", &["old"])]).unwrap(),
        ["old:latest"]
    );
    assert_eq!(
        listed(&world, &[("reference", &["*/old:*", "mid*"])]).unwrap(),
        ["middle:1", "lib/old:2"]
    );
    assert_eq!(
        listed(&world, &[("label", &["label=old"])]).unwrap(),
        ["lib/old:2,old:latest"]
    );
    assert_eq!(
        listed(&world, &[("label", &["label", "nope"])]).unwrap(),
        [""; 0]
    );
    assert_eq!(
        listed(&world, &[("before", &["middle:1"])]).unwrap(),
        ["lib/old:2,old:latest"]
    );
    assert_eq!(
        listed(&world, &[("since", &["old"])]).unwrap(),
        ["middle:1"]
    );
    for both in [&["old", "middle:1"], &["middle:1", "old"]] {
        for filter in ["before", "since"] {
            assert_eq!(listed(&world, &[(filter, both)]).unwrap(), [""; 0]);
        }
    }
    assert_eq!(
        listed(&world, &[("until", &["2020-06-01"])]).unwrap(),
        ["lib/old:2,old:latest"]
    );
    assert_eq!(listed(&world, &[("dangling", &["true"])]).unwrap(), [""; 0]);
    assert_eq!(
        listed(&world, &[("before", &["zz"])]),
        Err("No such image: zz:latest".to_owned())
    );
    world.import("old", "newer");
    world.images.tag("old", "lib/old:2").unwrap();
    assert_eq!(listed(&world, &[("dangling", &["true"])]).unwrap(), [""]);
    assert_eq!(
        listed(&world, &[("dangling", &["false"])]).unwrap(),
        ["lib/old:2,old:latest", "middle:1"]
    );
}

#[test]
fn history_tells_each_step() {
    let world = World::new();
    let built = Built::plain("x", &["one", "two"]);
    let mut config = parsed(&built.config);
    config.history.insert(
        1,
        carrack_oci::History {
            created_by: Some("ENV".to_owned()),
            empty_layer: true,
            ..Default::default()
        },
    );
    let built = Built {
        config: serde_json::to_vec(&config).unwrap(),
        ..built
    };
    world
        .load(&docker_archive(&[(&built, &["box:1"])]))
        .unwrap();
    let history = world.images.history("box:1").unwrap();
    let shown: Vec<(&str, bool, bool, usize)> = history
        .iter()
        .map(|step| {
            (
                step.created_by.as_str(),
                step.size > 0,
                step.id.is_some(),
                step.tags.len(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("two", true, true, 1),
            ("ENV", false, false, 0),
            ("one", true, false, 0)
        ]
    );
    config.history.push(carrack_oci::History::default());
    let lying = Built {
        config: serde_json::to_vec(&config).unwrap(),
        layers: built.layers,
    };
    world
        .load(&docker_archive(&[(&lying, &["lying:1"])]))
        .unwrap();
    assert!(
        sentence(world.images.history("lying:1"))
            .starts_with("too many non-empty layers in History section")
    );
}
