//! `<data-dir>/denylists/*.deny`: what this node neither serves nor keeps, whatever its class.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use talkoo_base::Cid;
use talkoo_store::denylist::Denylist;
use tracing::{info, warn};

/// The lists in the order of their names, the last one first: its rules come before the others'.
#[derive(Debug, Default)]
pub(crate) struct Denylists(Vec<(PathBuf, Denylist)>);

impl Denylists {
    /// Reads the folder; one that is not there has no lists.
    ///
    /// # Errors
    /// A list that cannot be read: better no start than one without it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let dir = data_dir.join("denylists");
        let entries = match fs::read_dir(&dir) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
        };
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.with_context(|| format!("cannot read {}", dir.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "deny"));
        paths.sort_unstable_by(|a, b| b.cmp(a));
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let list = Denylist::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
            info!(path = %path.display(), rules = list.len(), "denylist");
            if list.malformed > 0 {
                warn!(path = %path.display(), lines = list.malformed, "lines of a denylist are no rules");
            }
            Ok((path, list))
        };
        paths.into_iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Where it says that a path from `cid` on is denied.
    pub(crate) fn denies(&self, cid: &Cid, path: &str) -> Option<String> {
        let verdict = |(file, list): &(PathBuf, Denylist)| Some((file.clone(), list.verdict(cid, path)?.clone()));
        let (file, rule) = self.0.iter().find_map(verdict)?;
        (!rule.allows).then(|| format!("{}:{}", file.display(), rule.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lists_override_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Denylists::open(dir.path()).unwrap().0.is_empty());
        let folder = dir.path().join("denylists");
        fs::create_dir(&folder).unwrap();
        let [one, two] =
            ["QmecDgNqCRirkc3Cjz9eoRBNwXGckJ9WvTdmY16HP88768", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"];
        fs::write(folder.join("a.deny"), format!("/ipfs/{one}/*\n/ipfs/{two}\nnonsense\n")).unwrap();
        fs::write(folder.join("b.deny"), format!("!/ipfs/{one}/good\n")).unwrap();
        fs::write(folder.join("c.txt"), format!("!/ipfs/{two}\n")).unwrap();
        let lists = Denylists::open(dir.path()).unwrap();
        let denies = |cid: &str, path| lists.denies(&cid.parse().unwrap(), path);
        assert_eq!(denies(two, ""), Some(format!("{}:2", folder.join("a.deny").display())));
        assert!(denies(one, "bad").is_some() && denies(one, "good").is_none() && denies(two, "x").is_none());
        fs::write(folder.join("d.deny"), "version: 9\n---\n").unwrap();
        assert!(Denylists::open(dir.path()).is_err());
    }
}
