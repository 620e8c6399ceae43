//! The tar of a bundle, written and read: one spelling only.

use super::{BundleError, most};
use sha2::{Digest as _, Sha256};
use std::io::{self, ErrorKind, Read, Write};
use talkoo_base::Digest;

const BLOCK: usize = 512;

/// The header of a member: ustar, mode 0644, nobody's, of the epoch's first second.
fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// How many zeros follow a member.
fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// Writes members.
pub(super) struct Writer<W>(pub(super) W);

impl<W: Write> Writer<W> {
    /// Adds a member, and says what was written.
    pub(super) fn add(&mut self, name: &str, size: u64, from: &mut dyn Read) -> io::Result<Digest> {
        self.0.write_all(&header(name, size)?)?;
        let mut body = Body { from, left: size, hash: Sha256::new() };
        if io::copy(&mut body, &mut self.0)? != size {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{name} became shorter meanwhile")));
        }
        self.0.write_all(&[0; BLOCK][..padding(size)])?;
        Ok(Digest(body.hash.finalize().into()))
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        Ok(self.0)
    }
}

/// The hash of all that a reader gives, and how much it is.
pub(super) fn measure(from: &mut dyn Read) -> io::Result<(u64, Digest)> {
    let mut hash = Sha256::new();
    let size = io::copy(from, &mut hash)?;
    Ok((size, Digest(hash.finalize().into())))
}

/// Reads members in the order in which they are expected.
pub(super) struct Members<R>(pub(super) R);

impl<R: Read> Members<R> {
    /// The size of the first member, if it has this name.
    pub(super) fn first(&mut self, name: &str) -> Result<u64, BundleError> {
        let block = self.block(name)?;
        let found = tar::Header::from_byte_slice(&block);
        let size = found.size().ok().filter(|_| *found.path_bytes() == *name.as_bytes()).ok_or(BundleError::Other)?;
        self.same(&block, name, size, &[])?;
        let most = most(name).unwrap_or(0);
        if size > most { Err(BundleError::TooLarge { name: name.to_owned(), have: size, most }) } else { Ok(size) }
    }

    /// Goes to the next member, which has this name and size; `known` are the names of all, sorted.
    pub(super) fn next(&mut self, name: &str, size: u64, known: &[&str]) -> Result<Body<'_>, BundleError> {
        let block = self.block(name)?;
        self.same(&block, name, size, known)?;
        Ok(self.body(size))
    }

    /// What comes next, so many bytes.
    pub(super) fn body(&mut self, size: u64) -> Body<'_> {
        Body { from: &mut self.0, left: size, hash: Sha256::new() }
    }

    /// Nothing but zeros up to the next header.
    pub(super) fn pad(&mut self, name: &str, size: u64) -> Result<(), BundleError> {
        let mut zeros = [0; BLOCK];
        let zeros = &mut zeros[..padding(size)];
        fill(&mut self.0, zeros, name)?;
        if zeros.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(BundleError::Header(format!("what follows {name}")))
        }
    }

    /// Two blocks of zeros, and nothing after them.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), BundleError> {
        for _ in 0..2 {
            let block = self.block("its end")?;
            if block != [0; BLOCK] {
                return Err(odd(&block, "the end", known));
            }
        }
        match self.0.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BundleError::Tail),
        }
    }

    fn block(&mut self, name: &str) -> Result<[u8; BLOCK], BundleError> {
        let mut block = [0; BLOCK];
        fill(&mut self.0, &mut block, name)?;
        Ok(block)
    }

    fn same(&self, block: &[u8; BLOCK], name: &str, size: u64, known: &[&str]) -> Result<(), BundleError> {
        if *block == header(name, size)? { Ok(()) } else { Err(odd(block, name, known)) }
    }
}

fn fill(from: &mut impl Read, into: &mut [u8], name: &str) -> Result<(), BundleError> {
    from.read_exact(into).map_err(|why| match why.kind() {
        ErrorKind::UnexpectedEof => BundleError::Truncated(name.to_owned()),
        _ => BundleError::Read(why),
    })
}

/// What is wrong with a header that is not the one that was expected.
fn odd(block: &[u8; BLOCK], expected: &str, known: &[&str]) -> BundleError {
    if *block == [0; BLOCK] {
        return BundleError::Missing(expected.to_owned());
    }
    let found = tar::Header::from_byte_slice(block);
    let name = String::from_utf8_lossy(&found.path_bytes()).into_owned();
    let mut sum = found.clone();
    sum.set_cksum();
    if sum.as_bytes() != block {
        return BundleError::Header(expected.to_owned());
    }
    if !found.entry_type().is_file() {
        return BundleError::Kind(name);
    }
    if most(&name).is_none() {
        return BundleError::Name(name);
    }
    if name == expected {
        return BundleError::Header(name);
    }
    match known.binary_search(&name.as_str()) {
        // A later one: what was expected before it is not there.
        Ok(_) if name.as_str() > expected => BundleError::Missing(expected.to_owned()),
        Ok(_) => BundleError::Twice(name),
        Err(_) => BundleError::Extra(name),
    }
}

/// A member's bytes, hashed while they are read.
pub(super) struct Body<'a> {
    from: &'a mut dyn Read,
    left: u64,
    hash: Sha256,
}

impl Body<'_> {
    /// Reads the rest; the hash of all.
    pub(super) fn finish(mut self, name: &str) -> Result<Digest, BundleError> {
        io::copy(&mut self, &mut io::sink())?;
        match self.left {
            0 => Ok(Digest(self.hash.finalize().into())),
            _ => Err(BundleError::Truncated(name.to_owned())),
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.from.read(&mut into[..most])?;
        self.hash.update(&into[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}
