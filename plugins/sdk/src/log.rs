//! Messages for the person who runs the experiment, kept in the record of the run. The host bounds
//! their length. Natively they go to [`testing::capture`](crate::testing::capture).

pub use crate::bindings::imports::incubate::plugin::log::Level;

/// Writes a message.
pub fn write(level: Level, message: &str) {
    crate::host::log::write(level, message);
}

/// A message for the author of the plugin.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// A message that is worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// A message about something that may be a mistake.
pub fn warning(message: &str) {
    write(Level::Warning, message);
}

/// A message about what is wrong. Return a [`Fault`](crate::Fault) where one can be returned.
pub fn error(message: &str) {
    write(Level::Error, message);
}
