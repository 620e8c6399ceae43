//! Owner first: when a machine is not for others.

use crate::daemon::config::price_of;
use crate::daemon::limits::{Hours, Limits};
use clap::{Args, Subcommand};
use std::time::Duration;

/// Flags of `up` that keep the machine for its owner.
#[derive(Args, Clone)]
pub(crate) struct OwnerArgs {
    /// Work for others only at these times of the day, local time, as 22:00-7:30; several are separated by commas.
    #[arg(long, value_name = "FROM-TO", value_delimiter = ',')]
    pub(crate) hours: Vec<Hours>,
    /// Work for others only while other programs use at most so many percent of the processor [20 if none is said].
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "20", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) idle_only: Option<u8>,
    /// Work for others only on mains power.
    #[arg(long)]
    pub(crate) mains_only: bool,
    /// Work for others only while no part of the machine is hotter.
    #[arg(long, value_name = "DEGREES", value_parser = clap::value_parser!(u32).range(1..=150))]
    pub(crate) celsius_max: Option<u32>,
    /// Seconds that running work may go on when one of these is touched; then it goes back to its clients.
    #[arg(long, value_name = "S", default_value_t = Limits::RECLAIM_S, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) reclaim: u64,
}

/// `provide limits`.
#[derive(Args)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    /// No limits any more.
    #[arg(long, conflicts_with_all = ["hours", "idle_only", "mains_only", "celsius_max"])]
    pub(crate) none: bool,
}

impl OwnerArgs {
    /// What they say.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            hours: self.hours.clone(),
            others_max: self.idle_only,
            mains_only: self.mains_only,
            celsius_max: self.celsius_max,
            reclaim: Duration::from_secs(self.reclaim),
        }
    }
}

/// `provide …`.
#[derive(Subcommand)]
pub(crate) enum ProvideCommand {
    /// Offer compute.
    Start,
    /// Stop offering.
    Stop,
    /// Say what keeps work away.
    Why,
    /// Print what came in, by day and source.
    Earnings {
        /// So many days, today's the last.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
    },
    /// Print the owner's limits, or set them: those that are named, and no others. They count at once, and go on after a restart.
    Limits(LimitsArgs),
    /// Ask another price, from now on: tokens of money for a million output tokens, or LEAST..MOST.
    Price {
        /// As 0.4 or 0.1..0.5.
        #[arg(value_parser = asked)]
        price: [f64; 2],
    },
}

/// A price, or two between which it moves.
pub(super) fn asked(text: &str) -> Result<[f64; 2], String> {
    let Some((least, most)) = text.split_once("..") else { return price(text).map(|one| [one, one]) };
    let ends = [price(least)?, price(most)?];
    if ends[0] <= ends[1] { Ok(ends) } else { Err("the least is more than the most".into()) }
}

/// A price as the user writes it, checked.
pub(super) fn price(text: &str) -> Result<f64, String> {
    let tokens = super::number(text)?;
    price_of(tokens).map(|_| tokens).map_err(|no| no.to_string())
}
