//! What requests and answers of the native API look like. `GET /api/v1/openapi.json` is made of these types, and a request
//! that does not fit its type never reaches the node.
//!
//! Names: `…Ask` is a request's body, `…Query` the parameters behind its `?`; all others are answers or parts of them.

mod data;
mod data_asks;
mod data_read;
mod deals;
mod disputes;
mod earnings;
mod erase;
mod grants;
mod jobs;
mod keys;
mod ledger;
mod node;
mod offers;
mod page;
mod problem;
mod receipts;
mod settings;
mod timeline;
mod wallet;
mod webhooks;

pub use data::*;
pub use data_asks::*;
pub use data_read::*;
pub use deals::*;
pub use disputes::*;
pub use earnings::*;
pub use erase::*;
pub use grants::*;
pub use jobs::*;
pub use keys::*;
pub use ledger::*;
pub use node::*;
pub use offers::*;
pub use page::*;
pub use problem::*;
pub use receipts::*;
pub use settings::*;
pub use timeline::*;
pub use wallet::*;
pub use webhooks::*;

use std::borrow::Cow;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// A type as its schema.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Name among the document's schemas.
    pub name: fn() -> Cow<'static, str>,
    /// The schema itself.
    pub schema: fn() -> RefOr<Schema>,
    /// Adds the schemas that it refers to.
    pub parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// The shape of a type.
#[must_use]
pub const fn of<T: ToSchema>() -> Shape {
    Shape { name: T::name, schema: T::schema, parts: T::schemas }
}

/// A request's body that has no fields: `{}`, or none at all.
#[derive(ToSchema)]
pub struct NothingAsk {}
