//! The Model Context Protocol: the official suite and the official Python client.

use super::{Outcome, python, talkoo};
use crate::cargo;

/// The suite runs on a node, and on its own fixtures behind the node's transport.
pub(super) fn run() -> Outcome {
    let node = match talkoo() {
        Ok(node) => node,
        Err(why) => return why,
    };
    let target = crate::target();
    if let Err(why) = cargo(&["build", "--quiet", "--release", "-p", "talkoo-mcp", "--example", "conformance"]) {
        return Outcome::Failed(format!("{why:#}"));
    }
    let fixtures = format!("{target}/release/examples/conformance");
    python(&["xtask/judges/mcp/judge.py", &node, &fixtures, "target/judge/mcp"])
}
