//! Bindings of the world `loss-hook` in contract 0.1.1, the first with `weights`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, where the documentation stands"
)]

wit_bindgen::generate!({
    path: "../../wit/plugin@0.1.1",
    world: "loss-hook",
    generate_all,
});
