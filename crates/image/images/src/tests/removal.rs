//! Removing, pruning, and who is spared.

use super::*;

const FORCE: RemoveOptions = RemoveOptions {
    force: true,
    keep_parents: false,
};

fn stopped() -> ImageUse {
    ImageUse::Stopped("0123456789abcdef0123".to_owned())
}

fn running() -> ImageUse {
    ImageUse::Running("0123456789abcdef0123".to_owned())
}

#[test]
fn the_last_name_takes_the_image_along() {
    let world = World::new();
    let image = world.import("box:1", "1");
    world.images.tag("box:1", "box:2").unwrap();
    world.told();
    assert_eq!(world.remove("box:1").unwrap(), ["Untagged: box:1"]);
    assert_eq!(world.told(), ["untag <id>"]);
    assert_eq!(
        world.remove("box:2").unwrap(),
        ["Untagged: box:2", "Deleted: <id>", "Deleted: <layer>"]
    );
    assert_eq!(world.told(), ["untag <id>", "delete <id>"]);
    world.assert_empty();
    assert_eq!(
        world.remove("box:1"),
        Err("No such image: box:1".to_owned())
    );
    assert!(world.images.by_id(image.id()).is_none());
    world.reopen().assert_empty();
}

#[test]
fn an_id_takes_its_only_name_along() {
    let world = World::new();
    let image = world.import("box:1", "1");
    assert_eq!(
        world.remove(&image.id().0.hex()[..20]).unwrap(),
        ["Untagged: box:1", "Deleted: <id>", "Deleted: <layer>"]
    );
    let image = world.import("box:1", "1");
    world.images.tag("box:1", "other").unwrap();
    let refused = format!(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        image.id().short()
    );
    assert_eq!(world.remove(image.id().as_str()), Err(refused));
    assert_eq!(
        world
            .remove_used(image.id().as_str(), FORCE, &|_| None)
            .unwrap(),
        [
            "Untagged: box:1",
            "Untagged: other:latest",
            "Deleted: <id>",
            "Deleted: <layer>"
        ]
    );
    world.assert_empty();
}

#[test]
fn what_containers_use_stays_for_them() {
    let world = World::new();
    let image = world.import("box:1", "1");
    let (id, short) = (image.id().to_string(), image.id().short());
    let by_stopped = used_by(stopped());
    let by_running = used_by(running());
    assert_eq!(
        world.remove_used("box:1", RemoveOptions::default(), &by_stopped),
        Err(format!(
            "conflict: unable to remove repository reference \"box:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        ))
    );
    assert_eq!(
        world.remove_used(&id, RemoveOptions::default(), &by_stopped),
        Err(format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        ))
    );
    assert_eq!(
        world.remove_used(&id, FORCE, &by_running),
        Err(format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        ))
    );
    // With a second name, a name may always go.
    world.images.tag("box:1", "box:2").unwrap();
    assert_eq!(
        world
            .remove_used("box:2", RemoveOptions::default(), &by_running)
            .unwrap(),
        ["Untagged: box:2"]
    );
    // Forced, the name goes; a running container keeps the image.
    assert_eq!(
        world.remove_used("box:1", FORCE, &by_running).unwrap(),
        ["Untagged: box:1"]
    );
    assert_eq!(world.names(), ["<none>"]);
    // A stopped one does not, but its layers stay.
    assert_eq!(
        world.remove_used(&id, FORCE, &by_stopped).unwrap(),
        ["Deleted: <id>"]
    );
    assert_eq!(world.names(), [""; 0]);
    assert_eq!(world.remove(&id), Err(format!("No such image: {id}")));
    let world = world.reopen();
    assert_eq!(
        world.images.collect(&by_stopped).unwrap(),
        Collection::default()
    );
    let kept = world.images.by_id(image.id()).unwrap();
    world.images.ensure_unpacked(&kept).unwrap();
    // Loaded again, it is one like any other.
    assert!(world.images.collect(&|_| None).unwrap().blobs_bytes > 0);
    world.assert_empty();
}

#[test]
fn a_hidden_image_comes_back() {
    let world = World::new();
    let built = Built::plain("x", &["one"]);
    let archive = docker_archive(&[(&built, &["box:1"])]);
    world.load(&archive).unwrap();
    world
        .remove_used("box:1", FORCE, &used_by(stopped()))
        .unwrap();
    assert_eq!(world.names(), [""; 0]);
    world.load(&archive).unwrap();
    assert_eq!(world.names(), ["box:1"]);
    world.images.collect(&|_| None).unwrap();
    assert_eq!(world.images.resolve("box:1").unwrap().id(), &built.id());
}

#[test]
fn a_pin_keeps_an_image_for_its_holder() {
    let world = World::new();
    world.import("box:1", "1");
    let pin = world.images.resolve_pinned("box:1").unwrap();
    assert_eq!(
        world.remove("box:1").unwrap(),
        ["Untagged: box:1", "Deleted: <id>"]
    );
    assert_eq!(world.names(), [""; 0]);
    assert_eq!((world.blobs(), world.snapshots()), (2, 1));
    drop(pin);
    world.images.collect(&|_| None).unwrap();
    world.assert_empty();
}

#[test]
fn shared_layers_stay() {
    let world = World::new();
    let (a, b) = (
        Built::plain("a", &["shared", "a"]),
        Built::plain("b", &["shared", "b"]),
    );
    world
        .load(&docker_archive(&[(&a, &["a:1"]), (&b, &["b:1"])]))
        .unwrap();
    assert_eq!(
        world.remove("a:1").unwrap(),
        ["Untagged: a:1", "Deleted: <id>", "Deleted: <layer>"]
    );
    assert_eq!(world.snapshots(), 2);
    assert_eq!(
        world.remove("b:1").unwrap(),
        [
            "Untagged: b:1",
            "Deleted: <id>",
            "Deleted: <layer>",
            "Deleted: <layer>"
        ]
    );
    world.assert_empty();
}

#[test]
fn digests_go_with_the_last_tag_of_their_repository() {
    let world = World::new();
    let built = Built::plain("x", &["one"]);
    let lease = world.images.content().lease();
    let store = |media_type: &str, bytes: &[u8]| {
        let stored = lease
            .ingest(bytes, carrack_content::Expected::default())
            .unwrap();
        carrack_oci::Descriptor::new(media_type, stored.digest, stored.size)
    };
    let manifest = store(carrack_oci::media_type::MANIFEST, &built.manifest());
    let new = NewImage {
        config: store(carrack_oci::media_type::CONFIG, &built.config),
        layers: vec![store(carrack_oci::media_type::LAYER, &built.layers[0])],
        references: vec![
            "x.y/a:1".parse().unwrap(),
            format!("x.y/a@{}", manifest.digest).parse().unwrap(),
        ],
        manifest: Some(manifest.clone()),
        parent: None,
    };
    world.images.add(&lease, new, &|_| {}).unwrap();
    drop(lease);
    let by_digest = format!("x.y/a@{}", manifest.digest);
    for (value, expected) in [("true", 0), ("false", 1)] {
        assert_eq!(dangling(&world, value, Intermediate::Left), expected);
    }
    // Without its tag it is dangling, and has a name all the same.
    world.import("x.y/a:1", "another");
    for value in ["true", "false"] {
        let others = usize::from(value == "false");
        assert_eq!(dangling(&world, value, Intermediate::Left), 1 + others);
    }
    world.images.tag(built.id().as_str(), "x.y/a:1").unwrap();
    world
        .images
        .prune(
            &PruneFilter::parse(&Filters::new(), jiff::Timestamp::now()).unwrap(),
            &|_| None,
        )
        .unwrap();
    assert_eq!(world.images.resolve(&by_digest).unwrap().id(), &built.id());
    assert_eq!(
        world
            .images
            .resolve(&format!("x.y/a:whatever@{}", manifest.digest))
            .unwrap()
            .id(),
        &built.id()
    );
    assert_eq!(
        world.remove("x.y/a:1").unwrap(),
        [
            "Untagged: x.y/a:1".to_owned(),
            format!("Untagged: {by_digest}"),
            "Deleted: <id>".to_owned(),
            "Deleted: <layer>".to_owned()
        ]
    );
    world.assert_empty();
}

#[test]
fn prunes() {
    let world = World::new();
    world.import("kept", "1");
    world.import("labelled", "2");
    world.import("", "3");
    world.told();
    let prune = |filters: &[(&str, &str)], uses: &Uses<'_>| {
        let filters: Filters = filters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), vec![(*v).to_owned()]))
            .collect();
        let filter = PruneFilter::parse(&filters, jiff::Timestamp::now()).unwrap();
        let pruned = world.images.prune(&filter, uses).unwrap();
        let mut lines: Vec<String> = pruned.removed.iter().map(line).collect();
        lines.sort();
        (lines.join(" "), pruned.reclaimed_bytes > 0)
    };
    assert_eq!(
        prune(&[("until", "24h")], &|_| None),
        (String::new(), false)
    );
    assert_eq!(
        prune(&[("label", "none")], &|_| None),
        (String::new(), false)
    );
    assert_eq!(prune(&[], &used_by(stopped())), (String::new(), false));
    assert_eq!(
        prune(&[], &|_| None),
        ("Deleted: <id> Deleted: <layer>".to_owned(), true)
    );
    assert_eq!(world.names(), ["kept:latest", "labelled:latest"]);
    assert_eq!(
        prune(&[("dangling", "false")], &used_by(running())),
        (String::new(), false)
    );
    let calls = Cell::new(0);
    let (lines, _) = prune(&[("dangling", "false")], &counting(&calls));
    assert_eq!(lines.matches("Untagged").count(), 2);
    assert!(calls.get() > 0);
    world.assert_empty();
    assert!(
        world
            .told()
            .last()
            .is_some_and(|event| event.starts_with("prune "))
    );
}

#[test]
fn parents_go_with_their_children() {
    let world = World::new();
    let (parent, child) = (
        Built::plain("parent", &["1"]),
        Built::plain("child", &["1", "2"]),
    );
    let config = |image: &Built| format!("{}.json", Digest::of(&image.config).hex());
    let manifest = serde_json::json!([
        {"Config": config(&parent), "Layers": ["1"]},
        {"Config": config(&child), "Layers": ["1", "2"], "RepoTags": ["child:1"], "Parent": parent.id().as_str()},
    ]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let (parent_config, child_config) = (config(&parent), config(&child));
    let archive = tar(&[
        ("1", &child.layers[0]),
        ("2", &child.layers[1]),
        (&parent_config, &parent.config),
        (&child_config, &child.config),
        ("manifest.json", &manifest),
    ]);
    world.load(&archive).unwrap();
    let list = |intermediate| {
        world
            .images
            .list(&ListFilter::default(), intermediate)
            .unwrap()
            .len()
    };
    assert_eq!(
        (list(Intermediate::Left), list(Intermediate::Shown)),
        (1, 2)
    );
    // An intermediate image is neither dangling nor shown among those that
    // are not.
    for (value, expected) in [("true", 0), ("false", 1)] {
        assert_eq!(dangling(&world, value, Intermediate::Shown), expected);
    }
    let id = parent.id();
    assert_eq!(
        world.remove_used(id.as_str(), FORCE, &|_| None),
        Err(format!(
            "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
            id.short()
        ))
    );
    assert_eq!(world.images.history("child:1").unwrap()[1].id, Some(id));
    let lines = world.remove("child:1").unwrap();
    assert_eq!(
        lines.iter().filter(|line| *line == "Deleted: <id>").count(),
        2
    );
    world.assert_empty();
}

/// How many images the filter `dangling` shows.
fn dangling(world: &World, value: &str, intermediate: Intermediate) -> usize {
    let filters = Filters::from([("dangling".to_owned(), vec![value.to_owned()])]);
    let filter = ListFilter::parse(&filters, jiff::Timestamp::now()).unwrap();
    world.images.list(&filter, intermediate).unwrap().len()
}
