//! A part of something bought, for who does not want all of it on the disk.

use super::manifest::Kind;
use super::{Answer, Desks, broken, no, object};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};
use talkoo_base::RefusalCode;

/// Bytes of one part.
const PART_BYTES_MAX: u64 = 256 << 10;
/// Bytes of a folder that is unpacked for one of its files.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
/// Files of a folder that are listed.
const FILES_MAX: usize = 1_000;

/// Which part.
pub(crate) struct Part<'a> {
    /// Of a folder: the file.
    pub(crate) file: Option<&'a str>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Desks {
    /// Reads a part; counts as a use of the grant.
    pub(crate) fn read_part(&self, id: &str, part: &Part<'_>) -> Answer<Value> {
        let bought = self.held(id)?;
        let about = json!({"version": bought.version.to_string(), "grant": bought.grant});
        let (mut plain, kind) = match self.opened(&bought) {
            Ok(opened) => opened,
            Err(why) => {
                self.audit.note("read refused", json!({"what": about, "why": why.message}));
                return Err(why);
            }
        };
        self.audit.note("read", about);
        if kind == Kind::File {
            if part.file.is_some() {
                return Err(no(RefusalCode::Malformed, "`file` is of a folder, and this is one file", "leave it out"));
            }
            let total = plain.content_bytes();
            return shown(&mut plain, total, part);
        }
        if plain.content_bytes() > FOLDER_BYTES_MAX {
            let why = "the folder is too large to be unpacked for one read";
            return Err(no(RefusalCode::TooLarge, why, "talkoo data get ID --to PATH"));
        }
        let aside = tempfile::tempdir().map_err(broken)?;
        let root = aside.path().join("folder");
        object::export(plain, kind, &root).map_err(|why| crate::commands::refusal_of(&why))?;
        let Some(name) = part.file else {
            let mut files = Vec::new();
            list(&root, &root, &mut files).map_err(broken)?;
            return Ok(json!({"files": files, "next": null}));
        };
        let unknown = || no(RefusalCode::UnknownId, format!("there is no file {name:?} in it"), "leave `file` out");
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(unknown());
        }
        // A link in it could lead to any file of this machine.
        let path = root.join(path).canonicalize().map_err(|_| unknown())?;
        let root = root.canonicalize().map_err(broken)?;
        let mut file = File::open(&path).map_err(|_| unknown())?;
        let meta = file.metadata().map_err(broken)?;
        if !path.starts_with(&root) || !meta.is_file() {
            return Err(unknown());
        }
        shown(&mut file, meta.len(), part)
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<Value>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if files.len() >= FILES_MAX {
            return Ok(());
        }
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            list(root, &path, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push(json!({"file": name, "bytes": entry.metadata()?.len()}));
        }
    }
    Ok(())
}

/// The bytes as text, if they are; a letter that the end cuts off is left to the next part.
fn shown(from: &mut (impl Read + Seek), total: u64, part: &Part<'_>) -> Answer<Value> {
    let (offset, most) = (part.offset.min(total), part.bytes.min(PART_BYTES_MAX));
    from.seek(SeekFrom::Start(offset)).map_err(broken)?;
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).map_err(broken)?;
    let is_last = offset + bytes.len() as u64 >= total;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => Some(text),
        Err(why) if why.error_len().is_none() && !is_last && why.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..why.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let end = offset + text.map_or(bytes.len(), str::len) as u64;
    let mut value = json!({"offset": offset, "total_bytes": total, "next": (end < total).then_some(end)});
    match text {
        Some(text) => value["text"] = json!(text),
        None => value["base64"] = json!(BASE64_STANDARD.encode(&bytes)),
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn parts_are_text_where_they_can_be() {
        // Content, offset, bytes; text or base64, next.
        let cases = [
            (&b"hello"[..], 0, 3, "text", "hel", Some(3)),
            (b"hello", 3, 9, "text", "lo", None),
            (b"hello", 9, 9, "text", "", None),
            ("aäb".as_bytes(), 0, 2, "text", "a", Some(1)),
            (b"\xff\xfe", 0, 1, "base64", "/w==", Some(1)),
            (b"a\xc3", 0, 9, "base64", "YcM=", None),
        ];
        for (content, offset, bytes, key, said, next) in cases {
            let part = Part { file: None, offset, bytes };
            let value = shown(&mut Cursor::new(content), content.len() as u64, &part).unwrap();
            assert_eq!((value[key].as_str(), value["next"].as_u64()), (Some(said), next), "{content:?} {offset}");
        }
    }
}
