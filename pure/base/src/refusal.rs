//! Every "no" to a user or a peer has a code, a message, what was needed and had, and a hint.

use std::fmt;

macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)*) => {
        /// Why something was refused. Codes are part of the API and of the wire: never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalCode { $(#[doc = $doc] $name,)* }

        impl RefusalCode {
            /// The code as users, peers and programs see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $doc.trim_ascii(),)* }
            }

            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Reads a code; a code of a newer version reads as [`RefusalCode::Other`].
            #[must_use]
            pub fn parse(text: &str) -> Self {
                match text { $($text => Self::$name,)* _ => Self::Other }
            }
        }
    };
}

codes! {
    /// The peer speaks a version of the protocol that we do not.
    UnsupportedVersion = "unsupported_version";
    /// The bytes do not parse, or break a rule of the format.
    Malformed = "malformed";
    /// A signature is missing, wrong, or of somebody else.
    BadSignature = "bad_signature";
    /// The node does not have this model.
    UnknownModel = "unknown_model";
    /// All slots are taken and the queue is full.
    Busy = "busy";
    /// It is needed by something that goes on; that has to end first.
    InUse = "in_use";
    /// It is over already: nothing is left to stop or to change.
    Over = "over";
    /// The node's owner does not offer compute now.
    NotProviding = "not_providing";
    /// The price offered is under what the node asks.
    PriceTooLow = "price_too_low";
    /// The node asks more than the job allows.
    PriceAboveMax = "price_above_max";
    /// Prompt plus output do not fit the model's context.
    ContextExceeded = "context_exceeded";
    /// The signed deadline has passed, or the clocks differ too much.
    DeadlinePassed = "deadline_passed";
    /// The sender's clock and ours differ too much.
    ClockSkew = "clock_skew";
    /// A parameter that this engine cannot honour.
    UnsupportedParameter = "unsupported_parameter";
    /// Nothing here has this name: no job, key, receipt, lease or whatever else was asked for.
    UnknownId = "unknown_id";
    /// A voucher is missing, decreasing, of another channel, or too small.
    BadVoucher = "bad_voucher";
    /// Work went further ahead of payment than was agreed.
    ExposureExceeded = "exposure_exceeded";
    /// The node was proved to have lied.
    ProvenLiar = "proven_liar";
    /// Another answer than the model gives; the first time a machine may just have failed.
    AnswerRefuted = "answer_refuted";
    /// Nodes of its build give wrong numbers alike: it is left alone until it has another one.
    BuildQuarantined = "build_quarantined";
    /// The node stopped answering.
    Silent = "silent";
    /// The connection was lost.
    Disconnected = "disconnected";
    /// The node is measured too slow to finish before the others.
    TooSlow = "too_slow";
    /// The card has expired.
    CardExpired = "card_expired";
    /// The node already took part in this step.
    AlreadyUsed = "already_used";
    /// Nobody asked for this.
    Unsolicited = "unsolicited";
    /// The node is stopping.
    Stopping = "stopping";
    /// The run itself failed.
    RunFailed = "run_failed";
    /// This node does not serve it, by its operator's rule.
    Denied = "denied";
    /// What is asked for does not have the form that is asked for.
    Unfit = "unfit";
    /// There is not enough money for it.
    InsufficientFunds = "insufficient_funds";
    /// A limit of size or number is exceeded.
    TooLarge = "too_large";
    /// The job's preferences leave it out.
    NotWanted = "not_wanted";
    /// The owner cancelled.
    Cancelled = "cancelled";
    /// Not needed any more: another node was faster.
    Superseded = "superseded";
    /// A failed self-test: this machine computes wrong numbers.
    SelfTestFailed = "self_test_failed";
    /// A code this version does not know.
    Other = "other";
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A typed "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no.
    pub code: RefusalCode,
    /// What happened, in one lowercase clause.
    pub message: String,
    /// What would have been needed, if that can be said.
    pub need: Option<String>,
    /// What there was instead.
    pub have: Option<String>,
    /// What to do about it.
    pub hint: String,
}

impl Refusal {
    /// A refusal with a message and a hint.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), need: None, have: None, hint: hint.into() }
    }

    /// Adds what was needed and what there was.
    #[must_use]
    pub fn with(mut self, need: impl ToString, have: impl ToString) -> Self {
        self.need = Some(need.to_string());
        self.have = Some(have.to_string());
        self
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let (Some(need), Some(have)) = (&self.need, &self.have) {
            write!(f, " (need {need}, have {have})")?;
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}
