//! The owner's key, which holds bond and earnings.
//!
//! It is kept in one of three files:
//!
//! | file | what |
//! |---|---|
//! | `owner.words` | BIP-39 words, mode 0600: the key is theirs at m/44'/60'/0'/0/0, as wallets have it |
//! | `owner.key` | 32 bytes, mode 0600: a key without words |
//! | `owner.json` | the key under a passphrase: Web3 Secret Storage, version 3, which geth, MetaMask and cast read |

use crate::data_dir::{DataDirError, at, random, read_secret, write_secret};
use coins_bip32::path::DerivationPath;
use coins_bip39::{English, Entropy, Mnemonic};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use talkoo_base::{Address, SecretKey, Signer};
use thiserror::Error;

/// Where wallets look for the first account of some words (BIP-44, coin 60).
const PATH: &str = "m/44'/60'/0'/0/0";
/// Shortest passphrase, in characters.
const PASSPHRASE_MIN: usize = 8;

/// Why the owner's key can't be had, or changed.
#[derive(Debug, Error)]
pub enum OwnerError {
    /// The folder or a file in it.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// Two of the files are there.
    #[error("{} and {} are both there, and only one can be the owner's: move the other away", .0.display(), .1.display())]
    Two(PathBuf, PathBuf),
    /// Not the passphrase that it was locked with.
    #[error("it is not the passphrase of {}", .0.display())]
    Passphrase(PathBuf),
    /// Too short to keep anybody out.
    #[error("a passphrase has at least {PASSPHRASE_MIN} characters")]
    Short,
    /// A file that is no keystore, or one that can't be written.
    #[error("{} is no keystore that can be used: {why}", .path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Not twelve to twenty-four words of BIP-39.
    #[error("these are no backup words ({0}): twelve to twenty-four of BIP-39's English list, in their order")]
    Words(String),
    /// A key is there already.
    #[error("{} is there: move it away if its owner is to be another", .0.display())]
    There(PathBuf),
    /// It is locked, and what was asked for needs it open.
    #[error("the wallet is locked")]
    Locked,
}

/// Who owns a node.
#[derive(Debug)]
pub enum Owner {
    /// The key is at hand.
    Open(SecretKey),
    /// Only with the passphrase; the address is known.
    Locked(Address),
}

impl Owner {
    /// Whose bond and earnings they are.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Open(key) => key.address(),
            Self::Locked(address) => *address,
        }
    }

    /// The key, if it is open.
    ///
    /// # Errors
    /// [`OwnerError::Locked`].
    pub fn key(self) -> Result<SecretKey, OwnerError> {
        match self {
            Self::Open(key) => Ok(key),
            Self::Locked(_) => Err(OwnerError::Locked),
        }
    }
}

/// The owner's files in a data folder. Reading them needs no lock on it.
#[derive(Clone, Debug)]
pub struct OwnerFiles {
    words: PathBuf,
    raw: PathBuf,
    locked: PathBuf,
}

impl OwnerFiles {
    /// Those of a folder.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { words: dir.join("owner.words"), raw: dir.join("owner.key"), locked: dir.join("owner.json") }
    }

    /// A lock that was cut off before the open key was removed.
    fn finish_lock(&self) -> Result<(), OwnerError> {
        for path in [&self.words, &self.raw] {
            if self.locked.exists() && path.exists() && self.read(path)?.address() == self.locked_address()? {
                fs::remove_file(path).map_err(at(path))?;
            }
        }
        Ok(())
    }

    /// The owner, if there is one; makes nothing.
    ///
    /// # Errors
    /// Files that can't be used.
    pub fn look(&self) -> Result<Option<Owner>, OwnerError> {
        match self.there()? {
            None => Ok(None),
            Some(path) if path == self.locked => Ok(Some(Owner::Locked(self.locked_address()?))),
            Some(path) => Ok(Some(Owner::Open(self.read(path)?))),
        }
    }

    /// An open key.
    fn read(&self, path: &Path) -> Result<SecretKey, OwnerError> {
        if path == self.words {
            return key_of(&self.mnemonic()?);
        }
        // A wrong length is reported like a wrong number.
        let bytes: [u8; 32] = read_secret(path)?.unwrap_or_default().try_into().unwrap_or([0; 32]);
        let bad = |source| DataDirError::BadKey { path: path.to_owned(), source };
        Ok(SecretKey::from_bytes(&bytes).map_err(bad)?)
    }

    /// Whose wallet is locked, if it is; makes nothing.
    ///
    /// # Errors
    /// Files that can't be used.
    pub fn locked(&self) -> Result<Option<Address>, OwnerError> {
        match self.there()? {
            Some(path) if path == self.locked => self.locked_address().map(Some),
            _ => Ok(None),
        }
    }

    /// The one file that is there, if any.
    fn there(&self) -> Result<Option<&Path>, OwnerError> {
        self.finish_lock()?;
        let mut there = [&self.locked, &self.words, &self.raw].into_iter().filter(|path| path.exists());
        match (there.next(), there.next()) {
            (Some(one), Some(other)) => Err(OwnerError::Two(one.clone(), other.clone())),
            (one, _) => Ok(one.map(PathBuf::as_path)),
        }
    }

    /// The owner; a new one with words if there is none.
    ///
    /// # Errors
    /// Files that can't be used.
    pub fn open(&self) -> Result<Owner, OwnerError> {
        if let Some(owner) = self.look()? {
            return Ok(owner);
        }
        let entropy = Entropy::from_slice(&random()?[..16]).expect("twelve words have 16 bytes");
        let mnemonic = Mnemonic::<English>::new_from_entropy(entropy);
        write_secret(&self.words, mnemonic.to_phrase().as_bytes())?;
        Ok(Owner::Open(key_of(&mnemonic)?))
    }

    /// The backup words; nothing if the key has none, or is locked.
    ///
    /// # Errors
    /// As [`OwnerFiles::open`].
    pub fn words(&self) -> Result<Option<String>, OwnerError> {
        match self.there()? {
            Some(path) if path == self.words => Ok(Some(self.mnemonic()?.to_phrase().to_string())),
            _ => Ok(None),
        }
    }

    /// Makes the account of these words the owner, if there is none yet.
    ///
    /// # Errors
    /// [`OwnerError::Words`], [`OwnerError::There`].
    pub fn restore(&self, words: &str) -> Result<Address, OwnerError> {
        if let Some(path) = self.there()? {
            return Err(OwnerError::There(path.to_owned()));
        }
        let mnemonic = parse(words)?;
        let key = key_of(&mnemonic)?;
        write_secret(&self.words, mnemonic.to_phrase().as_bytes())?;
        Ok(key.address())
    }

    /// Puts the key under a passphrase. The words are gone from this machine afterwards.
    ///
    /// # Errors
    /// [`OwnerError::Locked`] if it is, [`OwnerError::Short`].
    pub fn lock(&self, passphrase: &str) -> Result<Address, OwnerError> {
        let key = self.open()?.key()?;
        export(&key, passphrase, &self.locked)?;
        for path in [&self.words, &self.raw] {
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(path)(error).into()),
            }
        }
        Ok(key.address())
    }

    /// The key of a locked wallet.
    ///
    /// # Errors
    /// [`OwnerError::Passphrase`].
    pub fn unlock(&self, passphrase: &str) -> Result<SecretKey, OwnerError> {
        let path = self.locked.clone();
        let bytes = match eth_keystore::decrypt_key(&path, passphrase) {
            Ok(bytes) => bytes,
            Err(eth_keystore::KeystoreError::MacMismatch) => return Err(OwnerError::Passphrase(path)),
            Err(why) => return Err(OwnerError::Keystore { path, why: why.to_string() }),
        };
        let bytes: [u8; 32] = bytes.try_into().unwrap_or([0; 32]);
        let key =
            SecretKey::from_bytes(&bytes).map_err(|source| DataDirError::BadKey { path: path.clone(), source })?;
        if key.address() != self.locked_address()? {
            return Err(OwnerError::Keystore { path, why: "it holds another key than it names".into() });
        }
        Ok(key)
    }

    fn locked_address(&self) -> Result<Address, OwnerError> {
        let bad = || OwnerError::Keystore { path: self.locked.clone(), why: "it names no address".into() };
        let text = read_secret(&self.locked)?.unwrap_or_default();
        let file: serde_json::Value = serde_json::from_slice(&text).map_err(|_| bad())?;
        let mut address = Address::default();
        let text = file["address"].as_str().unwrap_or_default();
        hex::decode_to_slice(text.trim_start_matches("0x"), &mut address.0).map_err(|_| bad())?;
        Ok(address)
    }

    fn mnemonic(&self) -> Result<Mnemonic<English>, OwnerError> {
        parse(&String::from_utf8_lossy(&read_secret(&self.words)?.unwrap_or_default()))
    }
}

fn parse(words: &str) -> Result<Mnemonic<English>, OwnerError> {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    Mnemonic::new_from_phrase(&words).map_err(|why| OwnerError::Words(why.to_string()))
}

/// Writes a key under a passphrase, for other wallets to read.
///
/// # Errors
/// [`OwnerError::Short`], or a folder that can't be written.
pub fn export(key: &SecretKey, passphrase: &str, path: &Path) -> Result<(), OwnerError> {
    if passphrase.chars().count() < PASSPHRASE_MIN {
        return Err(OwnerError::Short);
    }
    let bad = |why: String| OwnerError::Keystore { path: path.to_owned(), why };
    let aside = tempfile::tempdir().map_err(at(path))?;
    let (name, secret) = ("key", key.expose());
    eth_keystore::encrypt_key(aside.path(), &mut rand::rngs::OsRng, secret, passphrase, Some(name))
        .map_err(|why| bad(why.to_string()))?;
    let made = aside.path().join(name);
    // Nothing is thrown away before it is seen to come back.
    let back = eth_keystore::decrypt_key(&made, passphrase).map_err(|why| bad(why.to_string()))?;
    if back != secret {
        return Err(bad("it does not give the key back".into()));
    }
    let text = fs::read(&made).map_err(at(&made))?;
    let mut file: serde_json::Value = serde_json::from_slice(&text).map_err(|why| bad(why.to_string()))?;
    file["address"] = hex::encode(key.address().0).into();
    write_secret(path, file.to_string().as_bytes())?;
    Ok(())
}

fn key_of(mnemonic: &Mnemonic<English>) -> Result<SecretKey, OwnerError> {
    let path = DerivationPath::from_str(PATH).expect("a constant");
    let derived = mnemonic.derive_key(path, None).map_err(|why| OwnerError::Words(why.to_string()))?;
    let signing: &coins_bip32::ecdsa::SigningKey = derived.as_ref();
    SecretKey::from_bytes(&signing.to_bytes().into()).map_err(|why| OwnerError::Words(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words and the first account that every development chain has.
    const WORDS: &str = "test test test test test test test test test test test junk";
    const ACCOUNT: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    /// The first test vector of the Web3 Secret Storage definition, whose passphrase is "testpassword".
    const KEYSTORE: &str = r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn words_give_the_account_that_wallets_find() {
        let dir = tempfile::tempdir().unwrap();
        let files = OwnerFiles::of(dir.path());
        assert_eq!(files.restore(&WORDS.to_uppercase().replace(' ', "  ")).unwrap().to_string(), ACCOUNT);
        assert_eq!(
            (files.open().unwrap().address().to_string(), files.words().unwrap()),
            (ACCOUNT.into(), Some(WORDS.into()))
        );
        assert!(matches!(files.restore(WORDS), Err(OwnerError::There(_))));
        for bad in ["", "test", &WORDS.replace("junk", "test"), &WORDS.replace("junk", "nonsense")] {
            let dir = tempfile::tempdir().unwrap();
            assert!(matches!(OwnerFiles::of(dir.path()).restore(bad), Err(OwnerError::Words(_))), "{bad}");
        }
    }

    #[test]
    fn a_new_owner_has_words_of_its_own() {
        let new = || {
            let dir = tempfile::tempdir().unwrap();
            let files = OwnerFiles::of(dir.path());
            let address = files.open().unwrap().address();
            assert_eq!(files.open().unwrap().address(), address);
            files.words().unwrap().unwrap()
        };
        let (one, other) = (new(), new());
        assert_eq!(one.split(' ').count(), 12);
        assert_ne!(one, other);
    }

    #[test]
    fn a_locked_wallet_opens_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = OwnerFiles::of(dir.path());
        let address = files.restore(WORDS).unwrap();
        assert!(matches!(files.lock("short"), Err(OwnerError::Short)));
        assert_eq!(files.lock("correct horse").unwrap(), address);
        assert!(!dir.path().join("owner.words").exists());
        assert!(matches!(files.open().unwrap(), Owner::Locked(there) if there == address));
        assert_eq!((files.words().unwrap(), files.unlock("correct horse").unwrap().address()), (None, address));
        assert!(matches!(files.unlock("correct hors"), Err(OwnerError::Passphrase(_))));
        assert!(matches!(files.lock("correct horse"), Err(OwnerError::Locked)));
        // Cut off between its two steps, it is finished; another's key is not touched.
        write_secret(&files.words, WORDS.as_bytes()).unwrap();
        assert!(matches!(files.open().unwrap(), Owner::Locked(there) if there == address));
        assert!(!files.words.exists());
        write_secret(&files.raw, &[1; 32]).unwrap();
        assert!(matches!(files.open(), Err(OwnerError::Two(..))) && files.raw.exists());
    }

    #[test]
    fn keystores_of_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let files = OwnerFiles::of(dir.path());
        write_secret(&files.locked, KEYSTORE.as_bytes()).unwrap();
        let key = files.unlock("testpassword").unwrap();
        assert_eq!(hex::encode(key.expose()), "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
        assert_eq!(files.open().unwrap().address(), key.address());
        let swapped = KEYSTORE.replace("008aeeda", "108aeeda");
        write_secret(&files.locked, swapped.as_bytes()).unwrap();
        assert!(matches!(files.unlock("testpassword"), Err(OwnerError::Keystore { .. })));
        write_secret(&files.locked, b"{}").unwrap();
        assert!(matches!(files.open(), Err(OwnerError::Keystore { .. })));
        assert!(matches!(files.unlock("testpassword"), Err(OwnerError::Keystore { .. })));
    }
}
