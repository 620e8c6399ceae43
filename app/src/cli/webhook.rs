//! `webhook`.

use clap::Subcommand;

/// `webhook …`.
#[derive(Subcommand)]
pub(crate) enum WebhookCommand {
    /// Tell an address from now on. Its secret, which signs what is told, is printed this once.
    Add {
        /// An http or https address that takes POST.
        url: String,
        /// Which event, as `batch.completed`; again for several. Left out, all.
        #[arg(long = "event", value_name = "EVENT")]
        events: Vec<String>,
    },
    /// List them, and how they answer.
    Ls,
    /// Tell one no more.
    Rm {
        /// Its id.
        id: String,
    },
    /// Tell one a test event.
    Test {
        /// Its id.
        id: String,
    },
}
