//! `job`.

use clap::Subcommand;

/// `job …`.
#[derive(Subcommand)]
pub(crate) enum JobCommand {
    /// List jobs.
    Ls,
    /// Show one job, step by step, as it stands.
    Show {
        /// Id, or its first digits.
        id: String,
        /// First show its progress until it is over.
        #[arg(long)]
        follow: bool,
    },
    /// Say which nodes work for a job, and why the others do not.
    Explain {
        /// Id, or its first digits.
        id: String,
    },
    /// Write a finished job's results to stdout, or to `-o FILE`.
    Output {
        /// Id, or its first digits.
        id: String,
    },
    /// Cancel a job.
    Cancel {
        /// Id, or its first digits.
        id: String,
    },
    /// Forget a job that is over: its prompts and answers are deleted, its receipts stay.
    Rm {
        /// Id, or its first digits.
        id: String,
    },
}

impl JobCommand {
    /// The job that it is about.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Ls => None,
            Self::Show { id, .. }
            | Self::Explain { id }
            | Self::Output { id }
            | Self::Cancel { id }
            | Self::Rm { id } => Some(id),
        }
    }
}
