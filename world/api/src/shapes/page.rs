//! Lists that are told page by page.

use utoipa::ToSchema;

/// Which page of a list.
#[derive(ToSchema)]
pub struct PageQuery {
    /// Entries at most.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the one before; left out, at the beginning.
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
}
