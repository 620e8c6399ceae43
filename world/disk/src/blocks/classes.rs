//! Who may be given what (`decisions.md` §9).
//!
//! A block is as open as the most open that claims it: the call that put it, or any root of a class
//! whose DAG it was in when the class was set. So a DAG that is closed again takes back only its own
//! claims, and what another DAG shows stays.

use super::index::{Index, key};
use super::{Blocks, BlocksError, Writer};
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use std::collections::HashSet;
use std::ops::ControlFlow;
use talkoo_base::{Cid, NodeId};
use talkoo_store::Visibility;

/// Key of a root's block → its number.
const ROOTS: TableDefinition<&[u8], u64> = TableDefinition::new("class-roots/1");
/// Number of a root → its class (0 public, 1 granted, 2 private).
const CLASSES: TableDefinition<u64, u8> = TableDefinition::new("classes/1");
/// Key of a block, number of a root that claims it.
const CLAIMS: TableDefinition<(&[u8], u64), ()> = TableDefinition::new("claims/1");
/// The same, by root.
const MEMBERS: TableDefinition<(u64, &[u8]), ()> = TableDefinition::new("members/1");
/// Number of a root, id of a node → unix second from which on it may read no more.
const GRANTS: TableDefinition<(u64, &[u8]), u64> = TableDefinition::new("grants/1");

impl Blocks {
    /// Sets who may be given the DAG below `root`, as far as it is here: call it again when more has come.
    /// Private takes back all grants. What other DAGs show stays open; pinned DAGs without a class of
    /// their own are among them.
    ///
    /// # Errors
    /// [`BlocksError::Index`], [`BlocksError::Io`].
    pub fn set_class(&self, root: &Cid, class: Visibility) -> Result<(), BlocksError> {
        let mut writer = self.writer();
        self.set_class_locked(&mut writer, root, class)
    }

    /// The class that was set for `root`.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn class_of(&self, root: &Cid) -> Result<Option<Visibility>, BlocksError> {
        let read = self.index.database.begin_read()?;
        let Some(number) = read.open_table(ROOTS)?.get(key(root).as_slice())?.map(|row| row.value()) else {
            return Ok(None);
        };
        Ok(read.open_table(CLASSES)?.get(number)?.map(|row| unpack(row.value())))
    }

    /// Lets a node read the DAG below `root` until a unix second, or for good. A root that is not public
    /// becomes granted.
    ///
    /// # Errors
    /// [`BlocksError::Index`], [`BlocksError::Io`].
    pub fn grant(&self, root: &Cid, node: &NodeId, until: Option<u64>) -> Result<(), BlocksError> {
        let mut writer = self.writer();
        let is_public = self.class_of(root)? == Some(Visibility::Public);
        let class = if is_public { Visibility::Public } else { Visibility::Granted };
        self.set_class_locked(&mut writer, root, class)?;
        let write = self.index.begin()?;
        {
            let number = number_of(&write, root)?;
            let mut grants = write.open_table(GRANTS)?;
            grants.insert((number, &node.as_bytes()[..]), until.unwrap_or(u64::MAX))?;
        }
        write.commit()?;
        self.flush_locked(&mut writer)
    }

    /// Takes a grant back; answers whether there was one. A public root stays public.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn revoke(&self, root: &Cid, node: &NodeId) -> Result<bool, BlocksError> {
        let mut writer = self.writer();
        let write = self.index.begin()?;
        let was_there = {
            let number = write.open_table(ROOTS)?.get(key(root).as_slice())?.map(|row| row.value());
            let mut grants = write.open_table(GRANTS)?;
            match number {
                Some(number) => grants.remove((number, &node.as_bytes()[..]))?.is_some(),
                None => false,
            }
        };
        write.commit()?;
        self.flush_locked(&mut writer)?;
        Ok(was_there)
    }

    /// The roots that are public, in the order of their keys.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn public_roots(&self) -> Result<Vec<Cid>, BlocksError> {
        let read = self.index.database.begin_read()?;
        let (roots, classes) = (read.open_table(ROOTS)?, read.open_table(CLASSES)?);
        let mut out = Vec::new();
        for row in roots.iter()? {
            let (root, number) = row?;
            let class = classes.get(number.value())?.map(|row| unpack(row.value()));
            if class == Some(Visibility::Public) {
                out.extend(Cid::try_from(root.value()).ok());
            }
        }
        Ok(out)
    }

    /// Who may read the DAG below `root`, and until which unix second.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn grants(&self, root: &Cid) -> Result<Vec<(NodeId, Option<u64>)>, BlocksError> {
        let read = self.index.database.begin_read()?;
        let mut out = Vec::new();
        let Some(number) = read.open_table(ROOTS)?.get(key(root).as_slice())?.map(|row| row.value()) else {
            return Ok(out);
        };
        for row in read.open_table(GRANTS)?.range((number, &[][..])..(number + 1, &[][..]))? {
            let (row, until) = row?;
            if let Ok(node) = NodeId::from_bytes(row.value().1) {
                out.push((node, Some(until.value()).filter(|until| *until != u64::MAX)));
            }
        }
        Ok(out)
    }

    /// Whether a block is here and may be given to `node`, or to a stranger, at the unix second `now`.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn may_read(&self, cid: &Cid, node: Option<&NodeId>, now: u64) -> Result<bool, BlocksError> {
        let Some(row) = self.index.row(cid)? else { return Ok(false) };
        if row.visibility == Visibility::Public {
            return Ok(true);
        }
        let mut may = false;
        self.index.claims(cid, |number, class, grants| {
            may = match (class, node) {
                (Visibility::Public, _) => true,
                (Visibility::Granted, Some(node)) => {
                    grants.get((number, &node.as_bytes()[..]))?.is_some_and(|until| until.value() > now)
                }
                (Visibility::Granted, None) | (Visibility::Private, _) => false,
            };
            Ok(if may { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(may)
    }

    fn set_class_locked(&self, writer: &mut Writer, root: &Cid, class: Visibility) -> Result<(), BlocksError> {
        let mut members = Vec::new();
        self.reach([*root], &mut HashSet::new(), &mut |cid| {
            members.push(*cid);
            ControlFlow::Continue(())
        })?;
        // What was put open stays open only where another DAG, pinned and of no class, may need it.
        let mut needed = HashSet::new();
        if class != Visibility::Public {
            let others = self.index.unclassed(root)?;
            self.reach(others, &mut needed, &mut |_| ControlFlow::Continue(()))?;
        }
        let write = self.index.begin()?;
        let number = number_of(&write, root)?;
        drop_members(&write, number)?;
        write.open_table(CLASSES)?.insert(number, pack(class))?;
        if class == Visibility::Private {
            write.open_table(GRANTS)?.retain_in((number, &[][..])..(number + 1, &[][..]), |_, _| false)?;
        } else {
            let (mut claims, mut by_root) = (write.open_table(CLAIMS)?, write.open_table(MEMBERS)?);
            for cid in &members {
                let key = key(cid);
                claims.insert((key.as_slice(), number), ())?;
                by_root.insert((number, key.as_slice()), ())?;
            }
        }
        if class != Visibility::Public {
            members.retain(|cid| !needed.contains(&super::hold::mark_of(cid)));
            Index::close(&write, &members)?;
        }
        write.commit()?;
        self.flush_locked(writer)
    }
}

impl Index {
    /// Creates the tables of classes.
    pub(super) fn open_classes(write: &WriteTransaction) -> Result<(), BlocksError> {
        write.open_table(ROOTS)?;
        write.open_table(CLASSES)?;
        write.open_table(CLAIMS)?;
        write.open_table(MEMBERS)?;
        write.open_table(GRANTS)?;
        Ok(())
    }

    /// The most open class that claims a block.
    pub(super) fn claimed(&self, cid: &Cid) -> Result<Visibility, BlocksError> {
        let mut most = Visibility::Private;
        self.claims(cid, |_, class, _| {
            most = most.min(class);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(most)
    }

    fn claims(
        &self,
        cid: &Cid,
        mut each: impl FnMut(u64, Visibility, &ReadOnlyTable<(u64, &[u8]), u64>) -> Result<ControlFlow<()>, BlocksError>,
    ) -> Result<(), BlocksError> {
        let read = self.database.begin_read()?;
        let claims = read.open_table(CLAIMS)?;
        if claims.is_empty()? {
            return Ok(());
        }
        let (classes, grants, key) = (read.open_table(CLASSES)?, read.open_table(GRANTS)?, key(cid));
        for claim in claims.range((key.as_slice(), 0)..=(key.as_slice(), u64::MAX))? {
            let (_, number) = claim?.0.value();
            let class = classes.get(number)?.map_or(Visibility::Private, |class| unpack(class.value()));
            if each(number, class, &grants)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Roots of recursive pins that have no class, without `root`.
    fn unclassed(&self, root: &Cid) -> Result<Vec<Cid>, BlocksError> {
        let (mut roots, _) = self.roots()?;
        let classed = self.database.begin_read()?.open_table(ROOTS)?;
        let mut out = Vec::new();
        roots.retain(|other| key(other) != key(root));
        for other in roots {
            if classed.get(key(&other).as_slice())?.is_none() {
                out.push(other);
            }
        }
        Ok(out)
    }

    /// Forgets the claims on blocks that are removed, and those of roots among them.
    pub(super) fn drop_claims(write: &WriteTransaction, cids: &[Cid]) -> Result<(), BlocksError> {
        if write.open_table(ROOTS)?.is_empty()? {
            return Ok(());
        }
        let mut gone = Vec::new();
        {
            let mut roots = write.open_table(ROOTS)?;
            for cid in cids {
                gone.extend(roots.remove(key(cid).as_slice())?.map(|number| number.value()));
            }
        }
        for number in gone {
            drop_members(write, number)?;
            write.open_table(CLASSES)?.remove(number)?;
            write.open_table(GRANTS)?.retain_in((number, &[][..])..(number + 1, &[][..]), |_, _| false)?;
        }
        let (mut claims, mut members) = (write.open_table(CLAIMS)?, write.open_table(MEMBERS)?);
        for cid in cids {
            let key = key(cid);
            let all = (key.as_slice(), 0)..=(key.as_slice(), u64::MAX);
            for claim in claims.range(all.clone())? {
                members.remove((claim?.0.value().1, key.as_slice()))?;
            }
            claims.retain_in(all, |_, ()| false)?;
        }
        Ok(())
    }
}

/// The number of a root; a new one if it has none.
fn number_of(write: &WriteTransaction, root: &Cid) -> Result<u64, BlocksError> {
    let mut roots = write.open_table(ROOTS)?;
    let known = roots.get(key(root).as_slice())?.map(|row| row.value());
    if let Some(number) = known {
        return Ok(number);
    }
    let number = write.open_table(CLASSES)?.last()?.map_or(0, |(last, _)| last.value() + 1);
    roots.insert(key(root).as_slice(), number)?;
    Ok(number)
}

fn drop_members(write: &WriteTransaction, number: u64) -> Result<(), BlocksError> {
    let (mut claims, mut members) = (write.open_table(CLAIMS)?, write.open_table(MEMBERS)?);
    let all = (number, &[][..])..(number + 1, &[][..]);
    for member in members.range(all.clone())? {
        claims.remove((member?.0.value().1, number))?;
    }
    members.retain_in(all, |_, ()| false)?;
    Ok(())
}

fn pack(class: Visibility) -> u8 {
    match class {
        Visibility::Public => 0,
        Visibility::Granted => 1,
        Visibility::Private => 2,
    }
}

fn unpack(class: u8) -> Visibility {
    match class {
        0 => Visibility::Public,
        1 => Visibility::Granted,
        // Also what a later version may write: never more open than it meant.
        _ => Visibility::Private,
    }
}
