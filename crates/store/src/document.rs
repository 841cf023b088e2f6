//! JSON documents as the tables keep them: plain while they are small, zlib above [`PACK_BYTES`].
//! The first byte tells: JSON begins with `{` or `[`, zlib with 0x78.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// Below this compression saves less than it costs.
const PACK_BYTES: usize = 1024;
/// The first byte of a zlib stream with the usual window.
const ZLIB: u8 = 0x78;

pub(crate) fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let plain = serde_json::to_vec(value).map_err(StoreError::corrupt)?;
    if plain.len() <= PACK_BYTES {
        return Ok(plain);
    }
    let mut packer = ZlibEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    packer.write_all(&plain).and_then(|()| packer.finish()).map_err(StoreError::corrupt)
}

pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    if bytes.first() != Some(&ZLIB) {
        return serde_json::from_slice(bytes).map_err(StoreError::corrupt);
    }
    let mut plain = Vec::with_capacity(bytes.len().saturating_mul(4));
    ZlibDecoder::new(bytes).read_to_end(&mut plain).map_err(StoreError::corrupt)?;
    serde_json::from_slice(&plain).map_err(StoreError::corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_whatever_their_size() {
        for length in [0, 10, 2_000, 100_000] {
            let document = vec!["word".to_owned(); length];
            let packed = pack(&document).unwrap();
            assert_eq!(packed.first() == Some(&ZLIB), length > 1_000);
            assert_eq!(unpack::<Vec<String>>(&packed).unwrap(), document);
        }
    }
}
