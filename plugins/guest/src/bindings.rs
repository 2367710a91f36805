//! Bindings of the interfaces that every world shares; the worlds of the plugins map to these.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated from the contract, where the documentation stands"
)]

wit_bindgen::generate!({
    path: "../../wit/plugin@0.1.0",
    inline: "
        package incubate:guest;
        world guest {
            import incubate:plugin/types@0.1.0;
            import incubate:plugin/log@0.1.0;
        }
    ",
    generate_all,
    generate_unused_types: true,
});
