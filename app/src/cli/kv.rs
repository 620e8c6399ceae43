//! The flag that says which version of the contract a model runs under.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use talkoo_engine::KvFormat;

/// How a model keeps keys and values.
#[derive(Args, Clone, Copy)]
pub(crate) struct Kv {
    /// How keys and values are kept: `int16` is finer, takes twice the room, and makes the model another program.
    #[arg(id = "kv", long, value_name = "FORMAT", default_value = KvFormat::default().name(), value_parser = formats())]
    pub(crate) format: KvFormat,
}

fn formats() -> impl TypedValueParser<Value = KvFormat> {
    PossibleValuesParser::new(KvFormat::ALL.map(KvFormat::name))
        .map(|name| KvFormat::from_name(&name).expect("only names are possible"))
}
