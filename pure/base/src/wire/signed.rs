//! A record with the signature over its EIP-712 digest and the signer that the signature names.

use super::{Check, DecodeError, decode, encode};
use crate::eip712::Domain;
use crate::{Address, Digest, KeyError, Network, Signature, Signer, recover};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A record that can be signed.
pub trait Typed {
    /// EIP-712 `hashStruct` of the record.
    fn struct_hash(&self) -> Digest;

    /// The domain its signature is bound to.
    fn domain(network: &Network) -> Domain {
        network.talkoo_domain()
    }

    /// The digest to sign.
    fn digest(&self, network: &Network) -> Digest {
        Self::domain(network).digest(&self.struct_hash())
    }
}

/// Why signed bytes were refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignError {
    /// The record itself is bad.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// The signature is bad.
    #[error(transparent)]
    Signature(#[from] KeyError),
}

/// A record, its signature, and whose it is. Made by [`Signed::new`], or by [`Signed::open`],
/// which recovers the signer: a machine that holds one only compares `signer` with whom it expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// The record.
    pub body: T,
    /// Over the record's digest on one network.
    pub signature: Signature,
    /// Who signed, as recovered.
    pub signer: Address,
}

/// A record and its signature as they travel and are kept: nobody has looked whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed<T> {
    /// The record.
    pub body: T,
    /// Over its digest.
    pub signature: Signature,
}

impl<T: Check> Check for Sealed<T> {
    fn check(&self) -> Result<(), DecodeError> {
        self.body.check()
    }
}

impl<T: Typed> Sealed<T> {
    /// Whose signature it is.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn signer(&self, network: &Network) -> Result<Address, KeyError> {
        recover(&self.body.digest(network), &self.signature)
    }

    /// Recovers the signer.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn open(self, network: &Network) -> Result<Signed<T>, KeyError> {
        let signer = self.signer(network)?;
        Ok(Signed { body: self.body, signature: self.signature, signer })
    }
}

impl<T: Clone> From<&Signed<T>> for Sealed<T> {
    fn from(signed: &Signed<T>) -> Self {
        Self { body: signed.body.clone(), signature: signed.signature }
    }
}

impl<T: Typed> Signed<T> {
    /// Signs a record.
    pub fn new(body: T, network: &Network, signer: &dyn Signer) -> Self {
        let signature = signer.sign(&body.digest(network));
        Self { body, signature, signer: signer.address() }
    }
}

impl<T: Typed + Serialize + DeserializeOwned + Check + Clone> Signed<T> {
    /// Canonical bytes: `{body, signature}`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&Sealed::from(self))
    }

    /// Reads canonical bytes and recovers the signer.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn open(bytes: &[u8], network: &Network) -> Result<Self, SignError> {
        Ok(decode::<Sealed<T>>(bytes)?.open(network)?)
    }
}
