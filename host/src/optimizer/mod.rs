//! AdamW with decay groups, clipping, and accumulation.
