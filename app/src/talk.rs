//! What messages between nodes have in common that are no job's: a first byte that tells whose they are, then canonical
//! DAG-CBOR, and reasons that are fit to be shown.

use serde::Serialize;
use serde::de::DeserializeOwned;
use talkoo_base::wire::{DecodeError, decode_shape, encode};

/// Longest reason of a peer that we keep, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A message, after its first byte.
pub(crate) fn to_bytes<T: Serialize>(first: u8, said: &T) -> Vec<u8> {
    [&[first], encode(said).as_slice()].concat()
}

/// Reads a message that begins with `first`.
///
/// # Errors
/// Another first byte, no message, or not its one spelling.
pub(crate) fn from_bytes<T: Serialize + DeserializeOwned>(first: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    decode_shape(bytes.strip_prefix(&[first]).unwrap_or_default())
}

/// Whether a terminal or a page obeys a letter instead of showing it: control characters, and what changes the direction or the
/// line of what stands beside it (Unicode's `Bidi_Control`, UAX #9; U+2028 and U+2029).
pub(crate) fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Takes out of a peer's reason what a terminal would obey, and cuts it.
pub(crate) fn clean(reason: &mut String) {
    *reason = reason.chars().filter(|c| !is_obeyed(*c)).take(REASON_CHARS_MAX).collect();
}

/// What messages of every kind have to hold: each is read again, nothing longer, shorter or of another kind is; reasons are cut.
#[cfg(test)]
pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
    good: &[T],
    refuse: impl Fn(String) -> T,
    to: impl Fn(&T) -> Vec<u8>,
    from: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    for said in good {
        let bytes = to(said);
        assert_eq!(&from(&bytes).unwrap(), said);
        assert!(from(&bytes[1..]).is_err() && from(&bytes[..bytes.len() - 1]).is_err(), "{said:?}");
        assert!(from(&[&bytes[..], &[0]].concat()).is_err(), "{said:?}, longer");
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x81;
            assert!(from(&other).is_ok_and(|other| other != *said) || from(&other).is_err(), "{said:?}, byte {at}");
        }
    }
    assert!(from(&[]).is_err() && from(&to(&good[0])[..1]).is_err());
    let long = from(&to(&refuse("a\n".repeat(1_000)))).unwrap();
    assert_eq!(long, refuse("a".repeat(REASON_CHARS_MAX)));
}
