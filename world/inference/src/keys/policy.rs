//! What a key may pay: rules that are the same for every payment, whoever asks for it and however.

use crate::limits::PAYMENTS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use talkoo_base::{Address, Refusal, RefusalCode};

/// Seconds of the window of `per_day`: a day that ends now.
pub(crate) const DAY_S: u64 = 24 * 3_600;

/// What can be paid with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asset {
    /// What work and data are paid with; units of 10⁻⁶.
    #[default]
    Money,
    /// What is staked; units of 10⁻⁶.
    Stake,
    /// What transactions cost; units of 10⁻¹⁸.
    Gas,
}

impl Asset {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Stake => "stake",
            Self::Gas => "gas",
        }
    }

    /// The asset of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Money, Self::Stake, Self::Gas].into_iter().find(|asset| asset.name() == word)
    }

    /// Digits behind the point.
    #[must_use]
    pub fn decimals(self) -> u32 {
        match self {
            Self::Money | Self::Stake => 6,
            Self::Gas => 18,
        }
    }

    /// An amount as people write it, as 1.5, in its smallest unit. None if it is no number or has too many digits.
    #[must_use]
    pub fn units(self, text: &str) -> Option<u128> {
        let decimals = self.decimals() as usize;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > decimals || whole.is_empty() || text.ends_with('.') {
            return None;
        }
        format!("{whole}{part:0<decimals$}").parse().ok()
    }

    /// An amount of its smallest unit as people write it.
    #[must_use]
    pub fn shown(self, units: u128) -> String {
        let (one, width) = (10_u128.pow(self.decimals()), self.decimals() as usize);
        format!("{}.{:0width$}", units / one, units % one)
    }
}

/// What somebody wants to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Who gets it.
    #[serde(with = "address")]
    pub to: Address,
    /// How much, in the asset's smallest unit.
    pub amount: u128,
    /// Of what.
    pub asset: Asset,
    /// What for, in the words of who asked.
    pub why: String,
    /// The data that is bought with it; a plain payment has none.
    #[serde(default)]
    pub data: Option<String>,
}

/// What the owner allows a key to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Of what. Amounts below are in its smallest unit.
    #[serde(default)]
    pub asset: Asset,
    /// At most at once.
    pub per_payment: u128,
    /// At most within 24 hours.
    pub per_day: u128,
    /// To whom; empty: to nobody.
    #[serde(with = "addresses")]
    pub allow: BTreeSet<Address>,
    /// What is more waits for the owner's word.
    #[serde(default)]
    pub approve_above: Option<u128>,
    /// When it ends, in seconds since 1970.
    #[serde(default)]
    pub expires: Option<u64>,
}

/// A payment that counts against `per_day`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How much.
    pub amount: u128,
}

/// A rule that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub rule: &'static str,
    /// What the asker is told.
    pub refusal: Refusal,
}

fn broken(rule: &'static str, code: RefusalCode, message: String, hint: &str) -> Broken {
    Broken { rule, refusal: Refusal::new(code, message, hint) }
}

impl Policy {
    /// What was paid within the last 24 hours.
    #[must_use]
    pub fn paid(paid: &[Paid], now: u64) -> u128 {
        paid.iter().filter(|paid| counts(paid, now)).fold(0, |sum, paid| sum.saturating_add(paid.amount))
    }

    /// Whether a payment may be made; if so, whether the owner has to say so first.
    ///
    /// # Errors
    /// The first rule that says no, in the order in which they stand here.
    pub fn check(&self, payment: &Payment, paid: &[Paid], now: u64) -> Result<bool, Broken> {
        let Payment { to, amount, asset, .. } = payment;
        let shown = |units| asset.shown(units);
        if self.expires.is_some_and(|end| end <= now) {
            let message = "the key's spending policy has expired".to_owned();
            return Err(broken(
                "expires",
                RefusalCode::Denied,
                message,
                "its owner: talkoo key set KEY --policy-days N",
            ));
        }
        if *asset != self.asset {
            let message = format!("the key's policy is about {}, not {}", self.asset.name(), asset.name());
            return Err(broken("asset", RefusalCode::Denied, message, "its owner: talkoo key set KEY --asset …"));
        }
        if !self.allow.contains(to) {
            let message = format!("the key may not pay to {to}");
            return Err(broken("allow", RefusalCode::Denied, message, "its owner: talkoo key set KEY --allow ADDRESS"));
        }
        if *amount > self.per_payment {
            let message = "the payment is above the key's limit for one".to_owned();
            let broken = broken("per_payment", RefusalCode::Denied, message, "pay less; policy_show tells the limits");
            return Err(Broken { refusal: broken.refusal.with(shown(self.per_payment), shown(*amount)), ..broken });
        }
        let before = Self::paid(paid, now);
        if before.saturating_add(*amount) > self.per_day {
            let message = format!("{} were paid within 24 hours: no more of the key's limit is left", shown(before));
            let broken = broken("per_day", RefusalCode::InsufficientFunds, message, "pay less, or later");
            return Err(Broken { refusal: broken.refusal.with(shown(self.per_day), shown(*amount)), ..broken });
        }
        if paid.iter().filter(|paid| counts(paid, now)).count() >= PAYMENTS_MAX {
            let message = format!("the key made {PAYMENTS_MAX} payments within 24 hours");
            return Err(broken("count", RefusalCode::Busy, message, "pay more at once, or later"));
        }
        Ok(self.approve_above.is_some_and(|most| *amount > most))
    }
}

/// Whether a payment is less than a day old. One of the future is of a clock that was set back.
pub(super) fn counts(paid: &Paid, now: u64) -> bool {
    paid.at.saturating_add(DAY_S) > now
}

/// An address as people write it, for the file.
mod address {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use talkoo_base::Address;

    pub(super) fn parse(text: &str) -> Option<Address> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok().map(|()| Address(bytes))
    }

    pub(super) fn serialize<S: Serializer>(address: &Address, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(address)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        parse(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("no address"))
    }
}

/// Some of them.
mod addresses {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use std::collections::BTreeSet;
    use talkoo_base::Address;

    pub(super) fn serialize<S: Serializer>(all: &BTreeSet<Address>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Address>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        let all = all.iter().map(|text| super::address::parse(text)).collect::<Option<_>>();
        all.ok_or_else(|| D::Error::custom("no address"))
    }
}
