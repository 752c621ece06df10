//! Whether the server is ready, and if not, why.
//!
//! Ready means that a client which connects now is served, writes included. Being slow is not a reason to be
//! unready: taking a slow server out of rotation moves its load to the next one.

use std::sync::Arc;

use terrace::RecoveryProgress;

use super::http::Response;
use crate::shared::Shared;

/// Where in its life the server is.
#[derive(Clone)]
pub(super) enum Phase {
    /// The store is being opened, and this much of its log has been replayed.
    Opening(RecoveryProgress),
    /// Clients are served, or a shutdown has begun.
    Serving(Arc<Shared>),
}

impl Phase {
    /// The answer to `/readyz`.
    pub(super) fn readiness(&self) -> Response {
        match self.obstacle() {
            None => Response::text(200, "ready\n"),
            Some(reason) => Response::text(503, format!("not ready: {reason}\n")),
        }
    }

    fn obstacle(&self) -> Option<String> {
        match self {
            Self::Opening(done) => Some(format!(
                "the store is being opened, {} writes ({} bytes) of its log replayed so far",
                done.entries, done.bytes
            )),
            Self::Serving(shared) if shared.is_stopping() => Some("the server is shutting down".into()),
            Self::Serving(shared) => shared
                .databases
                .store()
                .stats()
                .background_error
                .map(|error| format!("the store refuses writes or is about to: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_being_opened_says_how_far_it_is() {
        let response = Phase::Opening(RecoveryProgress::default()).readiness();
        assert_eq!(response.status, 503);
        assert!(response.text_of().contains("0 writes (0 bytes)"), "{}", response.text_of());
    }
}
