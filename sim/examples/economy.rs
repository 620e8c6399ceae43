//! The market report: `economy [--seed N] [--nodes N] [--jobs N] [--write]`; `--write` puts it into `docs/`.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

use std::path::Path;
use talkoo_sim::economy::{Options, report};

const BEGIN: &str = "<!-- report -->\n";
const END: &str = "<!-- end of the report -->";

fn main() {
    let mut options = Options { seed: 1, nodes: 2_000, jobs: 2_000_000, tries: 40 };
    let mut write = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("`{arg}` needs a number"));
        match arg.as_str() {
            "--seed" => options.seed = number(),
            "--nodes" => options.nodes = number(),
            "--jobs" => options.jobs = number(),
            "--write" => write = true,
            _ => panic!("there is no `{arg}`; there are --seed, --nodes, --jobs, --write"),
        }
    }
    let report = report(&options);
    println!("{}", report.text);
    if write {
        let docs = Path::new("docs");
        let page = docs.join("ECONOMY.md");
        let old = std::fs::read_to_string(&page).expect("docs/ECONOMY.md is there");
        let (head, rest) = old.split_once(BEGIN).expect("the page has the report's beginning");
        let (_, tail) = rest.split_once(END).expect("the page has the report's end");
        std::fs::write(page, [head, BEGIN, &report.text, END, tail].concat()).expect("the page can be written");
        for (name, svg) in report.plots {
            std::fs::write(docs.join(name), svg).expect("a plot can be written");
        }
    }
}
