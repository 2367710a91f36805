//! Bindings of the world `loss-hook`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, where the documentation stands"
)]

wit_bindgen::generate!({
    path: "../../../wit/plugin@0.1.0",
    world: "loss-hook",
    with: {
        "incubate:plugin/types@0.1.0": guest::types,
        "incubate:plugin/log@0.1.0": guest::log,
    },
});
