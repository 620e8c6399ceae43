//! `dispute`.

use clap::Subcommand;

/// `dispute …`.
#[derive(Subcommand)]
pub(crate) enum DisputeCommand {
    /// List them, the oldest first.
    List,
    /// Tell one, move by move.
    Show {
        /// Id, or its first digits.
        #[arg(value_parser = dispute)]
        id: String,
    },
}

/// The first digits of a dispute's id.
fn dispute(text: &str) -> Result<String, String> {
    let is_id = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    let no = || "it is no id: up to 64 hexadecimal digits, as `talkoo dispute list` prints them".to_owned();
    if is_id { Ok(text.to_ascii_lowercase()) } else { Err(no()) }
}
