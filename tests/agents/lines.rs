//! How many lines you write for a protocol, counted in the guide's own code: all that are not blank, the imports too. The guide's
//! server of `useChat` has more in it than the protocol, so that is counted in the documentation of `runs`.

const GUIDE: &str = include_str!("../../docs/guide/agents.md");
const RUNS: &str = include_str!("../../src/runs.rs");
const PAGE: &str = include_str!("../../docs/reliability/agents.md");

/// The name of a backend on the page, the text before its code, and the most lines that the code may have.
const BACKENDS: [(&str, &str, usize); 6] = [
    ("AI SDK", "the backend of a resumable `useChat`:", 25),
    ("Chat completions", "## Chat completions\n", 25),
    ("Responses", "## Responses\n", 45),
    ("Anthropic's messages", "## Anthropic's messages\n", 25),
    ("AG-UI", "## AG-UI\n", 25),
    ("MCP", "## MCP\n", 45),
];

#[test]
fn each_protocols_backend_is_as_short_as_the_guide_says() {
    let docs: Vec<&str> = RUNS.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let docs = docs.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    for (title, before, limit) in BACKENDS {
        let (_, section) = docs.split_once(before).or_else(|| GUIDE.split_once(before)).expect(title);
        let (_, code) = section.split_once("```").expect(title);
        let (code, _) = code.split_once("\n```").expect(title);
        // Rustdoc hides the lines that stand in for a model. The first line is the language.
        let lines = code.lines().skip(1).filter(|line| !line.trim().is_empty() && !line.starts_with("# ")).count();
        assert!(lines <= limit, "{title}: {lines}");
        assert!(PAGE.contains(&format!("| {title} | {lines} |")), "| {title} | {lines} |");
    }
}
