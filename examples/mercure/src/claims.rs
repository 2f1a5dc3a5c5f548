//! What a token allows.

use axum::http::StatusCode;
use serde::Deserialize;

use crate::{
    Refused,
    selector::{Kind, Selectors},
};

/// The claims of a token. Others are left to the application.
#[derive(Default, Deserialize)]
pub(crate) struct Claims {
    /// Seconds since 1970.
    pub(crate) exp: Option<f64>,
    /// Version 0.x.
    #[serde(default, alias = "https://mercure.rocks/")]
    mercure: Mercure,
    /// Version 1.0.
    #[serde(default)]
    authorization_details: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Mercure {
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
}

#[derive(Deserialize)]
struct Detail {
    actions: Vec<String>,
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(rename = "match")]
    text: String,
    #[serde(default)]
    match_type: MatchType,
}

#[derive(Default, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum MatchType {
    #[default]
    Exact,
    UrlPattern,
}

impl Claims {
    /// The topics that may be published to.
    pub(crate) fn publish(&self) -> Result<Selectors, Refused> {
        self.selectors(&self.mercure.publish, "publish")
    }

    /// The topics whose private updates may be read.
    pub(crate) fn subscribe(&self) -> Result<Selectors, Refused> {
        self.selectors(&self.mercure.subscribe, "subscribe")
    }

    /// "If any Mercure authorization detail fails to parse or validate [..], the hub MUST reject the token".
    fn selectors(&self, templates: &[String], action: &str) -> Result<Selectors, Refused> {
        let invalid = |error: String| Refused(StatusCode::UNAUTHORIZED, error);
        let templates = templates.iter().map(|text| (Kind::Template, text.clone()));
        let mut selectors: Vec<_> = templates.collect();
        let is_ours = |detail: &&serde_json::Value| detail["type"] == "https://mercure.rocks/authorization-detail";
        for detail in self.authorization_details.iter().filter(is_ours) {
            let detail = Detail::deserialize(detail).map_err(|error| invalid(error.to_string()))?;
            let topics: Vec<_> = detail.topics.into_iter().map(Topic::selector).collect();
            // Those of other actions have to be valid, too.
            Selectors::new(topics.iter().cloned()).map_err(invalid)?;
            if detail.actions.iter().any(|own| own == action) {
                selectors.extend(topics);
            }
        }
        Selectors::new(selectors).map_err(invalid)
    }
}

impl Topic {
    fn selector(self) -> (Kind, String) {
        let kind = match self.match_type {
            MatchType::Exact => Kind::Exact,
            MatchType::UrlPattern => Kind::UrlPattern,
        };
        (kind, self.text)
    }
}
