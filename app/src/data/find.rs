//! Published versions by what people call them, and their manifests.

use super::chain::Version;
use super::manifest::{self, Manifest};
use super::{Answer, BLOCK_WAIT, Desks, broken, no};
use talkoo_base::{Cid, Digest, NodeId, RefusalCode};
use talkoo_net::{FetchOptions, Scope};
use talkoo_store::Block;

impl Desks {
    /// A public block, from here or from the network.
    fn public_block(&self, cid: &Cid, from: &[NodeId]) -> Answer<Block> {
        if let Some(block) = self.blocks.get(cid).map_err(broken)? {
            return Ok(block);
        }
        let from = from.iter().filter_map(talkoo_net::peer_id_of).collect();
        let options = FetchOptions { scope: Scope::Block, from, deadline: Some(BLOCK_WAIT), ..FetchOptions::default() };
        let fetched = self.runtime.block_on(self.net.fetch(*cid, options, |_| ()));
        fetched.map_err(|why| no(RefusalCode::Silent, why.to_string(), "talkoo join CODE, of the owner's node"))?;
        let block = self.blocks.get(cid).map_err(broken)?;
        block.ok_or_else(|| no(RefusalCode::Silent, "the block came and is not here", "try again"))
    }

    /// The manifest of a published version, as its owner made it.
    pub(super) fn manifest(&self, version: &Version) -> Answer<(Cid, Manifest)> {
        let cid = manifest::cid_of_digest(&version.of.manifest.0);
        let block = self.public_block(&cid, &[])?;
        let bad = |why: String| no(RefusalCode::Malformed, format!("its manifest is bad: {why}"), "tell its owner");
        let manifest = Manifest::read(&block).map_err(|why| bad(why.to_string()))?;
        if manifest.sealed.hash().digest() != version.of.cid.0 {
            return Err(bad("it names another object than the chain".into()));
        }
        Ok((cid, manifest))
    }

    /// A published version by what people call it: number of the asset, id, CID of the manifest, or OWNER/NAME.
    pub(super) fn find(&self, name: &str) -> Answer<Version> {
        if let Ok(asset) = name.parse::<u64>() {
            return self.desk.newest(asset);
        }
        if let Some(id) = Digest::from_hex(name) {
            return self.desk.version(id.0.into());
        }
        let unknown = || no(RefusalCode::UnknownId, format!("nothing is published as {name}"), "see docs/DATA.md");
        let ids = self.desk.published()?;
        if let Ok(cid) = name.parse::<Cid>() {
            let found = ids.into_iter().map(|id| self.desk.version(id));
            let found = found.filter_map(Result::ok).find(|version| version.of.manifest.0 == cid.hash().digest());
            return found.ok_or_else(unknown);
        }
        let (owner, called) = name.split_once('/').ok_or_else(unknown)?;
        let owner: alloy_primitives::Address = owner.parse().map_err(|_| unknown())?;
        for id in ids.into_iter().rev() {
            let version = self.desk.version(id)?;
            if version.owner == owner && version.of.state != 3 && self.manifest(&version)?.1.name == called {
                return Ok(version);
            }
        }
        Err(unknown())
    }
}
