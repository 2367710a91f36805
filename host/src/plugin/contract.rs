//! The plugin contract as Rust types, generated from the files under `wit/`.
//!
//! One module for each series of compatible versions: a plugin built for 0.1.x works with a host
//! of 0.1.y as long as it uses nothing that this host lacks. Another series would be generated
//! beside this one and chosen by what a plugin exports.

use semver::Version;

/// The contract version that this host offers.
pub const CONTRACT: Version = Version::new(0, 1, 1);

/// The package that holds every interface of the contract.
pub(super) const PACKAGE: &str = "incubate:plugin";

/// Contract 0.1: one world with everything that any kind of plugin may import or export, so that
/// the kinds share their types; what a kind may import is decided in [`imports`](super::imports).
pub(super) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "wit/plugin@0.1.1",
        inline: "
            package incubate:host;

            world any-plugin {
                import incubate:plugin/log@0.1.1;
                import incubate:plugin/metrics@0.1.1;
                import incubate:plugin/random@0.1.1;
                import incubate:plugin/tensors@0.1.1;
                import incubate:plugin/readback@0.1.1;
                import incubate:plugin/weights@0.1.1;
                import incubate:plugin/teacher@0.1.1;
                export incubate:plugin/description@0.1.1;
                export incubate:plugin/partition@0.1.1;
                export incubate:plugin/schedule@0.1.1;
                export incubate:plugin/loss@0.1.1;
            }
        ",
        world: "any-plugin",
        with: {
            "incubate:plugin/tensors.tensor": super::super::tensors::Handle,
        },
        imports: { default: trappable },
    });
}
