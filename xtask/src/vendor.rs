//! Others' files in `web/vendor` are what their npm packages hold: `vendor.lock` names file, package, version, place and
//! SHA-256 of each, and nothing else lies there.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: &str = "web/vendor";
const LOCK: &str = "vendor.lock";

/// Compares the folder with its list.
pub(crate) fn check(broken: &mut Vec<String>) -> Result<()> {
    let folder = Path::new(FOLDER);
    let lock = std::fs::read_to_string(folder.join(LOCK)).context("cannot read web/vendor/vendor.lock")?;
    let mut listed = BTreeSet::from([LOCK.to_owned()]);
    for line in lock.lines().filter(|line| !line.starts_with('#')) {
        let [file, package, version, _, hash] = line.split(' ').collect::<Vec<_>>()[..] else {
            broken.push(format!("{FOLDER}/{LOCK}: `{line}` is not file, package, version, place, hash"));
            continue;
        };
        listed.insert(file.to_owned());
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if found != hash {
            broken.push(format!("{FOLDER}/{file} is not the file of {package} {version}: its hash is {found}"));
        }
    }
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !listed.contains(&name) {
            broken.push(format!("{FOLDER}/{name} is not in {LOCK}"));
        }
    }
    Ok(())
}
