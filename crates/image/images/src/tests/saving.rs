//! What goes out comes in again.

use super::*;

fn save(world: &World, names: &[&str]) -> Result<Vec<u8>, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut archive = Vec::new();
    world.images.save(&names, &mut archive).map(|()| archive)
}

fn files(archive: &[u8]) -> Vec<String> {
    let mut reader =
        carrack_archive::tar::TarReader::new(archive, carrack_archive::Limits::DEFAULT);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let name = String::from_utf8(entry.path).unwrap();
        names.push(if name.starts_with("blobs/sha256/") && name.len() > 14 {
            "blob".to_owned()
        } else {
            name
        });
    }
    names
}

#[test]
fn round_trips() {
    let world = World::new();
    let image = Built::new(
        "x",
        &["one", "two"],
        &[Compression::Gzip, Compression::None],
    );
    world
        .load(&docker_archive(&[(&image, &["box:1", "box:2"])]))
        .unwrap();
    world.told();
    let archive = save(&world, &["box:1"]).unwrap();
    assert_eq!(world.told(), ["save <id>"]);
    assert_eq!(
        files(&archive),
        [
            "blobs/",
            "blobs/sha256/",
            "blob",
            "blob",
            "blob",
            "blob",
            "index.json",
            "manifest.json",
            "oci-layout",
            "repositories"
        ]
    );
    assert_eq!(
        save(&world, &["box:1"]).unwrap(),
        archive,
        "the same image, the same bytes"
    );

    let other = World::new();
    assert_eq!(other.load(&archive).unwrap(), ["Loaded image: box:1"]);
    assert_eq!(
        save(&other, &["box:1"]).unwrap(),
        archive,
        "also from where it was loaded to"
    );
    let both = save(&world, &["box"]).unwrap();
    assert_eq!(
        World::new().load(&both).unwrap(),
        ["Loaded image: box:1", "Loaded image: box:2"]
    );
    let by_id = save(&world, &[image.id().as_str()]).unwrap();
    assert_eq!(
        World::new().load(&by_id).unwrap(),
        [format!("Loaded image ID: {}", image.id())]
    );
}

#[test]
fn several_images_share_their_blobs() {
    let world = World::new();
    let (a, b) = (
        Built::plain("a", &["shared", "a"]),
        Built::plain("b", &["shared", "b"]),
    );
    world
        .load(&docker_archive(&[(&a, &["a:1"]), (&b, &["b:1"])]))
        .unwrap();
    let archive = save(&world, &["b:1", "a:1", "b:1"]).unwrap();
    assert_eq!(
        files(&archive)
            .iter()
            .filter(|name| *name == "blob")
            .count(),
        2 + 2 + 3
    );
    let other = World::new();
    assert_eq!(
        other.load(&archive).unwrap(),
        ["Loaded image: b:1", "Loaded image: a:1"]
    );
}

#[test]
fn a_manifest_keeps_its_digest() {
    let world = World::new();
    let image = Built::new("x", &["one"], &[Compression::Zstd]);
    let manifest = image.manifest();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"]["io.containerd.image.name"] = "docker.io/library/box:1".into();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    let blobs: Vec<&[u8]> = vec![&image.config, &image.layers[0], &manifest];
    world.load(&oci_archive(&index, &blobs)).unwrap();
    let other = World::new();
    other.load(&save(&world, &["box:1"]).unwrap()).unwrap();
    let kept = other.images.inspect("box:1").unwrap().manifest.unwrap();
    assert_eq!(kept.digest, Digest::of(&manifest));
}

#[test]
fn layouts_in_directories() {
    let world = World::new();
    let image = Built::new("x", &["one", "two"], &[Compression::Gzip]);
    world
        .load(&docker_archive(&[(&image, &["box:1"])]))
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/layout");
    world
        .images
        .save_directory(&["box:1".to_owned()], &path)
        .unwrap();
    world
        .images
        .save_directory(&["box:1".to_owned()], &path)
        .unwrap();
    let other = World::new();
    let loaded = other
        .images
        .load_directory(&path, &LoadOptions::default(), &|_| {})
        .unwrap();
    assert_eq!(loaded.lines(), ["Loaded image: box:1\n"]);
}

#[test]
fn errors_come_before_the_first_byte() {
    let world = World::new();
    let image = world.import("box:1", "1");
    let mut written = Vec::new();
    let names = ["box:1".to_owned(), "nosuch".to_owned()];
    let error = world.images.save(&names, &mut written).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), written.len()),
        ("No such image: nosuch:latest", 0)
    );
    let blob = &image.layers()[0].blob.digest;
    std::fs::remove_file(
        world
            .dir
            .path()
            .join("content/blobs/sha256")
            .join(blob.hex()),
    )
    .unwrap();
    assert_eq!(
        save(&world, &["box:1"]).unwrap_err().to_string(),
        format!("blob {blob} not found")
    );
}
