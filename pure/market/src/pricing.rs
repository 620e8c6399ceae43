//! A worker's own price between two bounds: it follows demand, a step at a time.

use talkoo_base::{Price, RefusalCode};

use crate::{Ask, Summary};

/// A step is this part of the price.
const STEP: u128 = 8;

/// What happened since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Demand {
    /// Clients that were refused because all slots were taken.
    pub busy: usize,
    /// Clients that were refused because the price was too high for them.
    pub too_dear: usize,
}

impl Demand {
    /// All there was since the start, of [`crate::Market::lost`].
    #[must_use]
    pub fn of(lost: &[Summary]) -> Self {
        let count = |code| lost.iter().find(|row| row.code == code).map_or(0, |row| row.count);
        Self { busy: count(RefusalCode::Busy), too_dear: count(RefusalCode::PriceTooLow) }
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let Self { busy, too_dear } = self;
        Self { busy: busy.saturating_sub(before.busy), too_dear: too_dear.saturating_sub(before.too_dear) }
    }
}

/// The next price: dearer if clients came while all slots were taken, cheaper if slots are free and clients found it too
/// dear, else the same; always within the bounds.
#[must_use]
pub fn next_price(ask: &Ask, taken: u32, demand: Demand, bounds: &[Price; 2]) -> Price {
    let [least, most] = bounds;
    let part = |now: u128, least: u128, most: u128| {
        let step = (now / STEP).max(1);
        let next = if taken >= ask.slots && demand.busy > 0 {
            now.saturating_add(step)
        } else if taken < ask.slots && demand.too_dear > 0 {
            now.saturating_sub(step)
        } else {
            now
        };
        next.max(least).min(most)
    };
    let (input, output) =
        (part(ask.price.input, least.input, most.input), part(ask.price.output, least.output, most.output));
    Price { input, output }
}
