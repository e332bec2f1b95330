//! What comes in: formats, compressions, platforms.

use super::*;

fn check(archive: &[u8], image: &Built, lines: &[&str]) {
    let world = World::new();
    let expected: Vec<String> = lines
        .iter()
        .map(|line| line.replace("$ID", image.id().as_str()))
        .collect();
    assert_eq!(world.load(archive).unwrap(), expected);
    let loaded = world.images.resolve(image.id().as_str()).unwrap();
    assert_eq!(loaded.layers().len(), image.layers.len());
    assert_eq!(world.snapshots(), image.layers.len());
    assert_eq!(loaded.chain_from_top().next(), loaded.top());
    // The same from a directory.
    let dir = tempfile::tempdir().unwrap();
    if carrack_archive::Compression::detect(archive) == Compression::None {
        extract(archive, dir.path());
        let world = World::new();
        let loaded = world
            .images
            .load_directory(dir.path(), &LoadOptions::default(), &|_| {})
            .unwrap();
        assert_eq!(loaded.images.last().unwrap().image.id(), &image.id());
    }
}

#[test]
fn docker_archives_in_every_compression() {
    use Compression::{Gzip, None, Zstd};
    for layers in [&[None][..], &[Gzip], &[Zstd], &[None, Gzip, Zstd]] {
        let image = Built::new("x", &["one", "two", "three"], layers);
        let archive = docker_archive(&[(&image, &["box:1"])]);
        check(&archive, &image, &["Loaded image: box:1"]);
        check(&compress(&archive, Gzip), &image, &["Loaded image: box:1"]);
        check(&compress(&archive, Zstd), &image, &["Loaded image: box:1"]);
    }
}

#[test]
fn docker_archives_with_many_names_or_none() {
    let image = Built::plain("x", &["one"]);
    check(
        &docker_archive(&[(&image, &[])]),
        &image,
        &["Loaded image ID: $ID"],
    );
    check(
        &docker_archive(&[(&image, &["box:1", "localhost:5000/a/box:2"])]),
        &image,
        &[
            "Loaded image: box:1",
            "Loaded image: localhost:5000/a/box:2",
        ],
    );
    let other = Built::plain("y", &["one", "two"]);
    check(
        &docker_archive(&[(&image, &["a:1"]), (&other, &["b:1"])]),
        &other,
        &["Loaded image: a:1", "Loaded image: b:1"],
    );
}

#[test]
fn a_name_moves_to_the_image_loaded_last() {
    let world = World::new();
    let (old, new) = (Built::plain("old", &["1"]), Built::plain("new", &["2"]));
    world.load(&docker_archive(&[(&old, &["box:1"])])).unwrap();
    assert_eq!(
        world.load(&docker_archive(&[(&new, &["box:1"])])).unwrap(),
        [
            format!(
                "The image box:1 already exists, renaming the old one with ID {} to empty string",
                old.id()
            ),
            "Loaded image: box:1".to_owned()
        ]
    );
    assert_eq!(
        world.load(&docker_archive(&[(&new, &["box:1"])])).unwrap(),
        ["Loaded image: box:1"]
    );
    assert_eq!(world.names(), ["<none>", "box:1"]);
}

#[test]
fn docker_archives_with_linked_layers() {
    let image = Built::plain("x", &["one", "one"]);
    let layer = image.layers[0].as_slice();
    let manifest =
        br#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let archive = tar(&[
        ("./b/layer.tar", b"-> ../a/layer.tar"),
        ("./a/layer.tar", layer),
        ("./c.json", &image.config),
        ("./manifest.json", manifest),
    ]);
    check(&archive, &image, &["Loaded image ID: $ID"]);
}

fn index(entries: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({"schemaVersion": 2, "manifests": entries})
}

fn entry(image: &Built, platform: Option<&str>, annotations: &[(&str, &str)]) -> serde_json::Value {
    let mut entry = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        &image.manifest(),
    );
    if let Some(platform) = platform {
        entry["platform"] = serde_json::to_value(platform.parse::<Platform>().unwrap()).unwrap();
    }
    for (key, value) in annotations {
        entry["annotations"][key] = (*value).into();
    }
    entry
}

fn blobs<'a>(images: &[(&'a Built, &'a Vec<u8>)]) -> Vec<&'a [u8]> {
    images
        .iter()
        .flat_map(|(image, manifest)| {
            image
                .layers
                .iter()
                .chain([&image.config, *manifest])
                .map(Vec::as_slice)
        })
        .collect()
}

#[test]
fn layouts_with_names() {
    let image = Built::new(
        "x",
        &["one", "two"],
        &[Compression::Gzip, Compression::Zstd],
    );
    let manifest = image.manifest();
    let archive = |annotations: &[(&str, &str)]| {
        oci_archive(
            &index(&[entry(&image, None, annotations)]),
            &blobs(&[(&image, &manifest)]),
        )
    };
    check(&archive(&[]), &image, &["Loaded image ID: $ID"]);
    check(
        &archive(&[("org.opencontainers.image.ref.name", "latest")]),
        &image,
        &["Loaded image ID: $ID"],
    );
    check(
        &archive(&[("org.opencontainers.image.ref.name", "box:7")]),
        &image,
        &["Loaded image: box:7"],
    );
    check(
        &archive(&[
            ("org.opencontainers.image.ref.name", "7"),
            ("io.containerd.image.name", "docker.io/library/box:7"),
        ]),
        &image,
        &["Loaded image: box:7"],
    );
}

#[test]
fn layouts_of_several_platforms() {
    let (ours, theirs) = (
        Built::plain("amd64", &["ours"]),
        Built::plain("arm64", &["theirs"]),
    );
    let (our_manifest, their_manifest) = (ours.manifest(), theirs.manifest());
    let name = &[("io.containerd.image.name", "docker.io/library/box:1")];
    let flat = index(&[
        entry(&theirs, Some("linux/arm64"), name),
        entry(&ours, Some("linux/amd64"), name),
    ]);
    let both = blobs(&[(&ours, &our_manifest), (&theirs, &their_manifest)]);
    let nested = serde_json::to_vec(&index(&[
        entry(&theirs, Some("linux/arm64"), &[]),
        entry(&ours, Some("linux/amd64"), &[]),
        entry(
            &theirs,
            Some("linux/amd64"),
            &[("vnd.docker.reference.type", "attestation-manifest")],
        ),
    ]))
    .unwrap();
    let mut outer = descriptor("application/vnd.oci.image.index.v1+json", &nested);
    outer["annotations"]["io.containerd.image.name"] = "docker.io/library/box:1".into();
    let outer = index(&[outer]);
    let with_nested: Vec<&[u8]> = both.iter().copied().chain([nested.as_slice()]).collect();

    let load = |archive: &[u8], platform: Option<&str>| {
        let world = World::new();
        let platform = platform.map(|text| text.parse().unwrap());
        let loaded = world
            .images
            .load(archive, &LoadOptions { platform }, &|_| {});
        loaded.map(|loaded| {
            (
                loaded
                    .images
                    .iter()
                    .map(|one| one.image.id().clone())
                    .collect::<Vec<_>>(),
                world.blobs(),
            )
        })
    };
    for archive in [oci_archive(&flat, &both), oci_archive(&outer, &with_nested)] {
        // Three blobs: the others were left out, and are gone.
        assert_eq!(
            load(&archive, Some("linux/amd64")).unwrap(),
            (vec![ours.id()], 3)
        );
        assert_eq!(
            load(&archive, Some("linux/arm64")).unwrap(),
            (vec![theirs.id()], 3)
        );
        let error = load(&archive, Some("linux/s390x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the archive has no image for linux/s390x"
        );
    }
    // The other platform's blobs need not be there.
    let sparse = oci_archive(&flat, &blobs(&[(&ours, &our_manifest)]));
    assert_eq!(load(&sparse, Some("linux/amd64")).unwrap().0, [ours.id()]);
    // What is alone is taken as it is, unless something else is wished.
    let alone = oci_archive(
        &index(&[entry(&theirs, Some("linux/arm64"), &[])]),
        &blobs(&[(&theirs, &their_manifest)]),
    );
    assert_eq!(load(&alone, None).unwrap().0, [theirs.id()]);
    assert!(load(&alone, Some("linux/amd64")).is_err());
}

#[test]
fn imports_a_root_file_system() {
    let world = World::new();
    let options = |reference: &str| ImportOptions {
        reference: Some(reference.to_owned()),
        changes: vec!["CMD [\"sh\"]".to_owned(), "ENV A=b".to_owned()],
        message: Some("hello".to_owned()),
        platform: None,
    };
    for (name, compression) in [
        ("a", Compression::None),
        ("b", Compression::Gzip),
        ("c:1", Compression::Zstd),
    ] {
        let rootfs = compress(&layer("root"), compression);
        world
            .images
            .import(rootfs.as_slice(), options(name), &|_| {})
            .unwrap();
    }
    assert_eq!(world.names(), ["a:latest", "b:latest", "c:1"]);
    assert_eq!(
        world.snapshots(),
        1,
        "it is one layer, whatever its compression"
    );
    assert_eq!(world.told()[..2], ["tag a:latest", "import <id>"]);
    let inspection = world.images.inspect("c:1").unwrap();
    assert_eq!(inspection.config.comment.as_deref(), Some("hello"));
    assert_eq!(inspection.config.config.cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(inspection.config.platform, Platform::current());
    let history = world.images.history("c:1").unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (history[0].comment.as_str(), history[0].created_by.as_str()),
        ("hello", "")
    );
    assert_eq!(history[0].id.as_ref(), Some(inspection.image.id()));
    assert_eq!(history[0].size, inspection.image.size());
    let defaults = world.import("", "x");
    let comment = world
        .images
        .inspect(defaults.id().as_str())
        .unwrap()
        .config
        .comment;
    assert_eq!(comment.as_deref(), Some("Imported from -"));

    let refused = |options: ImportOptions, rootfs: &[u8]| {
        let world = World::new();
        let error = world.images.import(rootfs, options, &|_| {}).unwrap_err();
        world.assert_empty();
        error.to_string()
    };
    assert_eq!(
        refused(options("UP"), b""),
        "invalid reference format: repository name (library/UP) must be lowercase"
    );
    let run = ImportOptions {
        changes: vec!["RUN x".to_owned()],
        ..ImportOptions::default()
    };
    assert_eq!(refused(run, b""), "run is not a valid change command");
    assert!(
        refused(
            options("a"),
            b"this is no tar archive, though it is long enough"
        )
        .starts_with("cannot unpack layer")
    );
    let gzip = compress(&layer("root"), Compression::Gzip);
    assert_eq!(
        refused(options("a"), &gzip[..gzip.len() - 9]),
        "cannot read the image archive"
    );
    assert_eq!(
        refused(options("a"), b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
        "cannot read the image archive"
    );
}
