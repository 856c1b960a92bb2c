use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::admission::Admission;
use crate::hosts::Hosts;
use crate::workers::Workers;
use crate::{AnswerStore, AuditLine, AuditSink, Classifier, ServeConfig, ServeError, Token, guard, routes};

/// A classifier with its page, its API, its limits and its threads. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    classifier: Arc<dyn Classifier>,
    config: ServeConfig,
    hosts: Hosts,
    admission: Admission,
    workers: Workers,
    store: Option<AnswerStore>,
    sink: AuditSink,
}

impl App {
    /// Puts a classifier behind the page and the API, to be asked at an address. `sink` gets a line for each request.
    ///
    /// # Errors
    /// What [`ServeConfig::check`] finds; threads that the operating system does not give.
    pub fn new(
        classifier: Arc<dyn Classifier>,
        address: SocketAddr,
        config: ServeConfig,
        store: Option<AnswerStore>,
        sink: AuditSink,
    ) -> Result<Self, ServeError> {
        config.check(address)?;
        let start_error = |source| ServeError::Start { what: "threads", source };
        Ok(Self(Arc::new(Parts {
            hosts: Hosts::new(address, &config.host_names),
            admission: Admission::new(config.workers + config.queue),
            workers: Workers::start(config.workers).map_err(start_error)?,
            classifier,
            config,
            store,
            sink,
        })))
    }

    /// The routes with everything that guards them.
    pub fn router(&self) -> Router {
        routes::router()
            .layer(from_fn_with_state(self.clone(), guard::guarded))
            .layer(from_fn_with_state(self.clone(), guard::audited))
            .with_state(self.clone())
    }

    pub(crate) fn classifier(&self) -> &Arc<dyn Classifier> {
        &self.0.classifier
    }

    pub(crate) fn config(&self) -> &ServeConfig {
        &self.0.config
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.0.config.token.as_ref()
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.0.workers
    }

    pub(crate) fn store(&self) -> Option<&AnswerStore> {
        self.0.store.as_ref()
    }

    pub(crate) fn audit(&self, line: &AuditLine) {
        (self.0.sink)(line);
    }
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("App").field("model", self.classifier().model()).field("config", self.config()).finish()
    }
}
