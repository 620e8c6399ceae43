//! The models that can be asked, and what is read of their files once.

use super::{Asked, Node};
use crate::daemon::Event;
use crate::models::{Held, Shelf, catalog, in_cache};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use talkoo_base::{Digest, Refusal, RefusalCode};
use talkoo_engine::{Header, Vocabulary};
use talkoo_inference::Model;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the loop may take to say who offers a model.
const OFFERS_WAIT: Duration = Duration::from_secs(1);

/// What was read of a model's file.
pub(super) struct Known {
    pub(super) vocabulary: Vocabulary,
    pub(super) quantization: String,
    /// Bytes of text that one token stands for at most.
    pub(super) token_bytes_max: usize,
}

/// `general.file_type` of GGUF (`enum llama_ftype` of llama.h), where it is a name people know.
const FILE_TYPES: [(u32, &str); 17] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (32, "BF16"),
];

impl Known {
    pub(super) fn read(path: &Path) -> Result<Self, Refusal> {
        let no = |e: talkoo_engine::ModelError| Refusal::new(RefusalCode::Other, e.to_string(), "pull the model again");
        let metadata = Header::metadata_of(path).map_err(no)?;
        let kind = metadata.u32("general.file_type");
        let name = FILE_TYPES.iter().find(|(number, _)| Some(*number) == kind);
        let quantization = name.map_or("unknown", |(_, name)| name).to_owned();
        let vocabulary = Vocabulary::open(path).map_err(no)?;
        let token_bytes_max =
            (0..vocabulary.len() as u32).map(|token| vocabulary.piece(token).len()).max().unwrap_or(0);
        Ok(Self { vocabulary, quantization, token_bytes_max })
    }
}

/// Why a model can't be asked.
pub(super) fn not_here(name: &str, shelf: &Shelf) -> Refusal {
    if catalog::find_encoder(name).is_ok() {
        let message = format!("the `model` {name} makes embeddings and generates no text");
        return Refusal::new(RefusalCode::UnknownModel, message, "POST /v1/embeddings");
    }
    let here: Vec<&str> = shelf.all().iter().map(|held| held.name.as_str()).collect();
    let hint = match catalog::find(name) {
        Ok(entry) => format!("talkoo pull {}", entry.name),
        Err(_) if here.is_empty() => "no model is here yet: talkoo pull smollm2".to_owned(),
        Err(_) => format!("here are {}", here.join(", ")),
    };
    Refusal::new(RefusalCode::UnknownModel, format!("the `model` {name:?} is not here"), hint)
}

impl Node {
    pub(super) async fn list(&self) -> Result<Vec<Model>, Refusal> {
        let shelf = self.shelf()?;
        let mut all = Vec::new();
        let kept = shelf.all().iter().filter_map(|held| held.root_with(self.setup.kv).ok());
        let roots = kept.chain(catalog::encoders().iter().map(catalog::Entry::root));
        let mut offers = self.offers(roots.chain(shelf.every().map(Held::root)).collect()).await;
        for held in shelf.all() {
            let mut model = self.shown(&shelf, held)?;
            model.endpoints.extend(offers.remove(&held.root_with(self.setup.kv)?).unwrap_or_default());
            all.push(model);
        }
        let mut encoder = |name: &str, context, cid: String, root: Digest, bytes, path: &Path| {
            let aliases = catalog::find_encoder(name).map(|entry| entry.aliases.clone()).unwrap_or_default();
            let endpoints = std::iter::once(self.here()).chain(offers.remove(&root).unwrap_or_default()).collect();
            let (name, created, root) = (name.to_owned(), made(path), root.to_string());
            let (is_encoder, quantization) = (true, super::encoders::QUANTIZATION.to_owned());
            all.push(Model { name, aliases, is_encoder, created, context, cid, root, bytes, quantization, endpoints });
        };
        for held in shelf.every().filter(|held| held.is_encoder) {
            encoder(&held.name, held.context, held.cid.clone(), held.root(), held.bytes, &shelf.path(held));
        }
        // The catalogue's may be only in the user's cache.
        for entry in catalog::encoders().iter().filter(|entry| shelf.find_encoder(&entry.name).is_none()) {
            if let Some(path) = in_cache(entry) {
                encoder(&entry.name, entry.context, entry.cid().to_string(), entry.root(), entry.bytes, &path);
            }
        }
        Ok(all)
    }

    /// Who of the network offers these programs; nobody, if the loop has no time.
    async fn offers(&self, programs: Vec<Digest>) -> BTreeMap<Digest, Vec<Value>> {
        let (reply, offers) = oneshot::channel();
        self.setup.inbox.send(Event::Asked(Asked::Offers(programs, reply))).await.ok();
        timeout(OFFERS_WAIT, offers).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn shown(&self, shelf: &Shelf, held: &Held) -> Result<Model, Refusal> {
        let known = self.known(shelf, held)?;
        Ok(Model {
            name: held.name.clone(),
            aliases: catalog::find(&held.name).map(|entry| entry.aliases.clone()).unwrap_or_default(),
            is_encoder: false,
            created: made(&shelf.path(held)),
            context: held.context,
            cid: held.cid.clone(),
            root: held.root_with(self.setup.kv)?.to_string(),
            bytes: held.bytes,
            quantization: known.quantization.clone(),
            endpoints: vec![self.here()],
        })
    }

    /// This machine as an endpoint, in OpenRouter's words.
    fn here(&self) -> serde_json::Value {
        json!({
            "name": "here",
            "provider_name": self.setup.node.to_string(),
            "tag": "here",
            "pricing": {"prompt": "0", "completion": "0"},
        })
    }
}

/// When a file was made, in seconds since 1970.
fn made(path: &Path) -> u64 {
    let made = std::fs::metadata(path).and_then(|file| file.modified()).ok();
    made.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}
