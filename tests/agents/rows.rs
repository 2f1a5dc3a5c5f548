//! The rows of the matrix: the clients, each in the version that is pinned.

use crate::{
    client::Registry,
    protocols::{Protocol, mcp},
};
use tower_sse::runs::{AgUi, AiSdk, Anthropic, ChatCompletions, Plain, Responses};

#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub registry: Registry,
    /// The name that it is installed under, which may be an alias.
    pub package: &'static str,
    /// The file in `clients/npm` or `clients/pypi` that uses it.
    pub file: &'static str,
    pub protocol: &'static str,
    /// Resumes by itself after a cut, without a report.
    pub reconnects: bool,
    /// Resumes by itself after a cut, if it has received an id before.
    pub resumes: bool,
    /// Can stop a run by itself.
    pub stops: bool,
}

pub const ROWS: [Row; 12] = [
    Row::npm("ai5", "ai", AiSdk::NAME),
    Row::npm("ai6", "ai", AiSdk::NAME),
    Row::npm("ai", "ai", AiSdk::NAME),
    Row::npm("openai", "openai", ChatCompletions::NAME),
    Row::pypi("openai", "openai_client", ChatCompletions::NAME),
    Row { stops: true, ..Row::npm("openai", "responses", Responses::NAME) },
    Row { stops: true, ..Row::pypi("openai", "responses_client", Responses::NAME) },
    Row::npm("@anthropic-ai/sdk", "anthropic", Anthropic::NAME),
    Row::pypi("anthropic", "anthropic_client", Anthropic::NAME),
    Row::npm("@ag-ui/client", "ag_ui", AgUi::NAME),
    Row { resumes: true, ..Row::npm("@modelcontextprotocol/sdk", "mcp", mcp::NAME) },
    Row { reconnects: true, ..Row::npm("eventsource", "eventsource", Plain::NAME) },
];

const NPM: &str = include_str!("../clients/node/package.json");
const PYPI: &str = include_str!("../clients/python/requirements.txt");

impl Row {
    const fn npm(package: &'static str, file: &'static str, protocol: &'static str) -> Self {
        Self { registry: Registry::Npm, package, file, protocol, reconnects: false, resumes: false, stops: false }
    }

    const fn pypi(package: &'static str, file: &'static str, protocol: &'static str) -> Self {
        Self { registry: Registry::PyPi, package, file, protocol, reconnects: false, resumes: false, stops: false }
    }

    pub fn is_installed(self) -> bool {
        self.registry.has(self.package)
    }

    /// Its name and version, and the protocol.
    pub fn title(self) -> String {
        let (registry, pinned) = match self.registry {
            Registry::Npm => {
                let versions: serde_json::Value = serde_json::from_str(NPM).unwrap();
                let version = versions["dependencies"][self.package].as_str().unwrap();
                // An alias stands for another package.
                ("npm", version.strip_prefix("npm:").map_or(format!("{}@{version}", self.package), str::to_owned))
            }
            Registry::PyPi => {
                let prefix = format!("{}==", self.package);
                let version = PYPI.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
                ("PyPI", format!("{}@{version}", self.package))
            }
        };
        let (name, version) = pinned.rsplit_once('@').unwrap();
        format!("{registry} `{name}` {version}, {}", self.protocol)
    }
}
