//! A request to stop, passed from whoever is asked to whatever works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says whether work should end at the next place where nothing is lost; clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// Asks to stop. It may be called from a signal handler.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
