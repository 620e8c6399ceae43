//! `add`.

use super::args::wrong;
use super::upload::{Kind, Parts};
use super::{Args, line};
use crate::body::Pipe;
use crate::import::{Added, Import, ImportOptions};
use crate::keep::pin_rpc;
use crate::limits::PATH_BYTES_MAX;
use crate::source::{Store, broken};
use serde_json::json;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_disk::blocks::PinMode;
use talkoo_store::Visibility;
use talkoo_store::unixfs::Profile;

/// The class that a call asks for; nothing said is private.
pub(crate) fn visibility_of(args: &Args) -> Result<Visibility, Refusal> {
    match args.get("visibility") {
        None | Some("private") => Ok(Visibility::Private),
        Some("granted") => Ok(Visibility::Granted),
        Some("public") => Ok(Visibility::Public),
        Some(other) => Err(wrong("visibility", other, "private, granted or public")),
    }
}

/// The layout: `profile`, or kubo's own words as far as they mean one of the two.
fn profile(args: &Args) -> Result<Profile, Refusal> {
    let version = args.number("cid-version")?;
    let raw_leaves = args.flag("raw-leaves")?;
    let profile = match (args.get("profile"), version) {
        (Some("unixfs-v1-2025"), None | Some(1)) | (None, Some(1)) => Profile::V1_2025,
        (Some("unixfs-v0-2015"), None | Some(0)) | (None, None | Some(0)) => Profile::V0_2015,
        (Some(other), _) => return Err(wrong("profile", other, "unixfs-v1-2025 (CIDv1) or unixfs-v0-2015 (CIDv0)")),
        (None, Some(other)) => return Err(wrong("cid-version", &other.to_string(), "0 or 1")),
    };
    let is_v1 = profile == Profile::V1_2025;
    let (chunker, hash) = (args.get("chunker").unwrap_or_default(), args.get("hash").unwrap_or("sha2-256"));
    let size = if is_v1 { "size-1048576" } else { "size-262144" };
    let hint = "only the layouts of IPIP-499 are written: profile=unixfs-v1-2025 or profile=unixfs-v0-2015";
    let other = if raw_leaves.is_some_and(|raw| raw != is_v1) {
        "raw-leaves"
    } else if !matches!(chunker, "" | "default") && chunker != size {
        "chunker"
    } else if hash != "sha2-256" {
        "hash"
    } else if args.flag("trickle")? == Some(true) {
        "trickle"
    } else if args.flag("inline")? == Some(true) {
        "inline"
    } else {
        return Ok(profile);
    };
    Err(Refusal::new(RefusalCode::UnsupportedParameter, format!("this `{other}` is of another layout"), hint))
}

pub(super) fn add(store: &Store, args: &Args, parts: &mut Parts, pipe: &mut Pipe) -> Result<(), Refusal> {
    let options = ImportOptions { profile: profile(args)? };
    let only_hash = args.flag("only-hash")? == Some(true);
    let (visibility, progress) = (visibility_of(args)?, args.flag("progress")? == Some(true));
    let wrap = args.flag("wrap-with-directory")? == Some(true);
    let mut import = Import::new((!only_hash).then_some(&store.blocks), options);
    while let Some(head) = parts.next()? {
        match head.kind {
            Kind::Folder => import.folder(&head.path)?,
            Kind::Symlink => {
                let target = parts.whole(PATH_BYTES_MAX)?;
                let target = std::str::from_utf8(&target).map_err(|_| wrong("link", "…", "a target in UTF-8"))?;
                tell(pipe, &import.symlink(&head.path, target)?)?;
            }
            Kind::File => {
                import.begin(&head.path)?;
                let (mut bytes, mut told) = (0, 0);
                parts.each(|piece| {
                    bytes += piece.len();
                    if progress && bytes >= told + (1 << 20) {
                        told = bytes;
                        pipe.send(line(&json!({"Name": head.path, "Bytes": bytes})))?;
                    }
                    import.push(piece)
                })?;
                tell(pipe, &import.end()?)?;
            }
        }
    }
    let finished = import.finish(wrap)?;
    if !only_hash {
        keep(store, args, &finished.roots, visibility)?;
    }
    for folder in finished.added.iter().filter(|added| added.is_folder) {
        tell(pipe, folder)?;
    }
    Ok(())
}

/// Pins and opens what was imported, before it is told that it is here.
fn keep(store: &Store, args: &Args, roots: &[Added], visibility: Visibility) -> Result<(), Refusal> {
    for root in roots {
        if args.flag("pin")? != Some(false) {
            let name = args.get("pin-name").unwrap_or_default();
            pin_rpc(store, root.cid, PinMode::Recursive, name)?;
        }
        if visibility != Visibility::Private {
            store.blocks.set_class(&root.cid, visibility).map_err(broken)?;
        }
        if visibility == Visibility::Public {
            store.network.provide(&root.cid);
        }
    }
    Ok(())
}

fn tell(pipe: &mut Pipe, added: &Added) -> Result<(), Refusal> {
    let is_nameless = added.path.is_empty() && !added.is_folder;
    let name = if is_nameless { added.cid.to_string() } else { added.path.clone() };
    let said = json!({"Name": name, "Hash": added.cid.to_string(), "Size": added.total_bytes.to_string()});
    pipe.send(line(&said))?;
    Ok(())
}
