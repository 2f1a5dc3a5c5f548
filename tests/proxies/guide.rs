//! The guide's page, so that what it advises is what is tested.

const PAGE: &str = include_str!("../../docs/guide/deploy.md");

/// Asserts that the guide shows these settings, however it indents them.
pub fn shown(settings: &str) -> &str {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(PAGE).contains(&words(settings)), "the guide shows {settings}");
    settings
}

/// The command in the guide that contains these words.
pub fn command(words: &str) -> &'static str {
    let commands = PAGE.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    commands.into_iter().find(|command| command.contains(words)).unwrap_or_else(|| panic!("the guide has {words}"))
}
