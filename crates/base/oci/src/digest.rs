//! Digests: the names of blobs, layers and chains of layers.
//!
//! Source: image-spec `descriptor.md` (digests) and `config.md` (diffID,
//! chainID). Pure: whoever reads the bytes feeds a [`Digester`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A content digest, `<algorithm>:<lowercase hex>`; cheap to clone.
///
/// A value of this type is well-formed: its algorithm is a registered one,
/// and its hex part has exactly that algorithm's length. It is therefore safe
/// as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Arc<str>);

/// The registered algorithms of image-spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every implementation must have.
    #[default]
    Sha256,
    /// SHA-512, which implementations may have.
    Sha512,
}

/// Digest of a layer's uncompressed tar stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// Digest of a stack of layers up to one of them: names what the layers give
/// when they are applied in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// No `algorithm:hex` form.
    #[error("invalid digest format")]
    Format,
    /// An algorithm that is not registered.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The hex part has not the algorithm's length.
    #[error("invalid digest length: {actual} characters, {algorithm} has {}", algorithm.hex_len())]
    Length {
        /// What was named.
        algorithm: Algorithm,
        /// Characters after the colon.
        actual: usize,
    },
    /// Something else than `0-9a-f` in the hex part.
    #[error("invalid digest: not lowercase hexadecimal")]
    Hex,
}

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut digester = Digester::new(Algorithm::Sha256);
        digester.update(bytes);
        digester.finish()
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What made it.
    pub fn algorithm(&self) -> Algorithm {
        // The two names differ in length alone of all that the type admits.
        if self.0.len() == Algorithm::Sha256.name().len() + 1 + Algorithm::Sha256.hex_len() {
            Algorithm::Sha256
        } else {
            Algorithm::Sha512
        }
    }

    /// The part after the colon: 64 or 128 lowercase hexadecimal characters.
    pub fn hex(&self) -> &str {
        &self.0[self.algorithm().name().len() + 1..]
    }

    /// The first 12 hexadecimal characters, as people are shown.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(algorithm.name().len() + 1 + hash.len() * 2);
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest(text.into())
    }
}

impl Algorithm {
    /// Its name in a digest.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of its hex part, in characters.
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(DigestError::Algorithm),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Strict: registered algorithms, exact length, lowercase.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        if algorithm.is_empty() || hex.is_empty() {
            return Err(DigestError::Format);
        }
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != algorithm.hex_len() {
            let actual = hex.len();
            return Err(DigestError::Length { algorithm, actual });
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Hex);
        }
        Ok(Digest(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A borrowed text where the format has one; JSON strings with escapes
        // and readers do not.
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! layer_id {
    ($name:ident) => {
        impl $name {
            /// The digest's whole text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The part after the colon.
            pub fn hex(&self) -> &str {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

layer_id!(DiffId);
layer_id!(ChainId);

/// Computes a digest of bytes given in pieces.
#[derive(Clone)]
pub struct Digester(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// Starts with nothing hashed.
    pub fn new(algorithm: Algorithm) -> Digester {
        Digester(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Hashes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hasher) => Digest::from_hash(Algorithm::Sha256, &hasher.finalize()),
            State::Sha512(hasher) => Digest::from_hash(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}

impl Default for Digester {
    fn default() -> Self {
        Digester::new(Algorithm::default())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Sha256(_) => "Digester(sha256)",
            State::Sha512(_) => "Digester(sha512)",
        })
    }
}

/// The chainID after each layer, from the lowest up; as long as `diff_ids`.
///
/// The lowest layer's chainID is its diffID; each further one is the SHA-256
/// of `<chainID below> <diffID>` (image-spec `config.md`, "Layer ChainID").
pub fn chain_ids(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.0.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(ChainId(next));
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_known_vectors() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        let mut digester = Digester::new(Algorithm::Sha512);
        digester.update(b"a");
        digester.update(b"bc");
        let digest = digester.finish();
        assert!(
            digest
                .as_str()
                .starts_with("sha512:ddaf35a193617abacc417349")
        );
        assert_eq!(digest.hex().len(), 128);
        assert_eq!(digest.algorithm(), Algorithm::Sha512);
        assert_eq!(digest.as_str().parse(), Ok(digest));
    }

    #[test]
    fn parses_strictly() {
        let hex = &EMPTY[7..];
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.short(), "e3b0c44298fc");
        let long = format!("sha512:{hex}");
        for (text, expected) in [
            ("", DigestError::Format),
            (":", DigestError::Format),
            ("sha256", DigestError::Format),
            ("sha256:", DigestError::Format),
            (hex, DigestError::Format),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                DigestError::Algorithm,
            ),
            ("SHA256:00", DigestError::Algorithm),
            (
                "sha256:../../../../etc/passwd",
                DigestError::Length {
                    algorithm: Algorithm::Sha256,
                    actual: 22,
                },
            ),
            (
                &long,
                DigestError::Length {
                    algorithm: Algorithm::Sha512,
                    actual: 64,
                },
            ),
            (
                &EMPTY.replace('e', "E").replace("SHA", "sha"),
                DigestError::Hex,
            ),
            (&EMPTY.replace("e3", "/."), DigestError::Hex),
            (&EMPTY.replace("e3b", "é3"), DigestError::Hex),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn chains_as_the_specification_says() {
        assert!(chain_ids(&[]).is_empty());
        let a = DiffId(Digest::of(b"a"));
        let b = DiffId(Digest::of(b"b"));
        let chain = chain_ids(&[a.clone(), b.clone(), b.clone()]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::of(format!("{a} {b}").as_bytes()));
        assert_eq!(
            chain[2].0,
            Digest::of(format!("{} {b}", chain[1]).as_bytes())
        );
    }

    #[test]
    fn is_a_string_in_json() {
        let id: DiffId = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{EMPTY}\""));
        assert!(serde_json::from_str::<DiffId>("\"sha256:zz\"").is_err());
        assert!(serde_json::from_str::<DiffId>("null").is_err());
        let reader: Digest = serde_json::from_reader(format!("\"{EMPTY}\"").as_bytes()).unwrap();
        assert_eq!(reader.as_str(), EMPTY);
    }
}
