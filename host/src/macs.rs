//! Counts of multiply-accumulate operations as they are written: training ViT-H as published takes
//! more of them than 64 bits can count, and more than other programs take as a whole number.

use serde::{Deserialize, Deserializer, Serializer};

/// Writes a whole number of 64 bits where that is enough, and otherwise the nearest float.
///
/// # Errors
/// When the writer refuses.
pub(crate) fn serialize<S: Serializer>(macs: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*macs) {
        Ok(macs) => serializer.serialize_u64(macs),
        Err(_) => serializer.serialize_f64(*macs as f64),
    }
}

/// Reads what [`serialize`] writes.
///
/// # Errors
/// When it is no count.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Whole(u64),
        Large(f64),
    }
    match Count::deserialize(deserializer)? {
        Count::Whole(macs) => Ok(macs.into()),
        Count::Large(macs) if macs.is_finite() && macs >= 0.0 => Ok(macs as u128),
        Count::Large(macs) => Err(serde::de::Error::custom(format!(
            "{macs} is no count of operations"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Counted(#[serde(with = "super")] u128);

    #[test]
    fn counts_survive_being_written() {
        let largest = u128::from(u64::MAX);
        for macs in [0, 1, largest] {
            let text = serde_json::to_string(&Counted(macs)).unwrap();
            assert_eq!(text, macs.to_string());
            let read: Counted = serde_json::from_str(&text).unwrap();
            assert_eq!(read, Counted(macs));
        }
        // Also through a value, as commands write it; a float has 53 digits.
        let large = largest * 1000;
        let value = serde_json::to_value(Counted(large)).unwrap();
        let read: Counted = serde_json::from_value(value).unwrap();
        assert!(read.0.abs_diff(large) < large >> 50, "{read:?}");
        assert!(serde_json::from_str::<Counted>("-1.5").is_err());
    }
}
