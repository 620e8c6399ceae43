//! The catalogue parses, and names lead somewhere.

use super::*;

#[test]
fn the_shipped_catalogue_is_sound() {
    for entry in catalog::all() {
        assert_ne!(entry.sha256(), Digest::ZERO);
        assert_ne!(entry.root(), Digest::ZERO);
        assert_eq!(entry.cid().codec(), 0x70, "a file of several blocks has a dag-pb root");
        assert!(!entry.licence.is_empty());
        for alias in &entry.aliases {
            assert_eq!(catalog::find(alias).unwrap().name, entry.name);
        }
    }
    let no = catalog::find("gpt-5").unwrap_err();
    assert_eq!(no.code, talkoo_base::RefusalCode::UnknownModel);
    assert!(no.hint.contains("smollm2"));
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
    // The same name, other weights.
    let elsewhere = folder.path().join(&entry.file);
    let mut bytes = fs::read(&original).unwrap();
    bytes[50_000_000] ^= 1;
    fs::write(&elsewhere, &bytes).unwrap();
    let second = adopt(&mut shelf, &elsewhere).unwrap();
    assert!(first.name != second.name && first.file != second.file && first.root() != second.root());
    assert_eq!(sha256_of(&shelf.path(&first)).unwrap(), entry.sha256());
    // Again, and onto itself: nothing changes.
    assert_eq!(adopt(&mut shelf, &elsewhere).unwrap().file, second.file);
    let onto_itself = shelf.path(&first);
    assert_eq!(adopt(&mut shelf, &onto_itself).unwrap().name, first.name);
    assert_eq!((sha256_of(&onto_itself).unwrap(), shelf.all().len()), (entry.sha256(), 2));
    // What is no model leaves nothing behind.
    let files = || fs::read_dir(folder.path().join("models")).unwrap().count();
    let (before, used) = (files(), blocks.usage().unwrap().blocks);
    fs::write(&elsewhere, b"GGUF no more").unwrap();
    assert!(adopt(&mut shelf, &elsewhere).is_err());
    assert_eq!((files(), blocks.usage().unwrap().blocks, blocks.pins().unwrap().len()), (before, used, 2));
    assert!(
        shelf.remove(&second.name).unwrap().is_some() && shelf.path(&first).exists() && !shelf.path(&second).exists()
    );
}
