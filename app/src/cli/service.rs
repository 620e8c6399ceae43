//! `service`.

use clap::Subcommand;

/// `service …`.
#[derive(Subcommand)]
pub(crate) enum ServiceCommand {
    /// Write a unit for this user's systemd, or launchd's list, and start it. What `up` is to do stands in the file of `talkoo config`.
    Install {
        /// Only print what would be written.
        #[arg(long)]
        dry_run: bool,
    },
    /// Stop it and remove what `install` wrote.
    Uninstall,
}
