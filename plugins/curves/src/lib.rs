//! What the learning-rate schedules that ship share: cycles in the semantics of timm, the smallest
//! rate, and the ways down at the end of a phase. Time and warm-up are the SDK's
//! [`Timeline`](incubate_plugin::timeline::Timeline).

mod cycles;
mod descent;
mod floor;
mod tail;

pub use cycles::Cycles;
pub use descent::Descent;
pub use floor::Floor;
pub use tail::Tail;
