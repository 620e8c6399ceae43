//! Length-prefixed frames. What a peer announces is not allocated before it arrives.

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// First allocation for a frame; grows as bytes arrive.
const FIRST_BYTES: usize = 64 << 10;

/// How lengths are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Four bytes, little-endian: our own protocols.
    U32,
    /// Unsigned LEB128: bitswap.
    Varint,
}

/// Why no frame came.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("frame of {bytes} bytes is over the limit of {max}")]
    TooLarge { bytes: u64, max: usize },
    #[error("malformed length of a frame")]
    BadLength,
    #[error("no frame within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FrameError {
    /// The peer broke the protocol, as against a connection that failed.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::BadLength)
    }
}

/// How frames are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRules {
    pub(crate) prefix: Prefix,
    pub(crate) bytes_max: usize,
    /// How long a stream may be silent between frames; `None`: as long as the connection lives.
    pub(crate) idle: Option<Duration>,
    /// How long a frame may take once it began.
    pub(crate) deadline: Duration,
}

/// A frame and the room that it takes until it is used.
pub(crate) type Frame<'a> = (Vec<u8>, Option<SemaphorePermit<'a>>);

/// Reads one frame; `None` when the peer closed the stream between frames or was idle too long. A
/// frame above 64 KiB waits for its bytes of `room`, if given, so that many streams of one peer hold few of them.
pub(crate) async fn read_frame<'a>(
    stream: &mut (impl AsyncRead + Unpin),
    rules: FrameRules,
    room: Option<&'a Semaphore>,
) -> Result<Option<Frame<'a>>, FrameError> {
    let mut first = [0];
    let begin = stream.read(&mut first);
    let count = match rules.idle {
        None => begin.await?,
        Some(idle) => match timeout(idle, begin).await {
            Ok(count) => count?,
            Err(_) => return Ok(None),
        },
    };
    if count == 0 {
        return Ok(None);
    }
    let rest = read_rest(stream, first[0], rules, room);
    timeout(rules.deadline, rest).await.map_err(|_| FrameError::Timeout(rules.deadline))?.map(Some)
}

async fn read_rest<'a>(
    stream: &mut (impl AsyncRead + Unpin),
    first: u8,
    rules: FrameRules,
    room: Option<&'a Semaphore>,
) -> Result<Frame<'a>, FrameError> {
    let len = match rules.prefix {
        Prefix::U32 => {
            let mut rest = [0; 3];
            stream.read_exact(&mut rest).await?;
            u64::from(u32::from_le_bytes([first, rest[0], rest[1], rest[2]]))
        }
        Prefix::Varint => read_varint(stream, first).await?,
    };
    let too_large = FrameError::TooLarge { bytes: len, max: rules.bytes_max };
    let want = usize::try_from(len).ok().filter(|len| *len <= rules.bytes_max).ok_or(too_large)?;
    let permit = match room.filter(|_| want > FIRST_BYTES) {
        // The semaphore is never closed; without it there would be no bound, but no harm either.
        Some(room) => room.acquire_many(u32::try_from(want).unwrap_or(u32::MAX)).await.ok(),
        None => None,
    };
    let mut frame = Vec::with_capacity(want.min(FIRST_BYTES));
    while frame.len() < want {
        let start = frame.len();
        // Doubles what has arrived, so a silent peer holds little memory.
        frame.resize(want.min(start.max(FIRST_BYTES) * 2), 0);
        stream.read_exact(&mut frame[start..]).await?;
    }
    Ok((frame, permit))
}

async fn read_varint(stream: &mut (impl AsyncRead + Unpin), first: u8) -> Result<u64, FrameError> {
    let mut value = u64::from(first & 0x7f);
    let mut byte = [first];
    for shift in [7, 14, 21, 28] {
        if byte[0] < 0x80 {
            return Ok(value);
        }
        stream.read_exact(&mut byte).await?;
        value |= u64::from(byte[0] & 0x7f) << shift;
    }
    if byte[0] < 0x80 { Ok(value) } else { Err(FrameError::BadLength) }
}

/// Writes pieces of bytes, one after another, and sees them on their way to the peer.
pub(crate) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    pieces: &[impl AsRef<[u8]>],
    deadline: Duration,
) -> Result<(), FrameError> {
    let write = async {
        for piece in pieces {
            stream.write_all(piece.as_ref()).await?;
        }
        stream.flush().await
    };
    timeout(deadline, write).await.map_err(|_| FrameError::Timeout(deadline))?.map_err(FrameError::Io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::io::Cursor;

    #[tokio::test]
    async fn large_frames_of_a_peer_wait_for_one_another() {
        let rules =
            FrameRules { prefix: Prefix::U32, bytes_max: 1 << 20, idle: None, deadline: Duration::from_secs(600) };
        let stream = |bytes: u32| Cursor::new([&bytes.to_le_bytes()[..], &vec![0; bytes as usize]].concat());
        let room = Semaphore::new(1 << 20);
        let (mut first, mut second, mut small) = (stream(768 << 10), stream(512 << 10), stream(64 << 10));
        let first = read_frame(&mut first, rules, Some(&room)).await.unwrap();
        let mut waits = Box::pin(read_frame(&mut second, rules, Some(&room)));
        assert!((&mut waits).now_or_never().is_none());
        assert!(read_frame(&mut small, rules, Some(&room)).await.unwrap().is_some());
        drop(first);
        assert_eq!(waits.await.unwrap().map(|(bytes, _)| bytes.len()), Some(512 << 10));
    }
}
