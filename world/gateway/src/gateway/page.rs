//! The page of a folder.

use super::asked::Asked;
use super::read_error;
use super::web::PATH;
use crate::body::Pipe;
use crate::limits::PAGE_ENTRIES_MAX;
use crate::source::Source;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::utf8_percent_encode;
use std::ops::ControlFlow;
use talkoo_base::{Cid, Refusal};
use talkoo_store::unixfs;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}table{width:100%;border-collapse:collapse}td{padding:.2rem .5rem;border-bottom:1px solid #8884}\
td+td{text-align:right;white-space:nowrap}code{font-size:.8em;overflow-wrap:anywhere}";

/// What the page may load: its own style and nothing else (Content Security Policy, with the style's hash).
pub(super) fn policy() -> String {
    let style = STANDARD.encode(talkoo_base::sha256(&[STYLE.as_bytes()]).0);
    format!("default-src 'none'; style-src 'sha256-{style}'")
}

/// Writes the page as the entries come.
pub(super) fn write(source: &mut Source, cid: &Cid, asked: &Asked, pipe: &mut Pipe) -> Result<(), Refusal> {
    let title = asked.segments.last().map_or_else(|| cid.to_string(), |name| escaped(name));
    let head = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1><p><code>{cid}</code></p><table>"
    );
    pipe.send(head)?;
    if !asked.segments.is_empty() {
        pipe.send("<tr><td><a href=\"..\">..</a><td><td>")?;
    }
    let mut count = 0;
    let listed = unixfs::list(cid, &mut |cid| source.get(cid), &mut |link| {
        count += 1;
        let (name, href) = (escaped(&link.name), utf8_percent_encode(&link.name, PATH));
        let row =
            format!("<tr><td><a href=\"./{href}\">{name}</a><td>{}<td><code>{}</code>", link.total_bytes, link.cid);
        let gone = pipe.send(row).is_err();
        if count < PAGE_ENTRIES_MAX && !gone { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    listed.map_err(read_error)?;
    let more = if count < PAGE_ENTRIES_MAX {
        ""
    } else {
        "<p>There may be more: ask for an entry by its name, or for ?format=car."
    };
    pipe.send(format!("</table>{more}</html>\n"))?;
    Ok(())
}

/// Text inside HTML.
fn escaped(text: &str) -> String {
    let escape = |c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}
