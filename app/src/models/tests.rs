//! The catalogue parses, and names lead somewhere.

use super::image::Opened;
use super::*;

#[test]
fn the_shipped_catalogue_is_sound() {
    for entry in catalog::all().iter().chain(catalog::encoders()) {
        assert_ne!(entry.sha256(), Digest::ZERO);
        assert_ne!(entry.root(), Digest::ZERO);
        let fine = entry.root_with(KvFormat::Int16);
        assert_eq!(fine.is_some(), catalog::all().iter().any(|e| e.name == entry.name), "encoders have one format");
        assert!(fine.is_none_or(|fine| fine != entry.root() && fine != Digest::ZERO));
        assert_eq!(entry.cid().codec(), 0x70, "a file of several blocks has a dag-pb root");
        assert!(!entry.licence.is_empty());
        for alias in &entry.aliases {
            let found = catalog::find(alias).or_else(|_| catalog::find_encoder(alias));
            assert_eq!(found.unwrap().name, entry.name);
        }
    }
    let no = catalog::find("gpt-5").unwrap_err();
    assert_eq!(no.code, talkoo_base::RefusalCode::UnknownModel);
    assert!(no.hint.contains("smollm2"));
    assert!(catalog::find("minilm").unwrap_err().hint.contains("talkoo embed minilm"));
    assert!(catalog::find_encoder("smollm2").unwrap_err().message.contains("generates text"));
}

#[test]
fn a_users_file_overwrites_no_other_model() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = Blocks::open(folder.path(), talkoo_disk::BlocksConfig { quota_bytes: 1 << 30 }).unwrap();
    let mut shelf = Shelf::open(folder.path()).unwrap();
    let entry = catalog::find("smollm2").unwrap();
    let original = into_cache(entry, &mut |_, _, _| ()).unwrap();
    let adopt = |shelf: &mut Shelf, source: &Path| {
        let held = super::adopt(&blocks, &shelf.dir.clone(), &shelf.held.clone(), source)?;
        shelf.add(held.clone())?;
        anyhow::Ok(held)
    };
    let first = adopt(&mut shelf, &original).unwrap();
    assert_eq!((first.root(), first.file.as_str()), (entry.root(), entry.file.as_str()));
    assert_eq!(first.name, entry.name, "the catalogue's file is the catalogue's model");
    let loaded = Model::load(&original).unwrap();
    let programs: Vec<_> = KvFormat::ALL.map(|kv| (kv, loaded.root_with(kv))).into();
    assert_eq!(first.programs().collect::<Vec<_>>(), programs);
    // The same name, other weights.
    let elsewhere = folder.path().join(&entry.file);
    let mut bytes = fs::read(&original).unwrap();
    bytes[50_000_000] ^= 1;
    fs::write(&elsewhere, &bytes).unwrap();
    let second = adopt(&mut shelf, &elsewhere).unwrap();
    assert!(first.name != second.name && first.file != second.file && first.root() != second.root());
    assert_eq!(second.programs().count(), 2);
    let (old, again) = (Held { root_kv16: None, ..second.clone() }, Held { root_kv16: None, ..first.clone() });
    assert!(old.root_with(KvFormat::Int16).unwrap_err().hint.contains("pull it again"));
    assert_eq!((old.programs().count(), again.programs().count()), (1, 2), "the catalogue knows its own");
    assert_eq!(sha256_of(&shelf.path(&first)).unwrap(), entry.sha256());
    // Again, and onto itself: nothing changes.
    assert_eq!(adopt(&mut shelf, &elsewhere).unwrap().file, second.file);
    let onto_itself = shelf.path(&first);
    assert_eq!(adopt(&mut shelf, &onto_itself).unwrap().name, first.name);
    assert_eq!((sha256_of(&onto_itself).unwrap(), shelf.all().len()), (entry.sha256(), 2));
    let squatter = folder.path().join(format!("{}.gguf", entry.name));
    fs::rename(&elsewhere, &squatter).unwrap();
    shelf.remove(&second.name).unwrap();
    shelf.remove(&first.name).unwrap();
    let second = adopt(&mut shelf, &squatter).unwrap();
    assert_ne!(second.name, entry.name, "a name of the catalogue is given to its own file only");
    let first = adopt(&mut shelf, &original).unwrap();
    // Halves that a crash left go at the next start.
    let kept = image::image_of(&shelf.path(&first));
    let orphan = image::image_of(&shelf.dir().join("x.gguf"));
    [&shelf.dir().join("x.part"), &orphan, &kept].iter().for_each(|path| fs::write(path, b"half").unwrap());
    shelf.sweep().unwrap();
    let there = [shelf.dir().join("x.part"), orphan, kept.clone(), shelf.path(&first)].map(|path| path.exists());
    assert_eq!(there, [false, false, true, true]);
    // A damaged image is no obstacle, and is replaced.
    assert_eq!(Opened::open(&shelf.path(&first), folder.path(), KvFormat::Int8).unwrap().root(), entry.root());
    assert_ne!(fs::read(&kept).unwrap(), b"half");
    // What is no model leaves nothing behind.
    let files = || fs::read_dir(folder.path().join("models")).unwrap().count();
    let (before, used, pins) = (files(), blocks.usage().unwrap().blocks, blocks.pins().unwrap().len());
    fs::write(&elsewhere, b"GGUF no more").unwrap();
    assert!(adopt(&mut shelf, &elsewhere).is_err());
    assert_eq!((files(), blocks.usage().unwrap().blocks, blocks.pins().unwrap().len()), (before, used, pins));
    assert!(
        shelf.remove(&second.name).unwrap().is_some() && shelf.path(&first).exists() && !shelf.path(&second).exists()
    );
}

#[test]
fn a_file_over_the_quota_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = Blocks::open(folder.path(), talkoo_disk::BlocksConfig { quota_bytes: 3 << 20 }).unwrap();
    let shelf = Shelf::open(folder.path()).unwrap();
    let source = folder.path().join("x.gguf");
    let bytes: Vec<u8> = (0..40_u32 << 18).flat_map(|i| (i / 7).to_le_bytes()).collect();
    fs::write(&source, &bytes).unwrap();
    assert!(super::adopt(&blocks, shelf.dir(), &[], &source).is_err());
    assert_eq!((fs::read_dir(shelf.dir()).unwrap().count(), blocks.usage().unwrap().blocks), (0, 0));
}
