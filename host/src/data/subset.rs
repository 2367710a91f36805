//! The choice of a smaller set: deterministic, and with as many pictures of each class as possible.

/// The indices of at most `limit` pictures, ascending; `None` if that is all of them.
///
/// The pictures are ordered by how many of their class precede them, then by class; the first
/// `limit` in that order are chosen. A larger limit therefore only adds pictures.
pub(super) fn balanced(
    labels: impl Iterator<Item = usize>,
    limit: Option<usize>,
) -> Option<Vec<usize>> {
    let limit = limit?;
    let mut seen: Vec<usize> = Vec::new();
    let mut order: Vec<(usize, usize, usize)> = labels
        .enumerate()
        .map(|(index, label)| {
            if seen.len() <= label {
                seen.resize(label + 1, 0);
            }
            let rank = seen[label];
            seen[label] += 1;
            (rank, label, index)
        })
        .collect();
    if order.len() <= limit {
        return None;
    }
    order.sort_unstable();
    let mut indices: Vec<usize> = order[..limit].iter().map(|(_, _, index)| *index).collect();
    indices.sort_unstable();
    Some(indices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_balanced() {
        let labels = [0, 0, 0, 0, 1, 1, 1, 2];
        let chosen = |limit| balanced(labels.into_iter(), Some(limit));
        assert_eq!(chosen(3), Some(vec![0, 4, 7]));
        assert_eq!(chosen(4), Some(vec![0, 1, 4, 7]));
        assert_eq!(chosen(6), Some(vec![0, 1, 2, 4, 5, 7]));
        assert_eq!(chosen(8), None);
        assert_eq!(balanced(labels.into_iter(), None), None);
    }

    proptest! {
        #[test]
        fn larger_limits_only_add(
            labels in prop::collection::vec(0_usize..5, 1..60),
            limit in 1_usize..60,
        ) {
            let all: Vec<usize> = (0..labels.len()).collect();
            let get = |limit| balanced(labels.iter().copied(), Some(limit)).unwrap_or(all.clone());
            let (small, large) = (get(limit), get(limit + 1));
            prop_assert_eq!(small.len(), limit.min(labels.len()));
            prop_assert!(small.iter().all(|index| large.contains(index)));
            prop_assert!(small.windows(2).all(|pair| pair[0] < pair[1]));
            let count = |class| small.iter().filter(|index| labels[**index] == class).count();
            let available = |class| labels.iter().filter(|label| **label == class).count();
            let most = (0..5).map(count).max().unwrap_or(0);
            for class in 0..5 {
                prop_assert!(count(class) + 1 >= most.min(available(class) + 1));
            }
        }
    }
}
