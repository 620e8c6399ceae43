//! Calls about data. They wait for blocks and disks, so each has a thread of its own.

use super::{Answer, Daemon, bad, optional, readable, required, text, yes_or_no};
use crate::data::{Desks, Part, Price, Terms};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use talkoo_base::{Cid, NodeId, Refusal, RefusalCode};
use tokio::sync::oneshot;

/// Bytes of a part, unless told otherwise.
const PART_BYTES: u64 = 16 << 10;

impl Daemon {
    pub(super) fn data(&self, name: &'static str, args: Value, reply: oneshot::Sender<Answer>) {
        let none = || Refusal::new(RefusalCode::NotProviding, "this node has no ledger", "start it with --ledger");
        match self.money.data.as_ref().and_then(crate::data::Data::desks) {
            Some(desks) => drop(self.tasks.spawn_blocking(move || {
                // Who asked may have gone.
                reply.send(done(&desks, name, &args)).ok();
            })),
            None => drop(reply.send(Err(none()))),
        }
    }
}

fn done(desks: &Arc<Desks>, name: &str, args: &Value) -> Answer {
    let id = || required(args, "id");
    match name {
        "data" => desks.list(),
        "data_add" => desks.add(absolute(args)?),
        "data_audit" => desks.audit(optional(args, "verify", yes_or_no)?.unwrap_or(false)),
        "data_requests" => desks.requests(),
        "data_on_request" => desks.set_on_request(id()?, optional(args, "on", yes_or_no)?.unwrap_or(true)),
        "data_approve" => desks.approve(grant(args)?),
        "data_refuse" => desks.refuse(grant(args)?, &readable(args, "why")?),
        "data_revoke" => desks.revoke(grant(args)?),
        "data_check" => {
            let code = required(args, "code")?.parse().map_err(|_| bad("`code` is no CID", "see docs/DATA.md"))?;
            desks.check(grant(args)?, &code)
        }
        "data_show" => desks.show(id()?),
        "data_publish" => desks.publish(id()?, &terms(args)?),
        "data_price" => match &prices(args)?[..] {
            [] => Err(bad("`price` is missing", "or `per_query`: see docs/DATA.md")),
            prices => desks.price(id()?, prices),
        },
        "data_give" => desks.give(id()?, node(required(args, "node")?)?),
        "data_search" => {
            let limit = |value: &Value| value.as_u64().filter(|n| (1..=50).contains(n)).ok_or("1 to 50");
            let limit = optional(args, "limit", limit)?.unwrap_or(20);
            desks.search(text(args, "words").unwrap_or_default(), limit as usize)
        }
        "data_read" => {
            let (offset, bytes) = (number(args, "offset")?.unwrap_or(0), number(args, "bytes")?.unwrap_or(PART_BYTES));
            desks.read_part(id()?, &Part { file: text(args, "file"), offset, bytes })
        }
        "data_get" => desks.get(id()?, absolute(args)?),
        "data_keep" => desks.keep_room(number(args, "space_bytes")?),
        "data_drop" => desks.let_go(id()?),
        "data_collect" => desks.collect(id()?),
        other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
    }
}

/// The path is the node's: relative ones would be of the folder where somebody started it.
fn absolute(args: &Value) -> Result<&Path, Refusal> {
    let path = Path::new(required(args, "path")?);
    if path.is_absolute() { Ok(path) } else { Err(bad("`path` is not absolute", "write it from the root on")) }
}

fn node(text: &str) -> Result<NodeId, Refusal> {
    let node = hex::decode(text).ok().and_then(|bytes| NodeId::from_bytes(&bytes).ok());
    node.ok_or_else(|| bad(format!("{text} is no node's id"), "66 hexadecimal digits, as `talkoo status` prints them"))
}

fn number(args: &Value, key: &str) -> Result<Option<u64>, Refusal> {
    optional(args, key, |value| value.as_u64().ok_or("a whole number"))
}

fn words(args: &Value, key: &str) -> Result<Vec<String>, Refusal> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().and_then(|all| all.iter().map(word).collect()).ok_or("a list of texts");
    Ok(optional(args, key, list)?.unwrap_or_default())
}

fn grant(args: &Value) -> Result<u64, Refusal> {
    number(args, "grant")?.ok_or_else(|| bad("`grant` is missing", "see docs/DATA.md"))
}

/// Prices in micro-units, as text, for JSON's numbers are too small; seconds; uses. One of many uses, one of a single use.
fn prices(args: &Value) -> Result<Vec<Price>, Refusal> {
    let micro = |key| {
        optional(args, key, |value| value.as_str().and_then(|t| t.parse::<u128>().ok()).ok_or("micro-units as text"))
    };
    let seconds = |key, default| number(args, key).map(|given| given.unwrap_or(default));
    let uses =
        u32::try_from(number(args, "uses")?.unwrap_or(0)).map_err(|_| bad("`uses` is too many", "0: any number"))?;
    let (access_s, deliver_s) = (seconds("access_s", 365 * 86_400)?, seconds("deliver_s", 86_400)?);
    let of = |micro: Option<u128>, uses| micro.map(|micro| Price { micro, access_s, deliver_s, uses });
    Ok(of(micro("price")?, uses).into_iter().chain(of(micro("per_query")?, 1)).collect())
}

fn terms(args: &Value) -> Result<Terms, Refusal> {
    let said = |key| text(args, key).unwrap_or_default().to_owned();
    let parent = |text: &String| {
        let (version, bps) = text.rsplit_once(':')?;
        Some((version.to_owned(), bps.parse().ok()?))
    };
    let parents = words(args, "parents")?.iter().map(parent).collect::<Option<_>>();
    let compute = words(args, "compute")?.iter().map(|cid| cid.parse::<Cid>().ok()).collect::<Option<_>>();
    Ok(Terms {
        name: said("name"),
        title: said("title"),
        description: said("description"),
        licence: said("licence"),
        purposes: words(args, "purposes")?,
        parents: parents
            .ok_or_else(|| bad("a parent is not ID:BPS", "ten-thousandths of the income behind the colon"))?,
        preview: text(args, "preview").map(str::to_owned),
        compute: compute.ok_or_else(|| bad("`compute` is no list of CIDs", "see docs/DATA.md"))?,
        asset: number(args, "asset")?,
        prices: prices(args)?,
        on_request: optional(args, "on_request", yes_or_no)?.unwrap_or(false),
        keepers: number(args, "keepers")?.map(|k| u8::try_from(k).unwrap_or(u8::MAX)),
        keeper_nodes: words(args, "keeper_nodes")?.iter().map(|text| node(text)).collect::<Result<_, _>>()?,
        with_data: optional(args, "keepers_with_data", yes_or_no)?.unwrap_or(true),
        dry: optional(args, "dry", yes_or_no)?.unwrap_or(false),
    })
}
