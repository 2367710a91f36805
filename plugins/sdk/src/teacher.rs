//! What a teacher says to the same pictures: another network, frozen, that the experiment names for the
//! phase. A plugin that uses this module is refused in a phase without a teacher.

use crate::Tensor;

/// The teacher's logits for the pictures of this call, shape [pictures, classes]; no gradient passes.
/// In `compute` alone.
pub fn logits() -> Tensor {
    Tensor::from_answer(crate::host::teacher::logits())
}
