//! Bindings of the contract: once everything that a plugin may import, and one world for each
//! interface that it may export.
//!
//! The export macros of these worlds are expanded in the crate of the plugin, which thereby
//! exports the interfaces of its kind alone; of the imports only those stay that it calls.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, where the documentation stands"
)]

pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package incubate:sdk-imports;
            world imports {
                import incubate:plugin/types@0.1.1;
                import incubate:plugin/log@0.1.1;
                import incubate:plugin/metrics@0.1.1;
                import incubate:plugin/random@0.1.1;
                import incubate:plugin/tensors@0.1.1;
                import incubate:plugin/readback@0.1.1;
                import incubate:plugin/weights@0.1.1;
                import incubate:plugin/teacher@0.1.1;
            }
        ",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

pub mod description {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package incubate:sdk-description;
            world description {
                export incubate:plugin/description@0.1.1;
            }
        ",
        with: {
            "incubate:plugin/types@0.1.1": crate::bindings::imports::incubate::plugin::types,
        },
        pub_export_macro: true,
    });
}

pub mod partition {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package incubate:sdk-partition;
            world partition {
                export incubate:plugin/partition@0.1.1;
            }
        ",
        with: {
            "incubate:plugin/types@0.1.1": crate::bindings::imports::incubate::plugin::types,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
    });
}

pub mod schedule {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package incubate:sdk-schedule;
            world schedule {
                export incubate:plugin/schedule@0.1.1;
            }
        ",
        with: {
            "incubate:plugin/types@0.1.1": crate::bindings::imports::incubate::plugin::types,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
    });
}

pub mod loss {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package incubate:sdk-loss;
            world loss {
                export incubate:plugin/loss@0.1.1;
            }
        ",
        with: {
            "incubate:plugin/types@0.1.1": crate::bindings::imports::incubate::plugin::types,
            "incubate:plugin/tensors@0.1.1": crate::bindings::imports::incubate::plugin::tensors,
        },
        pub_export_macro: true,
    });
}
