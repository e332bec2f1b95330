//! Go writes an empty slice, map or struct as `null`, and reads `null` as
//! empty; image documents in the wild hold both.

use serde::{Deserialize, Deserializer};

/// For `#[serde(deserialize_with)]`: `null` is the default value.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
