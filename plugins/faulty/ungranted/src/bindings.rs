//! Bindings of a clock.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from an interface without documentation"
)]

wit_bindgen::generate!({
    path: "wit",
    inline: "
        package incubate:ungranted;
        world ungranted {
            import wasi:clocks/wall-clock@0.2.0;
        }
    ",
    generate_all,
});
