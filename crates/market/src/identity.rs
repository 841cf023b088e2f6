//! Identity documents: how a machine proves that the market has made it.
//!
//! EC2 signs them with a key of the region; the market has a key of its own and an HMAC.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use model::{InstanceId, IntentId, PurchaseOption};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

/// The market's secret: signs identity documents and names the machines, so that neither can be
/// guessed and no two markets share an instance id.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// From random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn mac(&self, purpose: &str, parts: &[&str]) -> Hmac<Sha256> {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block);
        for part in std::iter::once(&purpose).chain(parts) {
            // Lengths first: no two lists of parts have one encoding.
            mac.update(&part.len().to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }

    /// The id of the machine with this ordinal: `i-` and 17 digits, like EC2's.
    pub(crate) fn instance_id(&self, ordinal: u64) -> InstanceId {
        let name = hex(&self.mac("instance", &[&ordinal.to_string()]).finalize().into_bytes());
        InstanceId::new(&format!("i-{}", &name[..17]))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(&self.0))
    }
}
impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = unhex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a key is 64 hexadecimal digits"))
    }
}

/// What a machine is told of itself, signed. Its field order is its text's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityDocument {
    /// Its own id.
    pub instance: InstanceId,
    /// The intent on its tag.
    pub intent: IntentId,
    /// Where it is.
    pub zone: String,
    /// What it is.
    pub instance_type: String,
    /// How it is paid for.
    pub purchase: PurchaseOption,
    /// Thousandths of a core that tasks can use.
    pub cpu_millis: u32,
    /// Memory that tasks can use.
    pub memory_mib: u32,
    /// Disk that tasks can use.
    pub disk_mib: u32,
    /// Whole GPUs.
    pub gpus: u32,
    /// HMAC-SHA-256 over all of the above, in hexadecimal digits.
    pub signature: String,
}

/// A document that the market has not made, or not for a machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Not a document at all.
    #[error("this is not an identity document")]
    Malformed,
    /// The signature is not the market's.
    #[error("the signature is not this market's")]
    Forged,
    /// The machine is unknown, or has ended.
    #[error("the market has no such running machine")]
    NoSuchMachine,
}

impl IdentityDocument {
    fn mac(&self, key: &Key) -> Hmac<Sha256> {
        let parts = [
            self.instance.as_str(),
            &self.intent.to_string(),
            &self.zone,
            &self.instance_type,
            &self.purchase.to_string(),
            &self.cpu_millis.to_string(),
            &self.memory_mib.to_string(),
            &self.disk_mib.to_string(),
            &self.gpus.to_string(),
        ];
        key.mac("identity", &parts)
    }

    /// The same with the market's signature.
    pub(crate) fn signed(mut self, key: &Key) -> Self {
        self.signature = hex(&self.mac(key).finalize().into_bytes());
        self
    }

    /// Reads a document and checks its signature, in constant time.
    pub(crate) fn verified(text: &str, key: &Key) -> Result<Self, NotOurs> {
        let document: Self = serde_json::from_str(text).map_err(|_| NotOurs::Malformed)?;
        let signature = unhex(&document.signature).ok_or(NotOurs::Malformed)?;
        document.mac(key).verify_slice(&signature).map_err(|_| NotOurs::Forged)?;
        Ok(document)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| -> Option<u8> { char::from(digit).to_digit(16)?.try_into().ok() };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}
