//! An allocator that keeps large blocks instead of returning them to the system.
