//! Partition schemes: how the target model is cut into modules.

use crate::{Description, Fault, Settings};

pub use crate::bindings::partition::exports::incubate::plugin::partition::{
    Cost, Device, ModuleDepth, Request,
};

/// Cuts the target model into modules. [`export_partition!`](crate::export_partition) makes a
/// component of it.
///
/// ```
/// use incubate_plugin::{
///     Description, Fault, ModuleDepth, Partition, Request, Settings, division, export_partition,
/// };
///
/// /// All blocks but one each go to the first module.
/// pub struct Lopsided;
///
/// impl Partition for Lopsided {
///     fn describe() -> Description {
///         Description::new("One block for every module but the first")
///     }
///
///     fn configure(_: &Settings) -> Result<Self, Fault> {
///         Ok(Self)
///     }
///
///     fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
///         division::check_modules(request)?;
///         let mut modules = vec![ModuleDepth { target: 1, meta: 1 }; request.modules as usize];
///         modules[0].target = request.blocks.len() as u32 - (request.modules - 1);
///         Ok(modules)
///     }
/// }
///
/// export_partition!(Lopsided);
/// # fn main() {}
/// ```
pub trait Partition: Sized + 'static {
    /// What the scheme does and what can be set. Must give the same answer at every call.
    fn describe() -> Description;

    /// The scheme with the settings that are in force.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, beyond what the description excludes already.
    fn configure(settings: &Settings) -> Result<Self, Fault>;

    /// One entry for each of the K modules, in order; their `target`s sum to the number of blocks.
    ///
    /// # Errors
    ///
    /// The model cannot be divided as asked.
    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault>;
}

#[cfg(target_arch = "wasm32")]
pub(crate) mod component {
    use std::marker::PhantomData;

    use crate::bindings::description::exports::incubate::plugin::description::{self, PluginInfo};
    use crate::bindings::partition::exports::incubate::plugin::partition as contract;
    use crate::export::{Hosted, plugin_info};
    use crate::{Fault, ModuleDepth, Partition, Request, Setting, Settings, report_panics};

    /// The exports of a partition scheme.
    #[derive(Debug)]
    pub struct PartitionComponent<T>(PhantomData<T>);

    impl<T: Partition + Hosted> description::Guest for PartitionComponent<T> {
        fn describe() -> PluginInfo {
            plugin_info::<T>(T::describe())
        }
    }

    impl<T: Partition + Hosted> contract::Guest for PartitionComponent<T> {
        fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
            report_panics();
            T::place(|| T::configure(&Settings::new(settings)))
        }

        fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
            T::call(|scheme| scheme.divide(&request))
        }
    }
}
