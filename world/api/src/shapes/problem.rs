//! Why something was refused.

use utoipa::ToSchema;

/// A refusal, as RFC 9457 has it.
#[derive(ToSchema)]
pub struct Problem {
    /// A reference to what the code means: `/api/v1/errors#CODE`.
    #[schema(example = "/api/v1/errors#unknown_model")]
    pub r#type: String,
    /// What the code means, in a clause; the same for each problem of this code.
    pub title: String,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The word for programs. Words never change; new ones may come.
    #[schema(example = "unknown_model")]
    pub code: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What would have been needed, if that can be said.
    pub need: Option<String>,
    /// What there was instead.
    pub have: Option<String>,
}

/// All codes.
#[derive(ToSchema)]
pub struct ErrorCodes {
    /// Each code once.
    pub errors: Vec<ErrorCode>,
}

/// A code of refusals.
#[derive(ToSchema)]
pub struct ErrorCode {
    /// The word.
    pub code: String,
    /// What it means.
    pub title: String,
    /// HTTP status with which the native API says it.
    pub status: u16,
}

/// A reason against a node, or for having nothing to do.
#[derive(ToSchema)]
pub struct Reason {
    /// Word for programs, as of a [`Problem`].
    pub code: String,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// What would have been needed.
    pub need: Option<String>,
    /// What there is.
    pub have: Option<String>,
    /// The node it is about, where it is about one: its id as 66 hexadecimal digits.
    pub node: Option<String>,
}

/// The same reason of many nodes.
#[derive(ToSchema)]
pub struct ReasonCount {
    /// Word for programs.
    pub code: String,
    /// How many.
    pub count: u64,
    /// What would have been needed.
    pub need: Option<String>,
    /// The best that any of them has.
    pub best: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}
