//! A page in the browser and a JSON API over a saved model, on this machine, with limits.
//!
//! [`serve`] answers until Ctrl-C; [`Server`] is the same for a program that has an async runtime of its own; [`App::router`] is
//! the `axum` router alone. What answers is a [`Classifier`]: [`ModelClassifier`] for a saved model, or something of one's own.
//!
//! Nothing here reads a path that a client names, sends anything to another machine, or keeps an image. Predictions run on a
//! fixed number of threads of their own, and no more requests are taken in than these can answer in time: see [`ServeConfig`].
//! [`OfflinePage`] is the same page without a server: files for a browser that computes the answers itself.
//! [`AnswerStore`] keeps answers, if asked to, to which the later diagnosis is added; [`Audit`] is what comes of them.

mod admission;
mod answer_body;
mod api_error;
mod app;
mod assets;
mod audit;
mod audit_line;
mod case_input;
mod classifier;
mod config;
mod error;
mod guard;
mod heat_pictures;
mod hosts;
mod model_classifier;
mod offline_page;
mod routes;
mod server;
mod store;
mod token;
mod workers;

pub use answer_body::{
    AnswerBody, BasisBody, ClassBody, ContributionBody, ExplanationBody, FieldBody, FindingBody, GroupBody, HeatBody,
    ModelBody, NoteBody, SevenPointBody, TaskBody, TaskContributionBody, TaskModelBody,
};
pub use api_error::ApiError;
pub use app::App;
pub use audit::{Audit, AuditedClass, AuditedModel, AuditedMonth, AuditedTask};
pub use audit_line::{AuditLine, AuditSink};
pub use case_input::CaseInput;
pub use classifier::Classifier;
pub use config::ServeConfig;
pub use error::ServeError;
pub use model_classifier::ModelClassifier;
pub use offline_page::{OfflinePage, OfflinePageError};
pub use routes::ROUTES;
pub use server::{Server, serve};
pub use store::{AnswerStore, StoredAnswer, StoredDiagnosis, StoredTask};
pub use token::Token;

/// What every answer says of itself.
pub const RESEARCH_USE: &str = "Research software. Not a medical device, not for diagnosis.";
