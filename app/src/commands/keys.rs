//! `wallet keys`, `words`, `restore`, `lock`, `unlock`, `export`, `send`: what needs the owner's key.

use super::{Failure, Show, passphrase, print, say};
use crate::cli::Asset;
use crate::client::Client;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use talkoo_base::{RefusalCode, SecretKey, Signer as _};
use talkoo_disk::{DataDir, Owner, OwnerError, OwnerFiles, export as write};

/// The owner's key, with the passphrase if it is locked.
pub(super) fn owner_key(data_dir: &Path, file: Option<&Path>) -> Result<SecretKey> {
    let files = OwnerFiles::of(data_dir);
    match known(&files)? {
        Owner::Open(key) => Ok(key),
        Owner::Locked(_) => Ok(files.unlock(passphrase::ask(file, false)?.expose())?),
    }
}

/// The owner that is there: only a node's start makes one.
pub(super) fn known(files: &OwnerFiles) -> Result<Owner> {
    let hint = "start a node with this --data-dir once, or `wallet restore` its words";
    Ok(files.look()?.ok_or_else(|| Failure::new(RefusalCode::Other, "this folder has no owner yet", hint))?)
}

/// A key of 32 bytes; none if nobody has made it yet.
pub(super) fn raw_key(path: &Path) -> Option<SecretKey> {
    SecretKey::from_bytes(&std::fs::read(path).ok()?.try_into().ok()?).ok()
}

/// Which keys there are.
pub(super) fn list(data_dir: &Path, show: &Show) -> Result<()> {
    let owner = known(&OwnerFiles::of(data_dir))?;
    let mut rows = vec![json!({
        "key": "owner",
        "address": owner.address().to_string(),
        "does": "holds money and bond",
        "file": match &owner {
            Owner::Open(_) if data_dir.join("owner.words").exists() => "owner.words",
            Owner::Open(_) => "owner.key",
            Owner::Locked(_) => "owner.json",
        },
        "locked": matches!(owner, Owner::Locked(_)),
    })];
    let held =
        [("node", "key", "signs receipts, orders and transactions"), ("validator", "validator.key", "signs votes")];
    for (name, file, does) in held {
        if let Some(key) = raw_key(&data_dir.join(file)) {
            let address = key.address().to_string();
            rows.push(json!({"key": name, "address": address, "does": does, "file": file, "locked": false}));
        }
    }
    show.value(&json!({"keys": rows}));
    Ok(())
}

/// Prints the backup words.
pub(super) fn words(data_dir: &Path, show: &Show) -> Result<()> {
    let files = OwnerFiles::of(data_dir);
    let owner = known(&files)?;
    let Some(words) = files.words()? else {
        let why = match owner {
            Owner::Locked(_) => "the words left this machine when the wallet was locked",
            Owner::Open(_) => "this owner's key has no words",
        };
        let hint = "`wallet export FILE` writes a copy of the key under a passphrase";
        return Err(Failure::new(RefusalCode::Malformed, why, hint).into());
    };
    if show.json() {
        show.value(&json!({"owner": owner.address().to_string(), "words": words}));
    } else {
        print(&words);
        say("whoever has these words has the money: write them down, show them to nobody");
    }
    Ok(())
}

/// Takes backup words.
pub(super) fn restore(data_dir: &Path, show: &Show) -> Result<()> {
    let dir = DataDir::open(data_dir)?;
    let words = if std::io::stdin().is_terminal() {
        rpassword::prompt_password("backup words (not shown): ")?
    } else {
        let mut text = String::new();
        std::io::stdin().take(4_096).read_to_string(&mut text).context("the words can't be read")?;
        text
    };
    let owner = dir.owner().restore(&words)?;
    show.value(&json!({"owner": owner.to_string()}));
    Ok(())
}

/// Puts the key under a passphrase.
pub(super) fn lock(data_dir: &Path, file: Option<&Path>, show: &Show) -> Result<()> {
    let files = OwnerFiles::of(data_dir);
    if matches!(known(&files)?, Owner::Locked(_)) {
        return Err(Failure::new(RefusalCode::Malformed, OwnerError::Locked.to_string(), "it is done").into());
    }
    if let Some(words) = files.words()?.filter(|_| std::io::stdin().is_terminal() && file.is_none()) {
        say("these words leave this machine now; they are the only way back if the passphrase is lost:");
        print(&words);
    }
    let owner = files.lock(passphrase::ask(file, true)?.expose())?;
    show.value(&json!({"owner": owner.to_string(), "locked": true}));
    say("a running node keeps the key until it stops; the next start asks, or takes --passphrase-file");
    Ok(())
}

/// Opens the wallet of the running node.
pub(super) fn unlock(data_dir: &Path, file: Option<&Path>, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let passphrase = passphrase::ask(file, false)?;
    show.value(&client.post("/unlock", &json!({"passphrase": passphrase.expose()}))?);
    Ok(())
}

/// Writes a copy of the key for other wallets.
pub(super) fn export(data_dir: &Path, to: &Path, file: Option<&Path>, show: &Show) -> Result<()> {
    if to.exists() {
        let why = format!("{} is there already", to.display());
        return Err(Failure::usage(why, "name a new file").into());
    }
    let key = owner_key(data_dir, file)?;
    // Locked or not, the copy gets a passphrase: of a locked wallet the same.
    let secret = passphrase::ask(file, true)?;
    write(&key, secret.expose(), to)?;
    show.value(&json!({"owner": key.address().to_string(), "file": to}));
    Ok(())
}

/// Has the node send what the owner has. A passphrase opens a locked wallet for this once.
pub(super) fn send(
    data_dir: &Path,
    to: &str,
    amount: &str,
    asset: Asset,
    file: Option<&Path>,
    show: &Show,
) -> Result<()> {
    let client = Client::of(data_dir)?;
    let mut body = json!({"to": to, "amount": amount, "asset": asset.name()});
    if matches!(known(&OwnerFiles::of(data_dir))?, Owner::Locked(_)) {
        body["passphrase"] = json!(passphrase::ask(file, false)?.expose());
    }
    let sent = client.post("/wallet/payments", &body)?;
    show.value(&json!({"transaction": sent["transaction"], "block": sent["block"], "gas": sent["gas"]}));
    Ok(())
}
