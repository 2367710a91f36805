//! Tensors without a compile-time rank: the operations that loss hooks compose.
