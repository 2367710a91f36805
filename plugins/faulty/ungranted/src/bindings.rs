//! Bindings of the world `lr-schedule` with a clock.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, where the documentation stands"
)]

wit_bindgen::generate!({
    path: ["../../../wit/plugin@0.1.0", "wit"],
    inline: "
        package incubate:ungranted;
        world ungranted {
            include incubate:plugin/lr-schedule@0.1.0;
            import wasi:clocks/wall-clock@0.2.0;
        }
    ",
    with: {
        "incubate:plugin/types@0.1.0": guest::types,
        "incubate:plugin/log@0.1.0": guest::log,
    },
    generate_all,
});
