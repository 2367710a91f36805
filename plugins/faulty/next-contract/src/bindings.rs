//! Bindings of a contract that does not exist.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from a contract without documentation"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "lr-schedule",
});
