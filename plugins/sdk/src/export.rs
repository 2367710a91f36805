//! From a trait to the exports of a component: what the macros expand to.
//!
//! The macros are expanded in the crate of the plugin and keep there what cannot be generic: the
//! exported functions, the name of the package, and the place where the configured hook lives.

use crate::Fault;

/// A hook with its place in an instance; implemented by the export macros.
pub trait Hosted: Sized + 'static {
    /// Name of the package.
    const NAME: &'static str;
    /// Version of the package.
    const VERSION: &'static str;

    /// Calls `work` with the hook, which is empty until it is configured.
    fn with_place<R>(work: impl FnOnce(&mut Option<Self>) -> R) -> R;

    /// Configures the hook; a second time is a defect of the host.
    ///
    /// # Errors
    ///
    /// The hook refuses the settings, or it is configured already.
    fn place(hook: impl FnOnce() -> Result<Self, Fault>) -> Result<(), Fault> {
        Self::with_place(|place| {
            if place.is_some() {
                return Err(Fault::internal("the plugin was configured twice"));
            }
            *place = Some(hook()?);
            Ok(())
        })
    }

    /// Calls `work` with the hook.
    ///
    /// # Errors
    ///
    /// Those of `work`, or the hook is not configured, which is a defect of the host.
    fn call<R>(work: impl FnOnce(&mut Self) -> Result<R, Fault>) -> Result<R, Fault> {
        Self::with_place(|place| match place {
            Some(hook) => work(hook),
            None => Err(Fault::internal(
                "the plugin was called before it was configured",
            )),
        })
    }

    /// Calls `work` with the hook, for functions of the contract that cannot answer a fault.
    ///
    /// # Panics
    ///
    /// The hook is not configured, which is a defect of the host.
    fn ask<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        Self::with_place(|place| match place {
            Some(hook) => work(hook),
            None => panic!("the plugin was called before it was configured"),
        })
    }
}

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::bindings::description::exports::incubate::plugin::description::PluginInfo;
    use crate::export::Hosted;
    use crate::{Description, report_panics};

    pub(crate) fn plugin_info<T: Hosted>(description: Description) -> PluginInfo {
        report_panics();
        PluginInfo {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            summary: description.summary,
            parameters: description.parameters,
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use crate::loss::component::LossComponent;
#[cfg(target_arch = "wasm32")]
pub use crate::partition::component::PartitionComponent;
#[cfg(target_arch = "wasm32")]
pub use crate::schedule::component::ScheduleComponent;
#[cfg(target_arch = "wasm32")]
pub(crate) use component::plugin_info;

/// Makes the component of a type that implements [`Loss`](crate::Loss). Name and version of the
/// plugin are those of the package.
#[macro_export]
macro_rules! export_loss {
    ($hook:ty) => {
        $crate::__export!($hook, loss, LossComponent);
    };
}

/// Makes the component of a type that implements [`Schedule`](crate::Schedule). Name and version of
/// the plugin are those of the package.
#[macro_export]
macro_rules! export_schedule {
    ($hook:ty) => {
        $crate::__export!($hook, schedule, ScheduleComponent);
    };
}

/// Makes the component of a type that implements [`Partition`](crate::Partition). Name and version
/// of the plugin are those of the package.
#[macro_export]
macro_rules! export_partition {
    ($hook:ty) => {
        $crate::__export!($hook, partition, PartitionComponent);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($hook:ty, $interface:ident, $component:ident) => {
        const _: () = {
            impl $crate::export::Hosted for $hook {
                const NAME: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");

                fn with_place<R>(work: impl FnOnce(&mut Option<Self>) -> R) -> R {
                    ::std::thread_local! {
                        static PLACE: ::core::cell::RefCell<Option<$hook>> =
                            const { ::core::cell::RefCell::new(None) };
                    }
                    PLACE.with_borrow_mut(work)
                }
            }

            // Natively nothing is exported, since a linker may not take names with `@`; this keeps
            // the compiler from calling the hook unused.
            const _: ::core::marker::PhantomData<$hook> = ::core::marker::PhantomData;
            #[cfg(target_arch = "wasm32")]
            type Component = $crate::export::$component<$hook>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::description::export!(
                Component with_types_in $crate::bindings::description
            );
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::$interface::export!(
                Component with_types_in $crate::bindings::$interface
            );
        };
    };
}
