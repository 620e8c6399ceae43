//! Uploads: the parts of a form go to a thread piece by piece, what it says comes back as lines.

use super::Args;
use crate::body::{Pipe, streamed};
use crate::source::Store;
use axum::body::Body;
use axum::extract::Multipart;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use tokio::sync::{mpsc, oneshot};

use crate::limits::{PIECES_QUEUED, READER_WAIT};
use tokio::time::timeout;

/// What takes an upload.
pub(super) type Take = fn(&Store, &Args, &mut Parts, &mut Pipe) -> Result<(), Refusal>;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
}

/// The head of a part.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Its path, decoded; empty if it was given none.
    pub(super) path: String,
}

enum Piece {
    Head(Head),
    Bytes(Bytes),
    End,
    Broken(String),
}

/// The parts of an upload, for a thread.
pub(super) struct Parts(mpsc::Receiver<Piece>);

impl Parts {
    /// The next part; what is left of the last one is read over.
    pub(super) fn next(&mut self) -> Result<Option<Head>, Refusal> {
        loop {
            match self.0.blocking_recv() {
                Some(Piece::Head(head)) => return Ok(Some(head)),
                Some(Piece::Bytes(_)) => {}
                Some(Piece::End) => return Ok(None),
                Some(Piece::Broken(why)) => return Err(broken(&why)),
                None => return Err(broken("the client went away")),
            }
        }
    }

    /// All bytes of the present part, in pieces.
    pub(super) fn each(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        while let Some(bytes) = self.bytes()? {
            take(&bytes)?;
        }
        Ok(())
    }

    /// All bytes of the present part, if there are not too many.
    pub(super) fn whole(&mut self, bytes_max: usize) -> Result<Bytes, Refusal> {
        let mut all = Vec::new();
        self.each(|bytes| {
            if all.len() + bytes.len() > bytes_max {
                let no = Refusal::new(RefusalCode::TooLarge, "more bytes than this call takes", "split it");
                return Err(no.with(bytes_max, format!("over {bytes_max}")));
            }
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(all.into())
    }

    fn bytes(&mut self) -> Result<Option<Bytes>, Refusal> {
        match self.0.blocking_recv() {
            // An empty piece ends a part.
            Some(Piece::Bytes(bytes)) if bytes.is_empty() => Ok(None),
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::Broken(why)) => Err(broken(&why)),
            Some(Piece::Head(_) | Piece::End) | None => Err(broken("the client went away")),
        }
    }
}

fn broken(why: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, format!("the upload broke off ({why})"), "send it again; nothing of it counts")
}

/// Runs `take` on a thread while the form is read.
pub(super) async fn run(store: Store, args: Args, form: Multipart, take: Take) -> Result<Body, Refusal> {
    let (pieces, parts) = mpsc::channel(PIECES_QUEUED);
    let (early, first) = oneshot::channel();
    let body = streamed(Caller::Owner, move |pipe| {
        pipe.announce(early);
        take(&store, &args, &mut Parts(parts), pipe).map_err(|no| super::refuse(pipe, no, super::LINES))
    })
    .await?;
    // The form is read beside the answer: some calls tell their progress meanwhile.
    tokio::spawn(read(form, pieces));
    match first.await {
        Ok(Some(no)) => Err(no),
        Ok(None) | Err(_) => Ok(body),
    }
}

async fn read(mut form: Multipart, pieces: mpsc::Sender<Piece>) {
    let end = match parts(&mut form, &pieces).await {
        Ok(()) => Piece::End,
        Err(why) => Piece::Broken(why),
    };
    pieces.send(end).await.ok();
    // Read to the end also when nobody wants it any more, so that the client gets to hear why.
    while let Ok(Ok(Some(_))) = timeout(READER_WAIT, form.next_field()).await {}
}

/// What comes while the client still sends.
async fn within<T>(next: impl Future<Output = T>) -> Result<T, String> {
    timeout(READER_WAIT, next).await.map_err(|_| format!("nothing came for {READER_WAIT:?}"))
}

async fn parts(form: &mut Multipart, pieces: &mpsc::Sender<Piece>) -> Result<(), String> {
    let gone = |_| "nobody takes it any more".to_owned();
    while let Some(mut part) = within(form.next_field()).await?.map_err(|why| why.body_text())? {
        let kind = match part.content_type() {
            Some("application/x-directory") => Kind::Folder,
            Some("application/symlink") => Kind::Symlink,
            _ => Kind::File,
        };
        let path = part.file_name().unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8().map_err(|_| "a path is not UTF-8")?.into_owned();
        pieces.send(Piece::Head(Head { kind, path })).await.map_err(gone)?;
        while let Some(bytes) = within(part.chunk()).await?.map_err(|why| why.body_text())? {
            if !bytes.is_empty() {
                pieces.send(Piece::Bytes(bytes)).await.map_err(gone)?;
            }
        }
        pieces.send(Piece::Bytes(Bytes::new())).await.map_err(gone)?;
    }
    Ok(())
}
