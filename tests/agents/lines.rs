//! How many lines you write for a protocol, counted in the guide's own code: all that are not blank, the imports too.

const GUIDE: &str = include_str!("../../docs/guide/agents.md");
const PAGE: &str = include_str!("../../docs/reliability/agents.md");

/// The sections of the guide that have the whole backend of a protocol, and how many lines one may have.
const SECTIONS: [(&str, usize); 6] = [
    ("The backend of `useChat`", 25),
    ("Chat completions", 25),
    ("Responses", 45),
    ("Anthropic's messages", 25),
    ("AG-UI", 25),
    ("MCP", 45),
];

#[test]
fn the_backend_of_a_protocol_is_short_and_the_page_says_how_short() {
    for (title, limit) in SECTIONS {
        let (_, section) = GUIDE.split_once(&format!("\n## {title}\n")).expect(title);
        let (_, code) = section.split_once("```rust\n").expect(title);
        let (code, _) = code.split_once("\n```").expect(title);
        // What rustdoc hides is what the guide has in place of a model.
        let lines = code.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("# ")).count();
        assert!(lines <= limit, "{title}: {lines}");
        assert!(PAGE.contains(&format!("| {title} | {lines} |")), "| {title} | {lines} |");
    }
}
