//! Archives that are damaged, cut or made to harm: a clear error, and nothing
//! is left.

use carrack_oci::ErrorKind;

use super::*;

#[track_caller]
fn refused(archive: &[u8]) -> String {
    let world = World::new();
    let error = world.load(archive).unwrap_err();
    world.assert_empty();
    assert!(world.told().is_empty());
    assert_ne!(error.kind(), ErrorKind::Internal, "{error:?}");
    error.to_string()
}

#[test]
fn truncation_at_any_place() {
    let image = Built::new("x", &["one", &"two".repeat(1000)], &[Compression::Gzip]);
    let archive = docker_archive(&[(&image, &["box:1"])]);
    let end = archive.len() - 1024;
    for len in (0..end).step_by(777).chain([end - 1, end - 512]) {
        refused(&archive[..len]);
    }
    let gzip = compress(&archive, Compression::Gzip);
    for len in [1, 12, gzip.len() / 2, gzip.len() - 1] {
        refused(&gzip[..len]);
    }
}

#[test]
fn no_archive_at_all() {
    assert_eq!(
        refused(b""),
        "not an image archive: it has neither manifest.json nor index.json"
    );
    assert_eq!(
        refused(&tar(&[("bin/sh", b"x")])),
        "not an image archive: it has neither manifest.json nor index.json"
    );
    assert_eq!(
        refused(&b"hello, this is not a tar archive\n".repeat(40)),
        "cannot read the image archive"
    );
    assert_eq!(
        refused(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
        "cannot read the image archive"
    );
}

#[test]
fn manifests_that_lie() {
    let image = Built::plain("x", &["one"]);
    let with = |manifest: &str| {
        refused(&tar(&[
            ("c.json", &image.config),
            ("l.tar", &image.layers[0]),
            ("other.tar", &layer("other")),
            ("dir/x", b"-> ../dir/x"),
            ("manifest.json", manifest.as_bytes()),
        ]))
    };
    assert_eq!(
        with("null"),
        "invalid image archive: \"manifest.json\" cannot be parsed"
    );
    assert_eq!(
        with("[null]"),
        "invalid image archive: \"manifest.json\" cannot be parsed"
    );
    assert_eq!(
        with(r#"[{"Layers":[]}]"#),
        "invalid image archive: \"manifest.json\" cannot be parsed"
    );
    assert_eq!(
        with(r#"[{"Config":"x.json","Layers":[]}]"#),
        "invalid image archive: \"x.json\" is missing"
    );
    assert_eq!(
        with(r#"[{"Config":"../../etc/passwd","Layers":[]}]"#),
        "invalid image archive: name leads outside: \"../../etc/passwd\""
    );
    assert_eq!(
        with(r#"[{"Config":"manifest.json","Layers":[]}]"#),
        "invalid image archive: \"manifest.json\" is missing"
    );
    assert_eq!(
        with(r#"[{"Config":"dir/x","Layers":[]}]"#),
        "invalid image archive: too many links: \"dir/x\""
    );
    assert_eq!(
        with(r#"[{"Config":"l.tar","Layers":[]}]"#),
        "invalid image config l.tar"
    );
    assert_eq!(
        with(r#"[{"Config":"c.json","Layers":[]}]"#),
        "invalid manifest, layers length mismatch: expected 1, got 0"
    );
    assert_eq!(
        with(r#"[{"Config":"c.json","Layers":["no.tar"]}]"#),
        "invalid image archive: \"no.tar\" is missing"
    );
    assert!(
        with(r#"[{"Config":"c.json","Layers":["other.tar"]}]"#).contains(" has content sha256:")
    );
    assert!(
        with(r#"[{"Config":"c.json","Layers":["c.json"]}]"#)
            .starts_with("cannot unpack layer sha256:")
    );
    assert_eq!(
        with(r#"[{"Config":"c.json","Layers":["l.tar"],"RepoTags":["box"]}]"#),
        "invalid tag \"box\""
    );
    assert_eq!(
        with(r#"[{"Config":"c.json","Layers":["l.tar"],"RepoTags":["Box:1"]}]"#),
        "invalid reference format: repository name (library/Box) must be lowercase"
    );
    assert_eq!(
        with(&" ".repeat(5 << 20)),
        "invalid image archive: document is too large: \"manifest.json\""
    );
    let many = format!("[{}null]", r#"{"Config":"c.json"},"#.repeat(5000));
    with(&many);
}

#[test]
fn an_image_that_fails_takes_its_siblings_along() {
    let (good, bad) = (Built::plain("good", &["1"]), Built::plain("bad", &["2"]));
    let bad = Built {
        layers: good.layers.clone(),
        ..bad
    };
    refused(&docker_archive(&[(&good, &["good:1"]), (&bad, &["bad:1"])]));
}

#[test]
fn blobs_that_are_not_what_their_names_say() {
    let image = Built::plain("x", &["one"]);
    let manifest = image.manifest();
    let index = serde_json::json!({"schemaVersion": 2,
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)]});
    let index = serde_json::to_vec(&index).unwrap();
    let other = layer("other");
    let (config, layer_name, manifest_name) = (
        blob_name(&image.config),
        blob_name(&image.layers[0]),
        blob_name(&manifest),
    );
    let files = |layer: &[u8]| {
        tar(&[
            ("index.json", &index),
            (&config, &image.config),
            (&layer_name, layer),
            (&manifest_name, &manifest),
        ])
    };
    let sentence = refused(&files(&other));
    assert_eq!(
        sentence,
        format!(
            "wrong digest: expected {}, got {}",
            Digest::of(&image.layers[0]),
            Digest::of(&other)
        )
    );
    World::new().load(&files(&image.layers[0])).unwrap();

    // Sizes that differ from the blobs'.
    let lying = String::from_utf8(manifest.clone())
        .unwrap()
        .replace(&format!("\"size\":{}", image.layers[0].len()), "\"size\":1");
    let lying = lying.into_bytes();
    let index = serde_json::json!({"schemaVersion": 2,
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &lying)]});
    let archive = oci_archive(&index, &[&image.config, &image.layers[0], &lying]);
    assert_eq!(
        refused(&archive),
        format!(
            "wrong size: expected 1 bytes, got at least {}",
            image.layers[0].len()
        )
    );
}

#[test]
fn layouts_that_lie() {
    let image = Built::plain("x", &["one"]);
    let manifest = image.manifest();
    let load = |index: serde_json::Value, blobs: &[&[u8]]| refused(&oci_archive(&index, blobs));
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let index =
        |entries: serde_json::Value| serde_json::json!({"schemaVersion": 2, "manifests": entries});
    assert_eq!(
        load(index(serde_json::json!([])), &[])
            .split(" for ")
            .next(),
        Some("the archive has no image")
    );
    assert!(load(index(serde_json::json!([entry])), &[]).ends_with("is missing"));
    assert!(load(index(serde_json::json!([entry])), &[&manifest]).ends_with("is missing"));
    assert_eq!(
        load(serde_json::json!({"schemaVersion": 1}), &[]),
        "invalid manifest index.json"
    );
    // An index that holds itself cannot be made; a deep one can.
    let mut inner = serde_json::to_vec(&index(serde_json::json!([entry]))).unwrap();
    let mut all = vec![
        manifest.clone(),
        image.config.clone(),
        image.layers[0].clone(),
    ];
    for _ in 0..10 {
        all.push(inner.clone());
        let entry = descriptor("application/vnd.oci.image.index.v1+json", &inner);
        inner = serde_json::to_vec(&index(serde_json::json!([entry]))).unwrap();
    }
    let outer: serde_json::Value = serde_json::from_slice(&inner).unwrap();
    let blobs: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    assert!(load(outer, &blobs).starts_with("invalid image archive: indexes are nested too deep"));
    // A chart, a signature: the form of an image, and none.
    let chart = serde_json::to_vec(&serde_json::json!({"schemaVersion": 2,
        "config": descriptor("application/vnd.cncf.helm.config.v1+json", b"{}"), "layers": []}))
    .unwrap();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &chart);
    assert!(
        load(index(serde_json::json!([entry])), &[&chart, b"{}"])
            .starts_with("the archive has no image")
    );
}

#[test]
fn other_operating_systems() {
    let image = Built::plain("x", &["one"]);
    let config = String::from_utf8(image.config.clone())
        .unwrap()
        .replace("\"linux\"", "\"windows\"");
    let image = Built {
        config: config.into_bytes(),
        ..image
    };
    assert_eq!(
        refused(&docker_archive(&[(&image, &["box:1"])])),
        "cannot load windows image on linux"
    );
}

#[test]
fn names_that_lead_outside() {
    let image = Built::plain("x", &["one"]);
    for name in ["../../outside", "/../x", "a/../../b"] {
        let archive = tar(&[
            (name, b"x"),
            ("c.json", &image.config),
            ("manifest.json", b"[]"),
        ]);
        assert!(
            refused(&archive).starts_with("invalid image archive: name leads outside"),
            "{name}"
        );
    }
    let archive = tar(&[
        ("l", b"-> ../../etc/passwd"),
        ("manifest.json", br#"[{"Config":"l"}]"#),
    ]);
    assert!(refused(&archive).starts_with("invalid image archive: name leads outside"));
    // Absolute names and targets are the archive's own.
    let archive = tar(&[
        ("/c", b"-> /etc/passwd"),
        ("/manifest.json", br#"[{"Config":"c"}]"#),
    ]);
    assert_eq!(refused(&archive), "invalid image archive: \"c\" is missing");
}

#[test]
fn a_directory_with_a_link_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("manifest.json"), r#"[{"Config":"c.json"}]"#).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("c.json")).unwrap();
    let world = World::new();
    let error = world
        .images
        .load_directory(dir.path(), &LoadOptions::default(), &|_| {})
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid image archive: \"c.json\" is missing"
    );
    let error = world
        .images
        .load_directory(&dir.path().join("none"), &LoadOptions::default(), &|_| {})
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    world.assert_empty();
}

/// A stream that a bound ends, as that of a decoder whose archive is a bomb.
struct Bounded<'a>(&'a [u8]);

impl std::io::Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match std::io::Read::read(&mut self.0, buffer)? {
            0 => Err(std::io::Error::other(
                carrack_archive::ArchiveError::Limit {
                    what: "uncompressed bytes",
                    limit: 1,
                },
            )),
            read => Ok(read),
        }
    }
}

#[test]
fn a_bomb_is_too_large_wherever_it_is_met() {
    let image = Built::plain("x", &[&"one".repeat(1000)]);
    let archive = docker_archive(&[(&image, &["box:1"])]);
    let document = tar(&[("manifest.json", &[b' '; 4096])]);
    let world = World::new();
    // In a header, in a blob, in a document, behind the end.
    for stream in [
        &archive[..100],
        &archive[..2048],
        &document[..1024],
        &archive,
    ] {
        let error = world
            .images
            .load(Bounded(stream), &LoadOptions::default(), &|_| {})
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        world.assert_empty();
    }
    let gzip = compress(&layer("x"), Compression::Gzip);
    for stream in [&layer("x")[..], &gzip] {
        let error = world
            .images
            .import(Bounded(stream), ImportOptions::default(), &|_| {})
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        world.assert_empty();
    }
}

#[test]
fn names_are_bounded_in_sum() {
    let target = format!("-> {}", "long/".repeat(800));
    let names: Vec<String> = (0..5000).map(|at| format!("link-{at}")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), target.as_bytes()))
        .collect();
    assert!(
        refused(&tar(&files)).starts_with("invalid image archive: names are too long in all: ")
    );
}

/// Two images with the same layer, each with a parent of its own choice.
fn with_parents(a: &Built, b: &Built, parents: [&str; 2]) -> Vec<u8> {
    let names =
        |built: &Built| -> Vec<String> { built.layers.iter().map(|l| blob_name(l)).collect() };
    let manifest = serde_json::json!([
        {"Config": "a", "Layers": names(a), "RepoTags": ["a:1"], "Parent": parents[0]},
        {"Config": "b", "Layers": names(b), "RepoTags": ["b:1"], "Parent": parents[1]},
    ]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let layers = [names(a), names(b)].concat();
    let blobs = a.layers.iter().chain(&b.layers);
    let mut files: Vec<(&str, &[u8])> = std::iter::zip(&layers, blobs)
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    files.sort();
    files.dedup();
    files.extend([
        ("a", a.config.as_slice()),
        ("b", b.config.as_slice()),
        ("manifest.json", manifest.as_slice()),
    ]);
    tar(&files)
}

#[test]
fn parents_that_are_none() {
    let (a, b) = (Built::plain("a", &["1"]), Built::plain("b", &["1"]));
    let (a_id, b_id) = (a.id().to_string(), b.id().to_string());
    // A circle: each would keep the other from being removed.
    assert_eq!(
        refused(&with_parents(&a, &b, [&b_id, &a_id])),
        format!("image {b_id} is not a valid parent for {a_id}")
    );
    // One step more, after another beginning; two steps more.
    for contents in [&["2", "1"][..], &["1", "2", "3"]] {
        let child = Built::plain("child", contents);
        let archive = with_parents(&child, &a, [&a_id, ""]);
        assert!(refused(&archive).contains(" is not a valid parent for "));
    }
    // A circle of those without a history is none.
    let bare = |built: &Built| {
        let mut config: serde_json::Value = serde_json::from_slice(&built.config).unwrap();
        config.as_object_mut().unwrap().remove("history");
        Built {
            config: serde_json::to_vec(&config).unwrap(),
            layers: built.layers.clone(),
        }
    };
    let (a, b) = (bare(&a), bare(&b));
    let (a_id, b_id) = (a.id().to_string(), b.id().to_string());
    let world = World::new();
    world.load(&with_parents(&a, &b, [&b_id, &a_id])).unwrap();
    world.remove("a:1").unwrap();
    world.remove("b:1").unwrap();
    world.assert_empty();
}

/// A manifest whose layer has a million empty URLs, under many entries.
#[test]
fn what_a_descriptor_has_beside_its_blob_is_not_kept() {
    let image = Built::plain("x", &["one"]);
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest()).unwrap();
    manifest["layers"][0]["urls"] = vec![""; 1 << 20].into();
    manifest["layers"][0]["annotations"] = serde_json::json!({"a": "b"});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let named = |at: usize| {
        let mut entry = entry.clone();
        entry["annotations"]["io.containerd.image.name"] = format!("box:{at}").into();
        entry
    };
    let entries: Vec<serde_json::Value> = (0..4000).map(named).collect();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    let blobs: [&[u8]; 3] = [&manifest, &image.config, &image.layers[0]];
    let layout = oci_archive(&index, &blobs);
    let files = oci_archive(&index, &blobs);
    let mut both = tar(&[(
        "manifest.json",
        &serde_json::to_vec(&serde_json::json!([{"Config": blob_name(&image.config),
            "Layers": [blob_name(&image.layers[0])], "RepoTags": ["box:1"]}]))
        .unwrap(),
    )]);
    // One archive of two: the first one's end is left out.
    both.truncate(both.len() - 1024);
    both.extend(files);
    for (archive, names) in [(layout, 4000), (both, 1)] {
        let world = World::new();
        let start = std::time::Instant::now();
        world.load(&archive).unwrap();
        // Parsed once: 4000 times would take minutes.
        assert!(start.elapsed() < std::time::Duration::from_secs(30));
        let loaded = world.images.resolve("box:1").unwrap();
        assert_eq!(world.images.references(loaded.id()).len(), names);
        assert!(loaded.layers()[0].blob.urls.is_empty());
        assert!(loaded.layers()[0].blob.annotations.is_empty());
        let inspection = world.images.inspect("box:1").unwrap();
        let digest = inspection.manifest.map(|manifest| manifest.digest);
        assert_eq!(digest, Some(Digest::of(&manifest)));
    }
}

#[test]
fn configs_are_bounded_in_sum() {
    let pad = "x".repeat(7 << 20);
    let images: Vec<Built> = (0..5)
        .map(|at| Built::plain(&format!("{at}{pad}"), &["1"]))
        .collect();
    let images: Vec<(&Built, &[&str])> = images.iter().map(|image| (image, &[][..])).collect();
    let sentence = refused(&docker_archive(&images));
    assert!(sentence.starts_with("invalid image archive: configs are too large in all"));
    World::new().load(&docker_archive(&images[..4])).unwrap();
}
