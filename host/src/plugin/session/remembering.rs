//! What schedules and loss hooks have in common: questions that go to their session alone.

/// The part of a kind that is the same for every kind that remembers: what is asked of its
/// `session` alone.
macro_rules! remembering {
    ($hook:ident) => {
        impl $hook {
            /// Everything that the plugin remembers.
            ///
            /// # Errors
            ///
            /// The plugin fails.
            pub fn save(&mut self) -> Result<Vec<u8>, crate::plugin::PluginError> {
                self.session
                    .call(crate::plugin::Hook::Save, None, |store, exports| {
                        exports.call_save(store)
                    })
            }

            /// The counterpart of [`Self::save`], for a new instance with the same settings.
            ///
            /// # Errors
            ///
            /// The plugin fails, or it does not accept the state.
            pub fn restore(&mut self, state: &[u8]) -> Result<(), crate::plugin::PluginError> {
                self.session.state_was_restored();
                self.session
                    .answer(crate::plugin::Hook::Restore, None, |store, exports| {
                        exports.call_restore(store, state)
                    })
            }

            /// As [`Self::save`], without counting as a call.
            ///
            /// # Errors
            ///
            /// The plugin fails.
            pub fn snapshot(&mut self) -> Result<Vec<u8>, crate::plugin::PluginError> {
                self.session.uncounted(|session| {
                    session.call(crate::plugin::Hook::Save, None, |store, exports| {
                        exports.call_save(store)
                    })
                })
            }

            /// As [`Self::restore`]; the plugin has used then what `statistics` and `spent` say, and
            /// nothing for being started again.
            ///
            /// # Errors
            ///
            /// The plugin fails, or it does not accept the state.
            pub fn resume(
                &mut self,
                state: &[u8],
                statistics: crate::plugin::Statistics,
                spent: crate::plugin::Spent,
            ) -> Result<(), crate::plugin::PluginError> {
                self.restore(state)?;
                self.session.has_used(statistics, spent);
                Ok(())
            }

            /// Why the plugin cannot be asked for what it remembers, when that was found out.
            pub fn unsaved(&self) -> Option<&str> {
                self.session.unsaved()
            }

            /// Records no further call.
            pub fn stop_recording(&mut self) {
                self.session.record_calls(false);
            }

            /// The calls since the last call of this function, when they are recorded.
            pub fn drain_recordings(&mut self) -> Vec<crate::plugin::Recording> {
                self.session.drain_recordings()
            }

            /// What the plugin said since the last call of this function.
            pub fn drain_messages(&mut self) -> Vec<crate::plugin::Message> {
                self.session.drain_messages()
            }

            /// What the plugin has used.
            pub fn statistics(&self) -> crate::plugin::Statistics {
                self.session.statistics()
            }

            /// The wall time of all calls.
            pub fn spent(&self) -> crate::plugin::Spent {
                self.session.spent()
            }
        }
    };
}
pub(in crate::plugin) use remembering;
