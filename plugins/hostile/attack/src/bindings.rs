//! Bindings of the interfaces that every hostile plugin uses.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, where the documentation stands"
)]

wit_bindgen::generate!({
    path: "../../../wit/plugin@0.1.0",
    inline: "
        package incubate:attack;
        world attack {
            import incubate:plugin/types@0.1.0;
            import incubate:plugin/log@0.1.0;
            import incubate:plugin/metrics@0.1.0;
        }
    ",
    generate_all,
    generate_unused_types: true,
});
