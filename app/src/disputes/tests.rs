//! What is kept, and what is said of it.

use super::sold::Shelf;
