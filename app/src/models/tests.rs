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
