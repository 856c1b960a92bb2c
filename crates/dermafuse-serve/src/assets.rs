//! The page, which is part of the program.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    pub(crate) fn response(self) -> Response {
        ([(header::CONTENT_TYPE, self.kind)], self.text).into_response()
    }
}

/// The files of the page and the description of the API.
pub(crate) const ASSETS: [Asset; 7] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", text: include_str!("../page/index.html") },
    Asset { path: "/app.js", kind: "text/javascript; charset=utf-8", text: include_str!("../page/app.js") },
    Asset { path: "/icon.svg", kind: "image/svg+xml", text: include_str!("../page/icon.svg") },
    Asset { path: "/openapi.json", kind: "application/json", text: include_str!("../openapi.json") },
    Asset { path: "/source.js", kind: "text/javascript; charset=utf-8", text: include_str!("../page/source.js") },
    Asset { path: "/style.css", kind: "text/css; charset=utf-8", text: include_str!("../page/style.css") },
    Asset { path: "/texts.json", kind: "application/json", text: include_str!("../page/texts.json") },
];
