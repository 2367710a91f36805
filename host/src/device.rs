//! Which device trains, and why.
