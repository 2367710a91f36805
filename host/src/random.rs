//! Random draws as functions of what they are for: there is no global generator.
